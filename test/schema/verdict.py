# verdict.py: what validate_json() says.
# SPDX-License-Identifier: PostgreSQL

import json

import psycopg

VALID, INVALID, REFUSED = "valid", "invalid", "refused"


class Judge:
    """Asks the server."""

    def __init__(self, conn):
        self.conn = conn

    def ask(self, schema, value):
        """A verdict, and what was said with it."""
        try:
            errors = self.conn.execute(
                "select sentinai.validate_json(%s::jsonb, %s::jsonb)",
                (json.dumps(schema), json.dumps(value))).fetchone()[0]
        except psycopg.Error as error:
            if error.sqlstate == "SN422":
                return REFUSED, error.diag.message_detail
            return f"error {error.sqlstate}", str(error)
        return (INVALID if errors else VALID), json.dumps(errors)
