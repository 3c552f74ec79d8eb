# harness/plot.py: bars, curves and lines as SVG, no library needed.
# SPDX-License-Identifier: PostgreSQL

import html
import math

COLORS = {"sentinai": "#1a7f5a", "limit": "#888888"}
PEERS = ["#3b6fb6", "#c0713a", "#8a5fb0", "#b5464e", "#5b8f9e", "#a59132",
         "#7d5a4a", "#5d6fa8"]
WIDTH = 760


def color(role, index):
    return COLORS.get(role) or PEERS[index % len(PEERS)]


def number(value):
    """A figure as people read it."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


class Svg:
    def __init__(self, height, title):
        self.height = height
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
            f'height="{height}" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
        self.text(10, 20, title, size=14, weight="bold")

    def text(self, x, y, text, anchor="start", size=12, weight="normal",
             fill="#222"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-size="{size}" font-weight="{weight}" fill="{fill}">'
            f'{html.escape(str(text))}</text>')

    def line(self, x1, y1, x2, y2, stroke="#ddd", width=1):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{stroke}" stroke-width="{width}"/>')

    def rect(self, x, y, width, height, fill):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0, width):.1f}" '
            f'height="{height:.1f}" fill="{fill}"/>')

    def path(self, points, stroke):
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{text}" fill="none" '
                          f'stroke="{stroke}" stroke-width="2"/>')

    def legend(self, entries, x=70):
        for index, (label, fill) in enumerate(entries):
            y = 38 + 15 * (index // 3)
            left = x + 225 * (index % 3)
            self.rect(left, y - 8, 10, 8, fill)
            self.text(left + 15, y, label, size=11)

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(self.parts) + "\n</svg>\n")


def bars(path, title, unit, entries):
    """entries: label, role, list of values; bar = median, line = spread."""
    entries = [e for e in entries if e[2]]
    top = max(max(values) for _, _, values in entries) or 1
    left, right = 250, 90
    svg = Svg(52 + 24 * len(entries), f"{title} ({unit})")
    scale = (WIDTH - left - right) / top
    for index, (label, role, values) in enumerate(entries):
        y = 38 + 24 * index
        middle = sorted(values)[len(values) // 2]
        svg.text(left - 8, y + 12, label, anchor="end")
        svg.rect(left, y, middle * scale, 16, color(role, 0))
        svg.line(left + min(values) * scale, y + 8,
                 left + max(values) * scale, y + 8, "#222", 1.5)
        svg.text(left + max(values) * scale + 6, y + 12, number(middle))
    svg.save(path)


def frame(svg, left, top, width, height, xs, ys, xlabel, ylabel):
    """Axes with marks: xs and ys are lists of (position 0..1, text)."""
    for at, text in xs:
        x = left + at * width
        svg.line(x, top, x, top + height)
        svg.text(x, top + height + 16, text, anchor="middle", size=11)
    for at, text in ys:
        y = top + height - at * height
        svg.line(left, y, left + width, y)
        svg.text(left - 6, y + 4, text, anchor="end", size=11)
    svg.text(left + width, top + height + 32, xlabel, anchor="end", size=11)
    svg.text(left, top - 6, ylabel, size=11)


def curves(path, title, entries):
    """Latency distributions: entries are label, role, [[share, ms], ...]."""
    rows = (len(entries) + 2) // 3
    left, top, width, height = 60, 56 + 15 * rows, WIDTH - 90, 260
    svg = Svg(top + height + 45, title)
    values = [max(ms, 0.1) for _, _, curve in entries for _, ms in curve]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    nines = [(.5, "50 %"), (.9, "90 %"), (.99, "99 %"), (.999, "99.9 %")]

    def across(share):
        return min(1.0, -math.log10(max(1 - share, 1e-4)) / 4)

    def up(ms):
        return (math.log10(max(ms, 10 ** low)) - low) / (high - low)

    frame(svg, left, top, width, height,
          [(across(p), text) for p, text in nines],
          [((e - low) / (high - low), f"{10 ** e:g}")
           for e in range(low, high + 1)], "share of events", "ms")
    legend = []
    for index, (label, role, curve) in enumerate(entries):
        stroke = color(role, index)
        legend.append((label, stroke))
        svg.path([(left + across(p) * width, top + height - up(ms) * height)
                  for p, ms in curve], stroke)
    svg.legend(legend, left)
    svg.save(path)


def round_up(value):
    """The next number that divides well by four."""
    if value <= 0:
        return 4
    unit = 10 ** math.floor(math.log10(value))
    return next(unit * step for step in (1, 2, 4, 6, 8, 10, 20)
                if unit * step >= value)


def marks(end):
    """Some round numbers from 0 to the end."""
    step = round_up(end) / 4
    step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
                if s >= step or s == 1800)
    return [step * i for i in range(int(end / step) + 1)]


def lines(path, title, unit, entries):
    """Something over time: entries are label, role, [[second, value], ...]."""
    entries = [e for e in entries if e[2]]
    rows = (len(entries) + 2) // 3
    left, top, width, height = 90, 56 + 15 * rows, WIDTH - 120, 240
    svg = Svg(top + height + 45, title)
    end = max(points[-1][0] for _, _, points in entries) or 1
    most = round_up(max(value for _, _, points in entries
                        for _, value in points))
    frame(svg, left, top, width, height,
          [(at / end, f"{at:g}") for at in marks(end)],
          [(i / 4, number(most * i / 4)) for i in range(5)], "seconds", unit)
    legend = []
    for index, (label, role, points) in enumerate(entries):
        stroke = color(role, index)
        legend.append((label, stroke))
        svg.path([(left + x / end * width, top + height - y / most * height)
                  for x, y in points], stroke)
    svg.legend(legend, left)
    svg.save(path)
