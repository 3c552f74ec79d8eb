# world/tenants.py: twenty tenants, and the wall between them.
# SPDX-License-Identifier: PostgreSQL
"""A tenant has the name of its role. All that a tenant writes has its name in
it somewhere, so whatever anybody is told says by itself whose it is."""

import hashlib
import hmac
import os
import re
import time

TENANTS = tuple(f"t{n:02d}" for n in range(1, 21))
NAMED = re.compile(r"(?<![0-9A-Za-z])t\d\d(?![0-9A-Za-z])")

WALL = """
sentinai.tenant_isolation = on
log_statement = none
log_min_error_statement = panic
sentinai.secret_directory = '{dir}/secrets'
sentinai.proof_key_file = '{dir}/secrets/proof'
"""

# rights to execute for a role; what a tenant's role may do, for its own
GROUPS = ("publisher", "agent", "reader", "operator", "auditor")
RIGHTS = ("publish", "work", "read", "operate", "audit")


def strangers(said, own):
    """The tenants that are named in what somebody was told, but his own and
    those that he has named himself."""
    return set(NAMED.findall(str(said))) - set(own)


def make_roles(conn, logs_in):
    """A role for each tenant, with all that can be granted for that tenant."""
    conn.execute("select sentinai.create_roles()")
    for tenant in TENANTS:
        conn.execute(f"create role {tenant} {'login' if logs_in else 'nologin'}")
        for group in GROUPS:
            conn.execute(f"grant sentinai_{group} to {tenant}")
        for right in RIGHTS:
            conn.execute("select sentinai.grant_tenant(%s, %s, %s)",
                         (tenant, tenant, right))


def make_key(server):
    """A key for proofs that only the server can read; the key."""
    folder = os.path.join(server.dir, "secrets")
    key = os.urandom(16).hex()
    os.mkdir(folder, 0o700)
    path = os.path.join(folder, "proof")
    with open(path, "w", encoding="ascii",
              opener=lambda p, f: os.open(p, f, 0o600)) as file:
        file.write(key + "\n")
    server.give(path)
    server.give(folder)
    return key.encode()


def proof(key, role, tenant, seconds=3600):
    """What act_as() takes, as in docs/tenants.md."""
    expiry = int(time.time()) + seconds
    text = f"v1\n{expiry}\n{role}\n{tenant}"
    mac = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"{expiry}.{mac}"
