# harness/load.py: run the C programs and read what they print.
# SPDX-License-Identifier: PostgreSQL
"""Figures are plain dicts: per_s, p50_ms, p99_ms, wal_b, cpu_us, curve."""

import json
import os
import subprocess

from .cluster import ROOT, BenchError, Meter

OUT = os.path.join(ROOT, "build/bench")


def options(settings):
    """Keyword arguments as options of drive."""
    args = []
    for name, value in settings.items():
        if value is None or value is False:
            continue
        args.append("--" + name.replace("_", "-"))
        if value is not True:
            args.append(str(value))
    return args


def start_drive(cluster, database, **settings):
    return subprocess.Popen([os.path.join(OUT, "drive"), *options(settings)],
                            env=cluster.env(database), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end_drive(process, timeout=None):
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BenchError(f"the load did not end in {timeout} s") from None
    if process.returncode != 0:
        raise BenchError(err.strip()[-600:] or f"status {process.returncode}")
    return json.loads(out)


def drive(cluster, database, **settings):
    limit = settings.get("seconds", 5) + settings.get("warmup", 0) + 90
    return end_drive(start_drive(cluster, database, **settings), limit)


def percentile(curve, point):
    """A percentile that the programs print, in ms."""
    for at, value in curve or []:
        if abs(at - point) < 1e-9:
            return value
    return None


def times(figures, sample):
    """Add percentiles of one list of times."""
    curve = sample.get("curve")
    if curve:
        figures.update(p50_ms=percentile(curve, .5),
                       p99_ms=percentile(curve, .99),
                       max_ms=percentile(curve, 1), curve=curve)
    return figures


def metered(cluster, database, part, checkpoint=True, **settings):
    """Run drive; the rate of one part with its WAL and CPU per event.

    Costs are those of the whole run, warm-up included, so they are divided
    by all events that went through it.
    """
    if checkpoint:
        cluster.sql("checkpoint")
    meter = Meter(cluster)
    answer = drive(cluster, database, **settings)
    wal, cpu = meter.read()
    events = answer["published" if part == "publish" else "claimed"]
    done = answer[part]
    figures = {"per_s": done["per_s"], "events": done["events"],
               "load_cpu_s": answer["cpu_s"]}
    if events > 0:
        figures["wal_b"] = wal / events
        figures["cpu_us"] = cpu * 1e6 / events
    return times(figures, done["times"])


def fill(cluster, database, queue, count, chunk=1000, publishers=2, **more):
    """Publish that many events in batches; how many there are."""
    calls = -(-count // chunk)
    answer = drive(cluster, database, publishers=publishers, seconds=900,
                   publish=queue.batch(chunk), per_call=chunk,
                   key_array=True, max_calls=calls, **queue.tick, **more)
    return answer["published"]


def kafka_program(*args, check=True):
    """One run of the kafka program."""
    done = subprocess.run([os.path.join(OUT, "kafka"), *map(str, args)],
                          text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if check and done.returncode != 0:
        raise BenchError(f"kafka {args[0]}: {(done.stderr + done.stdout)[-400:]}")
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


class Watch:
    """Times records as they reach a topic."""

    def __init__(self, servers, topic, count, seconds):
        self.process = subprocess.Popen(
            [os.path.join(OUT, "kafka"), "watch", servers, topic, str(count),
             str(seconds)], text=True, stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def end(self):
        out = self.process.communicate()[0]
        answer = json.loads(out.splitlines()[-1])
        if self.process.returncode != 0:
            raise BenchError(f"only {answer['records']} records came in "
                             f"{answer['seconds']:.0f} s")
        return answer
