#!/usr/bin/env python3
"""How the cost of a training step grows, one thing changed at a time; docs/scaling.md keeps the tables.

    bench/scaling.py [--umbra build/release/umbra] [--seconds 3] [--threads 2]

Around a DeiT of 192 wide, 12 blocks, 224 pixels, batch 16, 1,000 classes, bf16.
"""
import argparse
import json
import subprocess

BASE = {"width": 192, "depth": 12, "side": 224, "batch": 16, "classes": 1000}
AXES = {
    "width": [96, 192, 384, 768],
    "depth": [3, 6, 12, 24],
    "side": [112, 160, 224, 320],
    "batch": [4, 8, 16, 32, 64],
    "classes": [10, 1000, 21841],
}


def measure(arguments, case):
    command = [arguments.umbra, "bench", "step", "--json", "--model", "vit", "--precision", "bf16",
               "--seconds", str(arguments.seconds), "--threads", str(arguments.threads),
               "--batch", str(case["batch"]), "--image-size", str(case["side"]),
               "--classes", str(case["classes"])]
    model = {"patch_size": 16, "embed_dim": case["width"], "depth": case["depth"],
             "num_heads": max(1, case["width"] // 64), "distilled": "true"}
    for key, value in model.items():
        command += ["--set", f"model.{key}={value}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--umbra", default="build/release/umbra")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for axis, values in AXES.items():
        print(f"| {axis} | images/s | ms per image | TFLOP/s | of a matrix product's | GB |")
        print("|---:|---:|---:|---:|---:|---:|")
        for value in values:
            row = measure(arguments, BASE | {axis: value})
            rate = row["images_per_second"]
            print(f"| {value} | {rate:.1f} | {1e3 / rate:.2f} | {row['tflops']:.2f} | "
                  f"{100 * row['share_of_matmul']:.0f} % | {row['peak_resident_gb']:.2f} |",
                  flush=True)
        print()


if __name__ == "__main__":
    main()
