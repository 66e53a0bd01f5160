#!/usr/bin/env python3
"""Draws top-1 of the class head over training as an SVG, from the metrics.jsonl of each run.

usage: tools/plot_runs.py OUT.svg RUN...
"""
import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 56, 150, 24, 44
COLOURS = ["#4477aa", "#cc6677", "#228833", "#aa3377", "#ccbb44", "#66ccee"]


def curve(run):
    rows = (json.loads(line) for line in open(pathlib.Path(run) / "metrics.jsonl"))
    return [(row["step"], row["heads"]["class"]["top1"])
            for row in rows if row["kind"] == "eval" and row["weights"] == "raw"]


def ticks(low, high, count):
    step = (high - low) / count
    nice = min((b * 10**e for e in range(-2, 6) for b in (1, 2, 5)), key=lambda s: abs(s - step))
    first = -(-low // nice) * nice
    return [first + i * nice for i in range(int((high - first) / nice) + 1)]


def main(out, runs):
    curves = {pathlib.Path(run).name: curve(run) for run in runs}
    points = [point for line in curves.values() for point in line]
    last = max(step for step, _ in points)
    low, high = min(t for _, t in points), max(t for _, t in points)
    low, high = max(low, high - 15) - 0.5, high + 0.5  # the end is what is compared

    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(top1):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (max(top1, low) - low) / (high - low)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for top1 in ticks(low, high, 6):
        parts.append(f'<path d="M{LEFT} {y(top1):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                     f'<text x="{LEFT - 6}" y="{y(top1) + 4:.1f}" text-anchor="end">{top1:g}</text>')
    for step in ticks(0, last, 6):
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
                     f'{step:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
                 'step</text>'
                 f'<text x="{LEFT}" y="{TOP - 8}">top-1 of the class head, %</text>')
    labels = sorted(((y(line[-1][1]), name) for name, line in curves.items() if line))
    placed = -100.0
    for (at, name) in labels:
        placed = max(at, placed + 16)
        colour = COLOURS[list(curves).index(name) % len(COLOURS)]
        path = " ".join(f"{x(s):.1f},{y(t):.1f}" for s, t in curves[name] if t >= low)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
                     f'<text x="{WIDTH - RIGHT + 8}" y="{placed + 4:.1f}" fill="{colour}">{name} '
                     f'{curves[name][-1][1]:.2f}</text>')
    parts.append("</svg>")
    pathlib.Path(out).write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
