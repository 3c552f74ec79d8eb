# harness/report.py: JSON, a Markdown page and its plots.
# SPDX-License-Identifier: PostgreSQL

import json
import os
import statistics

from . import plot
from .plot import number

COLUMNS = [("per_s", "per second"), ("steady_per_s", "steady, per second"),
           ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"), ("wal_b", "WAL bytes"),
           ("cpu_us", "server CPU µs"), ("slice_b", "slice bytes"),
           ("cpu_percent", "% of a core")]


def values(entry, metric):
    return [r[metric] for r in entry["rounds"] if r.get(metric) is not None]


def spread(found):
    """Half of the range in percent of the median."""
    middle = statistics.median(found)
    if len(found) < 2 or not middle:
        return ""
    return f" ±{(max(found) - min(found)) / 2 / middle:.0%}"


def merged(entry):
    """The curve of the round in the middle."""
    rounds = [r for r in entry["rounds"] if r.get("curve")]
    rounds.sort(key=lambda r: r["p50_ms"])
    return rounds[len(rounds) // 2]["curve"] if rounds else None


def plots(result, directory):
    """Draw what there is; the names of the files."""
    found = list(result.variants.values())
    names = []
    stem = f"{result.number:02d}"
    if result.metric != "p50_ms":
        entries = [(e["label"], e["role"], values(e, result.metric))
                   for e in found]
        if any(e[2] for e in entries):
            names.append(f"{stem}.svg")
            plot.bars(os.path.join(directory, names[-1]), result.title,
                      result.unit, entries)
    else:
        entries = [(e["label"], e["role"], merged(e)) for e in found]
        entries = [e for e in entries if e[2]]
        if entries:
            names.append(f"{stem}-latency.svg")
            plot.curves(os.path.join(directory, names[-1]), result.title,
                        entries)
    for key, (title, unit, entries) in result.series.items():
        if any(points for _, _, points in entries):
            names.append(f"{stem}-{key}.svg")
            plot.lines(os.path.join(directory, names[-1]), title, unit,
                       entries)
    return names


def counterpart(result, name):
    """What SentinAI reached in the same state: the same suffix, or its best."""
    entry = result.variants[name]
    suffix = name[len(entry.get("queue", name)):]
    same = result.median("sentinai" + suffix)
    if same is not None:
        return same
    ours = [result.median(k) for k, v in result.variants.items()
            if v["role"] == "sentinai"]
    ours = [value for value in ours if value is not None]
    best = min if result.metric.endswith("_ms") else max
    return best(ours) if ours else None


def table(result):
    used = [(key, text) for key, text in COLUMNS
            if any(values(e, key) for e in result.variants.values())]
    yield "| | " + " | ".join(text for _, text in used) + " | SentinAI is |"
    yield "|---|" + "---:|" * (len(used) + 1)
    for name, entry in result.variants.items():
        cells = []
        for key, _ in used:
            found = values(entry, key)
            cells.append(number(statistics.median(found)) + spread(found)
                         if found else "")
        own, ours = result.median(name), counterpart(result, name)
        ratio = ""
        if ours and own and entry["role"] != "sentinai":
            ratio = f"{ours / own:.2f} ×"
        bold = "**" if entry["role"] == "sentinai" else ""
        yield (f"| {bold}{entry['label']}{bold} | " + " | ".join(cells) +
               f" | {ratio} |")


def section(result, names):
    yield f"## {result.number}. {result.title}"
    yield ""
    yield f"Target: {result.target}."
    yield ""
    if result.variants:
        yield from table(result)
        yield ""
    for check in result.checks:
        sign = {True: "met", False: "**not met**", None: "no figure"}
        relation = {">=": "≥", "<=": "≤"}[check["relation"]]
        yield (f"- {check['what']}: {number(check['value'])} (target "
               f"{relation} {number(check['target'])}): "
               f"{sign[check['met']]}")
    for miss in result.missing:
        yield f"- missing: {miss['label']}: {miss['why']}"
    for note in result.notes:
        yield f"- {note}"
    if result.checks or result.missing or result.notes:
        yield ""
    for name in names:
        yield f"![{result.title}]({name})"
        yield ""


def summary(results):
    yield "| # | scenario | check | reached | target | |"
    yield "|---|---|---|---:|---:|---|"
    for result in results:
        checks = result.checks or [None]
        for check in checks:
            if check is None:
                yield f"| {result.number} | {result.title} | | | | |"
                continue
            sign = {True: "met", False: "not met", None: "no figure"}
            relation = {">=": "≥", "<=": "≤"}[check["relation"]]
            yield (f"| {result.number} | {result.title} | {check['what']} | "
                   f"{number(check['value'])} | {relation} "
                   f"{number(check['target'])} | {sign[check['met']]} |")


def write(results, about, directory):
    """All files of a run into a directory."""
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "results.json"), "w",
              encoding="utf-8") as file:
        lines = ",\n".join(json.dumps(vars(r)) for r in results)
        file.write(f'{{"about": {json.dumps(about)},\n'
                   f'"scenarios": [\n{lines}\n]}}\n')
    text = ["# Benchmark run", "",
            "Written by `make bench`; docs/performance.md explains it.", ""]
    text += [f"- {key}: {value}" for key, value in about.items()]
    text += ["", *summary(results), ""]
    for result in results:
        text += section(result, plots(result, directory))
    with open(os.path.join(directory, "results.md"), "w",
              encoding="utf-8") as file:
        file.write("\n".join(text))
