# suite.py: the official JSON-Schema-Test-Suite, draft 2020-12.
# SPDX-License-Identifier: PostgreSQL
"""It is in the source archive of PyPI's jsonschema. Every verdict must be the
one of the suite. What is not supported is in refused.json, and must be refused."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile

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


def archive():
    """The path of the archive, which is fetched once."""
    cache = os.environ.get("SENTINAI_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        "sentinai")
    folder = os.path.join(cache, "schema")
    path = os.path.join(folder, NAME + ".tar.gz")
    if not os.path.exists(path):
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--disable-pip-version-check", "--no-binary", "jsonschema",
             "--dest", folder, NAME.replace("-", "==")], check=True,
            stdout=sys.stderr)
    with open(path, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != SHA256:
            raise SystemExit(f"{path} is not the archive that was expected")
    return path


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
