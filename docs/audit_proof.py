#!/usr/bin/env python3
# audit_proof.py: check a proof of audit_proof() without the database.
# SPDX-License-Identifier: PostgreSQL
#
#   psql -XAtc "select sentinai.audit_proof('…')" | audit_proof.py [CHAIN]
#
# CHAIN is the chain that a copy of AuditRootPublished has for the tenant and
# root_no. Without it only the proof itself is checked. Exit status 0: proved.

import hashlib
import json
import struct
import sys
import uuid


def digest(kind, *parts):
    return hashlib.sha256(bytes([kind]) + b"".join(parts)).digest()


def number(value):
    return struct.pack(">q", value)


def field(value):
    if value is None:
        return b"\xff\xff\xff\xff"
    text = value.encode()
    return struct.pack(">I", len(text)) + text


def check(proof, anchor=None):
    """What is wrong with a proof, or None."""
    event = {f["name"]: f["value"] for f in proof["event"]}
    node = digest(0, *(field(f["value"]) for f in proof["event"]))
    if node.hex() != proof["leaf"]:
        return "the event is not that of the leaf"
    for step in proof["path"]:
        side, sibling = next(iter(step.items()))
        sibling = bytes.fromhex(sibling)
        node = (digest(1, sibling, node) if side == "left"
                else digest(1, node, sibling))
    if node.hex() != proof["root"]:
        return "the path does not lead to the root"
    low, event_id, high = (uuid.UUID(i).bytes for i in (
        proof["from_id"], event["event_id"], proof["to_id"]))
    if not low <= event_id < high or event["tenant_id"] != proof["tenant_id"]:
        return "the event is of another interval or tenant"
    chain = digest(2, bytes.fromhex(proof["previous_chain"]),
                   number(proof["root_no"]), number(proof["interval_no"]),
                   low, high, number(proof["events"]), node,
                   proof["tenant_id"].encode())
    if chain.hex() != proof["chain"]:
        return "the root is not in the chain"
    if anchor is not None and anchor != proof["chain"]:
        return "the chain is not that of the anchor"
    return None


if __name__ == "__main__":
    wrong = check(json.load(sys.stdin), *sys.argv[1:2])
    print(wrong or "proved")
    sys.exit(wrong is not None)
