# world/proxy.py: toxiproxy between clients and servers.
# SPDX-License-Identifier: PostgreSQL
"""One process, one proxy for each server behind it. Everything it can do to a
connection is taken back by heal()."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

HERE = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
HOST = "127.0.0.1"


class Proxy:
    """Proxies by name, each a port of ours and the port behind it."""

    def __init__(self, program, directory, port, routes):
        self.url = f"http://{HOST}:{port}"
        path = os.path.join(directory, "toxiproxy.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump([{"name": name, "listen": f"{HOST}:{mine}",
                        "upstream": f"{HOST}:{theirs}", "enabled": True}
                       for name, (mine, theirs) in routes.items()], file)
        with open(os.path.join(directory, "toxiproxy.log"), "wb") as log:
            self.process = subprocess.Popen(
                [program, "-host", HOST, "-port", str(port), "-config", path],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.wait(len(routes))

    def wait(self, count, seconds=10):
        limit = time.monotonic() + seconds
        while True:
            try:
                if len(self.call("GET", "/proxies")) == count:
                    return
            except urllib.error.URLError:
                pass
            if time.monotonic() > limit:
                raise RuntimeError("toxiproxy does not answer")
            time.sleep(0.05)

    def call(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def switch(self, name, enabled):
        """Off: connections end, new ones are refused."""
        self.call("POST", f"/proxies/{name}", {"enabled": enabled})

    def toxic(self, name, kind, stream, **attributes):
        """Do something to what flows `upstream` or `downstream`."""
        self.call("POST", f"/proxies/{name}/toxics",
                  {"name": f"{kind}_{stream}", "type": kind, "stream": stream,
                   "toxicity": 1.0, "attributes": attributes})

    def heal(self):
        """Every proxy on, no toxic left."""
        self.call("POST", "/reset")

    def close(self):
        self.process.kill()
        self.process.wait()


def find():
    """(the program, None) or (None, why there is none)."""
    done = subprocess.run([os.path.join(HERE, "toxiproxy")], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it could not be built"]
        return None, lines[-1]
    return done.stdout.strip(), None
