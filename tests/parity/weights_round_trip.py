#!/usr/bin/env python3
"""Weights to and from timm and torchvision, through the program itself.

    weights_round_trip.py path/to/umbra

For each network: random weights of the reference, saved by torch.save, give the same logits in umbra; what umbra
exports loads back into the reference with strict=True and the same bits. Fails at the end, naming what differs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-5  # of max |a - b| / max |b|

TIMM = (  # name, image size
    ("deit_tiny_patch16_224", 224), ("deit_tiny_distilled_patch16_224", 224), ("deit3_small_patch16_224", 224),
    ("vit_tiny_patch16_224", 224), ("vit_small_patch32_224", 224), ("resnet18", 96), ("resnet50", 96),
    ("resnet50d", 96), ("regnety_004", 96), ("convnext_tiny", 96), ("mobilenetv2_100", 96),
    ("tf_efficientnet_lite0", 96),
)
TORCHVISION = (  # umbra's name, torchvision's, image size
    ("resnet18", "resnet18", 96), ("wide_resnet50_2", "wide_resnet50_2", 96), ("regnety_004", "regnet_y_400mf", 96),
    ("convnext_tiny", "convnext_tiny", 96), ("mobilenetv2_100", "mobilenet_v2", 96), ("vit_base_patch32_224", "vit_b_32", 224),
)


def randomised(model):
    """Weights, biases and statistics that all differ from their initial values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.dim() <= 1:
                tensor.add_(0.1 * noise)
            else:
                tensor.add_(0.02 * noise)
    return model.eval()


def umbra(*arguments):
    done = subprocess.run([UMBRA, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"umbra {' '.join(map(str, arguments))}: {done.stderr or done.stdout}")


def logits_of(model, images):
    with torch.no_grad():
        return model(images)


def check(ours, reference, size, to, folder):
    """One network there and back. Returns what is wrong, if anything."""
    published, exported = folder / "published.pth", folder / "exported.safetensors"
    images, answer = folder / "images.safetensors", folder / "answer.safetensors"
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    save_file({"input": x}, images)
    torch.save({"state_dict": reference.state_dict()}, published)
    expected = logits_of(reference, x)

    umbra("forward", "--model", ours, "--weights", published, "--input", images, "--out", answer)
    outputs = load_file(answer)
    heads = [tensor for name, tensor in outputs.items() if name == "logits" or name.startswith("shadow_logits")]
    error = ((torch.stack(heads).mean(0) - expected).abs().max() / expected.abs().max()).item()
    if error > TOLERANCE:
        return f"logits differ by {error:.2g}"

    umbra("export", published, "--model", ours, "--to", to, "--out", exported)
    saved = load_file(exported)
    state = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    reference.load_state_dict(saved, strict=True)
    for name, tensor in state.items():
        if not torch.equal(saved[name], tensor):
            return f"{name} came back with other bits"
    return None


def main():
    torch.set_num_threads(1)
    cases = [(name, f"timm {name}", lambda n=name: timm.create_model(n), size, "timm")
             for name, size in TIMM]
    cases += [(ours, f"torchvision {name}", lambda n=name: getattr(torchvision.models, n)(), size, "torchvision")
              for ours, name, size in TORCHVISION]
    failures = 0
    for ours, title, make, size, to in cases:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            try:
                problem = check(ours, randomised(make()), size, to, Path(folder))
            except RuntimeError as error:
                problem = str(error)
        print(f"{title:38} {problem or 'equal'}", flush=True)
        failures += problem is not None
    sys.exit(failures > 0)


UMBRA = sys.argv[1]
main()
