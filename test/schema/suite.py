# suite.py: the official JSON-Schema-Test-Suite, draft 2020-12.
# SPDX-License-Identifier: PostgreSQL
"""It is in the source archive of PyPI's jsonschema. Every verdict must be the
one of the suite. What is not supported is in refused.json, and must be refused."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

from verdict import INVALID, REFUSED, VALID

NAME = "jsonschema-4.23.0"
SHA256 = "d71497fef26351a33265337fa77ffeb82423f3ea21283cd9467bb03999266bc4"
FOLDER = f"{NAME}/json/tests/draft2020-12/"

FORMATS = ["date-time", "date", "time", "duration", "uuid", "email",
           "hostname", "uri", "ipv4", "ipv6"]

# Groups of tests whose schema has to be refused, and why: by file.
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                       "refused.json"), encoding="utf-8") as listed:
    NOT_SUPPORTED = json.load(listed)


def fetch(folder, *options):
    """Have pip put the archive there. It asks the package's own code what it
    is, so that the hash has to be known, and right, before."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(f"{NAME.replace('-', '==')} --hash=sha256:{SHA256}\n")
        wanted.flush()
        return subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--disable-pip-version-check", "--no-binary", "jsonschema",
             "--require-hashes", "--dest", folder, *options,
             "--requirement", wanted.name], text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def archive():
    """The path of the archive, which is fetched once."""
    cache = os.environ.get("SENTINAI_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        "sentinai")
    folder = os.path.join(cache, "schema")
    path = os.path.join(folder, NAME + ".tar.gz")
    if not os.path.exists(path):
        done = fetch(folder)
        if done.returncode:
            raise SystemExit(f"{NAME} cannot be fetched: {done.stdout}")
    with open(path, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != SHA256:
            raise SystemExit(f"{path} is not the archive that was expected")
    return path


# A package whose code says that it has run.
IMPOSTOR = {
    "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'hook'\n"
    "backend-path = ['.']\n",
    "hook.py": "open({mark!r}, 'w').close()\n",
    "PKG-INFO": "Metadata-Version: 2.1\nName: jsonschema\nVersion: 4.23.0\n"}


def impostor(tap):
    """Another archive of that name is refused before any of it is run."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="sni.") as place:
        mark = os.path.join(place, "ran")
        with tarfile.open(os.path.join(place, NAME + ".tar.gz"), "w:gz") as tar:
            for name, text in IMPOSTOR.items():
                data = text.replace("{mark!r}", repr(mark)).encode()
                member = tarfile.TarInfo(f"{NAME}/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        done = fetch(os.path.join(place, "to"), "--no-index", "--find-links",
                     place)
        if done.returncode == 0 or "DO NOT MATCH" not in done.stdout:
            wrong.append(f"it was not refused for its hash: {done.stdout}")
        if os.path.exists(mark):
            wrong.append("its code was run")
    tap.result("suite: an archive with another hash is not run", wrong)


def files():
    """(name, groups of tests), the required ones and those of our formats."""
    wanted = {f"optional/format/{name}.json" for name in FORMATS}
    with tarfile.open(archive()) as tar:
        for member in sorted(tar, key=lambda m: m.name):
            if not member.name.startswith(FOLDER) or not member.isfile():
                continue
            name = member.name[len(FOLDER):]
            if "/" not in name or name in wanted:
                yield name, json.load(tar.extractfile(member))


def expected(name, group, test):
    """What has to come out."""
    if group["description"] in NOT_SUPPORTED.get(name, {}):
        return REFUSED
    if "\\u0000" in json.dumps([group["schema"], test["data"]]):
        return "error 22P05"        # PostgreSQL's jsonb has no such character
    # the suite wants an annotation there, and an assertion in optional/format
    if name == "format.json" and "only an annotation" in test["description"]:
        return INVALID
    return VALID if test["valid"] else INVALID


def run(tap, judge):
    """One result for every file."""
    impostor(tap)
    for name, groups in files():
        wrong = []
        refused = count = 0
        for group in groups:
            for test in group["tests"]:
                verdict, said = judge.ask(group["schema"], test["data"])
                count += 1
                refused += verdict == REFUSED
                if verdict != expected(name, group, test):
                    wrong.append(f"{group['description']}: "
                                 f"{test['description']}: {verdict}: {said}")
        tap.result(f"suite: {name}: {count} tests, {refused} refused", wrong)
