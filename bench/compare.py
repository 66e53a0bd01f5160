#!/usr/bin/env python3
"""Training steps and teacher forwards against PyTorch, alternately on the same machine.

    bench/compare.py [--umbra build/release/umbra] [--cases NAME ...] [--rounds 3] [--seconds 4]

Prints a table (docs/benchmarks.md keeps one): images per second of the median step, ours and the
peers' best, and the ratio, median over the rounds with the lowest and highest. Peers: timm and
PyTorch, eager (CNNs also channels-last) and torch.compile. Each side has the precision that is
fastest for it unless the case names one, the same threads and, as umbra sets it for itself, an
allocator that keeps freed memory. Needs the Python that tools/setup.sh --tests makes.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import timm
import torch

HERE = Path(__file__).resolve().parent
DEIT = ("deit_tiny_distilled_patch16_224", "deit_tiny_distilled_patch16_224", 224, 16, 1000)
SMALL_VIT = ("vit_cifar_tiny_distilled_patch4_32", "deit_tiny_distilled_patch16_224", 32, 4, 100)


def cnn(name, size=32, classes=100):
    return (name, name, size, 0, classes)


# name: what, (our model, the peer's, side, patch, classes), batch, precisions
CASES = {
    "deit-ti": ("step", DEIT, 32, ("bf16",)),
    "deit-ti fp32": ("step", DEIT, 32, ("fp32",)),
    "vit 32 px": ("step", SMALL_VIT, 64, ("bf16", "fp32")),
    "vit 32 px, 128": ("step", SMALL_VIT, 128, ("bf16", "fp32")),
    "resnet8x4": ("step", cnn("resnet8x4"), 64, ("bf16", "fp32")),
    "resnet8x4, 128": ("step", cnn("resnet8x4"), 128, ("bf16", "fp32")),
    "resnet20": ("step", cnn("resnet20"), 64, ("bf16", "fp32")),
    "resnet20, 128": ("step", cnn("resnet20"), 128, ("bf16", "fp32")),
    "teacher resnet50": ("teacher", cnn("resnet50", 224, 1000), 32, ("bf16", "fp32")),
    "teacher resnet32x4": ("teacher", cnn("resnet32x4"), 64, ("bf16", "fp32")),
    "teacher wrn_40_2": ("teacher", cnn("wrn_40_2"), 64, ("bf16", "fp32")),
    "teacher cifar_vgg13": ("teacher", cnn("cifar_vgg13"), 64, ("bf16", "fp32")),
    "teacher regnety_160": ("teacher", cnn("regnety_160", 224, 1000), 8, ("bf16",)),
    "wrn_16_2": ("step", cnn("wrn_16_2"), 64, ("bf16", "fp32")),
    "cifar_vgg8": ("step", cnn("cifar_vgg8"), 64, ("bf16", "fp32")),
    "mobilenetv2_100": ("step", cnn("mobilenetv2_100", 224, 1000), 32, ("bf16", "fp32")),
}


class Peer:
    def __init__(self):
        keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
        self.process = subprocess.Popen([sys.executable, HERE / "peer.py"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=os.environ | keep, text=True)

    def ask(self, **case):
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"the peer died at {case}")
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def ours(umbra, what, model, size, classes, batch, precision, seconds):
    command = [umbra, "bench", what, "--json", "--model", model, "--image-size", size, "--classes", classes,
               "--batch", batch, "--precision", precision, "--seconds", seconds]
    answer = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"


def compare(options, name):
    what, (model, peer_model, size, patch, classes), batch, precisions = CASES[name]
    modes = ["eager", "compile"] if patch else ["eager", "channels_last", "compile"]
    peer = Peer()
    rates, threads = {}, set()

    def measure_ours(precision):
        return ours(options.umbra, what, model, size, classes, batch, precision, options.seconds)

    def measure_peer(precision, mode):
        return peer.ask(what=what, model=peer_model, image_size=size, patch=patch, classes=classes, batch=batch,
                        precision=precision, mode=mode, seconds=options.seconds)

    for number in range(options.rounds):
        for precision in precisions:
            for side in (["umbra", *modes] if number % 2 == 0 else [*modes, "umbra"]):
                facts = measure_ours(precision) if side == "umbra" else measure_peer(precision, side)
                rates.setdefault((side, precision), []).append(facts["images_per_second"])
                threads.add(facts["threads"])
    if len(threads) > 1:
        sys.exit(f"the sides ran with different numbers of threads: {threads}")
    peer.end()
    middle = {key: statistics.median(values) for key, values in rates.items()}
    mine = max((key for key in middle if key[0] == "umbra"), key=middle.get)
    for mode in modes:
        best = max((key for key in middle if key[0] == mode), key=middle.get)
        ratios = [a / b for a, b in zip(rates[mine], rates[best])]
        print(f"| {name} | {batch} | {middle[mine]:.1f} {mine[1]} | {mode.replace('_', '-')} | "
              f"{middle[best]:.1f} {best[1]} | {spread(ratios)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--umbra", default=HERE.parent / "build" / "release" / "umbra")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="NAME",
                        help=f"of: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    conditions = json.loads(subprocess.run(
        [options.umbra, "bench", "step", "--json", "--model", "resnet8", "--seconds", "0.1"], check=True,
        stdout=subprocess.PIPE, text=True).stdout)
    print(f"{conditions['device']}, {platform.platform()}, torch {torch.__version__} (ours {conditions['torch']}), "
          f"timm {timm.__version__}, {os.cpu_count()} cores; {options.rounds} rounds of {options.seconds} s\n")
    print("| case | batch | ours, images/s | peer | its images/s | ratio |\n|---|---:|---:|---|---:|---:|")
    for name in options.cases:
        compare(options, name)


if __name__ == "__main__":
    main()
