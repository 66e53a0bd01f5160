#!/usr/bin/env python3
"""The input pipeline against its peers, on one core, alternately in the same run.

    bench/input.py --umbra build/release/umbra --images DIR_OR_TAR [--rounds 3] [--seconds 5]

Prints images per second and the ratio to timm + Pillow, median over the rounds. Needs torch,
torchvision, timm and Pillow: the Python that tools/setup.sh --tests makes has them.

    full        decode, random resized crop, flip, RandAugment, normalise, erase (DeiT's chain)
    full fast   ours with decode = "fast" (JPEGs at reduced size), the peers as before
    32 px       pictures already decoded at 32 x 32: pad, crop, flip, RandAugment, normalise, erase
    two workers two worker threads against two processes of one, together
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import PIL
import timm
import torch
import torchvision
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torchvision import transforms
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
POLICY = "rand-m9-mstd0.5-inc1"


def read_pictures(source):
    if source.is_dir():
        files = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
        return [p.read_bytes() for p in files]
    with tarfile.open(source) as tar:
        return [tar.extractfile(m).read() for m in tar if m.isfile()]


def rate(work, items, seconds):
    for item in items[:16]:
        work(item)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work(items[done % len(items)])
        done += 1
    return done / (time.perf_counter() - start)


def timm_decode(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def timm_full():
    transform = create_transform(224, is_training=True, auto_augment=POLICY,
                                 interpolation="bicubic", re_prob=0.25, re_mode="pixel")
    return lambda data: transform(timm_decode(data))


def torchvision_full():
    """torchvision's own operations, which are not timm's: a speed comparison only."""
    transform = v2.Compose([
        v2.RandomResizedCrop(224, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
        v2.RandomHorizontalFlip(), v2.RandAugment(2, 9), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD), v2.RandomErasing(0.25)])

    def work(data):
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        transform(torchvision.io.decode_jpeg(encoded, mode=torchvision.io.ImageReadMode.RGB))

    return work


def timm_small():
    params = dict(translate_const=14, img_mean=tuple(round(255 * m) for m in MEAN),
                  interpolation=Image.Resampling.BICUBIC)
    return transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
        rand_augment_transform(POLICY, params), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD), RandomErasing(0.25, mode="pixel", device="cpu")])


class Umbra:
    def __init__(self, program, seconds):
        self.program, self.seconds = program, seconds

    def start(self, images, *options):
        command = [self.program, "bench", "input", "--images", images, "--json",
                   "--seconds", str(self.seconds), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def result(self, images, *options):
        return self.finish(self.start(images, *options))

    @staticmethod
    def finish(process):
        output, _ = process.communicate()
        if process.returncode != 0:
            sys.exit("umbra bench failed")
        return json.loads(output)


def median(values):
    return statistics.median(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--umbra", default="build/release/umbra")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    files = read_pictures(arguments.images)
    umbra = Umbra(arguments.umbra, arguments.seconds)
    rates = {}

    def note(name, value):
        rates.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large"), Path(folder, "small")
        large.mkdir()
        small.mkdir()
        tiny = []
        for i, data in enumerate(files):
            (large / f"{i:05}.jpg").write_bytes(data)
            tiny.append(timm_decode(data).resize((32, 32)))
            tiny[-1].save(small / f"{i:05}.png")
        peers = {"decode / timm": (timm_decode, files), "full / timm": (timm_full(), files),
                 "full / torchvision v2": (torchvision_full(), files),
                 "32 px / timm": (timm_small(), tiny)}
        for _ in range(arguments.rounds):
            for name, (work, items) in peers.items():
                note(name, rate(work, items, arguments.seconds))
            full = umbra.result(large)
            note("full", full["images_per_second"])
            note("decode", full["decode_images_per_second"])
            note("full fast", umbra.result(large, "--decode", "fast")["images_per_second"])
            note("32 px", umbra.result(small, "--image-size", "32", "--decoded", "--set",
                                       "augment.crop=pad", "--set", "augment.crop_pct=1.0")
                 ["images_per_second"])
            two = [umbra.start(large), umbra.start(large)]
            note("two processes", sum(umbra.finish(p)["images_per_second"] for p in two))
            note("two workers", umbra.result(large, "--threads", "2")["images_per_second"])

    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
          f"timm {timm.__version__}, Pillow {PIL.__version__}; {full['processor']}, "
          f"{os.cpu_count()} cores; {len(files)} pictures, {arguments.rounds} rounds of "
          f"{arguments.seconds:g} s\n")
    print("| what | images/s | against | its images/s | ratio (lowest, highest round) |")
    print("|---|---|---|---|---|")
    for ours, peer in [("decode", "decode / timm"), ("full", "full / timm"),
                       ("full", "full / torchvision v2"), ("full", "decode"),
                       ("full fast", "full / timm"), ("32 px", "32 px / timm"),
                       ("two workers", "two processes")]:
        ratios = [a / b for a, b in zip(rates[ours], rates[peer])]
        print(f"| {ours} | {median(rates[ours]):.0f} | {peer} | {median(rates[peer]):.0f} | "
              f"{median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) |")


if __name__ == "__main__":
    main()
