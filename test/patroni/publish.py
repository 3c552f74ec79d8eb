# test/patroni/publish.py: publish 50 events a second until SIGTERM, through
# every failover; print how many were acknowledged and the longest pause.
# SPDX-License-Identifier: PostgreSQL
#
#   publish.py CONNECTION FILE     the acknowledged ids go into FILE
import signal
import sys
import time

import psycopg

stopped = False


def stop(*_):
    global stopped
    stopped = True


signal.signal(signal.SIGTERM, stop)
db, count, longest, last = None, 0, 0.0, time.monotonic()
with open(sys.argv[2], "w", encoding="ascii") as out:
    while not stopped:
        try:
            if db is None:
                db = psycopg.connect(sys.argv[1], autocommit=True, connect_timeout=2)
            row = db.execute("select sentinai.publish('Counted', 'acme', %s::text, '{}')",
                             (str(count % 100),)).fetchone()
            print(row[0], file=out, flush=True)
            now = time.monotonic()
            longest, last, count = max(longest, now - last), now, count + 1
        except psycopg.Error:
            db = None
        time.sleep(0.02)
print(count, round(longest, 1))
