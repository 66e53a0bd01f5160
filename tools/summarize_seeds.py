#!/usr/bin/env python3
"""Mean and spread of top-1 over repeated demos.

usage: tools/summarize_seeds.py runs/demo-seed*/summary.json

Each argument is a file written by `umbra report ... --json`. Prints one Markdown table: for every run
and head the mean and the sample standard deviation over the files, then the paired difference of
each student to the first one, which shares its labels and its seed.
"""
import json
import sys

from experiments import spread


def main(paths):
    if not paths:
        sys.exit(__doc__)
    demos = [{run["name"]: run for run in json.load(open(path))} for path in paths]
    names = list(demos[0])

    def top1(name, head):
        scores = [demo[name]["last"]["raw"].get(head) for demo in demos]
        return [s["top1"] for s in scores] if all(scores) else None

    print(f"{len(demos)} seeds: {', '.join(str(demo[names[0]]['seed']) for demo in demos)}\n")
    print("| run | class head | shadow head | mean | class head by seed |\n|---|---|---|---|---|")
    for name in names:
        cells = [spread(v) if (v := top1(name, head)) else "-" for head in ("class", "shadow", "mean")]
        by_seed = ", ".join(f"{value:.2f}" for value in top1(name, "class"))
        print(f"| {name} | {' | '.join(cells)} | {by_seed} |")
    students = [name for name in names if name != "teacher"]
    print()
    for name in students[1:]:
        gains = [a - b for a, b in zip(top1(name, "class"), top1(students[0], "class"))]
        print(f"{name} minus {students[0]}, class head, paired by seed: {spread(gains)} "
              f"({', '.join(f'{gain:+.2f}' for gain in gains)})")


if __name__ == "__main__":
    main(sys.argv[1:])
