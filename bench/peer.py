"""The same training step or teacher forward in PyTorch: what bench/compare.py measures ours against.

Reads one JSON object per line, {"what": "step" or "teacher", "model", "image_size", "patch", "classes",
"batch", "precision": "fp32" or "bf16", "mode": "eager", "channels_last" or "compile", "seconds"}, and
answers each with {"images_per_second", "threads"}: the median step. Networks are kept. A teacher is
frozen: inference mode, weights in the precision themselves, compiled with constants folded.
"""

import json
import statistics
import sys
import time

import timm
import torch
import torch._inductor.config
from torch import nn
from torch.nn import functional as F


class CifarBlock(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = None
        if stride > 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class CifarResNet(nn.Module):
    """(depth - 2) / 6 blocks in each of three stages, as the CIFAR distillation papers use it."""

    def __init__(self, depth, stem, widths, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        blocks, inputs = [], stem
        for stage, width in enumerate(widths):
            for i in range((depth - 2) // 6):
                blocks.append(CifarBlock(inputs, width, 2 if stage > 0 and i == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = None if inputs == width else nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut


class WideResNet(nn.Module):
    """(depth - 4) / 6 blocks, which start with their norm, in each of three stages."""

    def __init__(self, depth, widen, classes):
        super().__init__()
        blocks, inputs = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)], 16
        for stage in range(3):
            for i in range((depth - 4) // 6):
                width = (16 << stage) * widen
                blocks.append(WideBlock(inputs, width, 2 if stage > 0 and i == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(inputs), nn.ReLU())
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        return self.fc(self.blocks(x).mean((2, 3)))


def cifar_vgg(convs, classes):
    """Five blocks of 3 x 3 convolutions with biases, pools after the first three."""
    layers, inputs = [], 3
    for block, count in enumerate(convs):
        width = min(64 << block, 512)
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        if block < 3:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


CIFAR_MODELS = {
    "resnet20": lambda classes: CifarResNet(20, 16, (16, 32, 64), classes),
    "resnet8x4": lambda classes: CifarResNet(8, 32, (64, 128, 256), classes),
    "resnet32x4": lambda classes: CifarResNet(32, 32, (64, 128, 256), classes),
    "wrn_16_2": lambda classes: WideResNet(16, 2, classes),
    "wrn_40_2": lambda classes: WideResNet(40, 2, classes),
    "cifar_vgg8": lambda classes: cifar_vgg((1, 1, 1, 1, 1), classes),
    "cifar_vgg13": lambda classes: cifar_vgg((2, 2, 2, 2, 2), classes),
}


def make_model(name, size, patch, classes):
    if name in CIFAR_MODELS:
        return CIFAR_MODELS[name](classes)
    options = {"img_size": size, "patch_size": patch} if patch else {}
    model = timm.create_model(name, num_classes=classes, **options)
    if hasattr(model, "set_distilled_training"):
        model.set_distilled_training(True)
    return model


class Work:
    """One case, ready to run: step() does the work once."""

    def __init__(self, what, model, image_size, patch, classes, batch, precision, mode):
        torch.manual_seed(0)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.bf16 = precision == "bf16" and what == "step"  # by autocast
        network = make_model(model, image_size, patch, classes).to(self.device)
        self.images = torch.randn(batch, 3, image_size, image_size, device=self.device)
        self.labels = torch.randint(classes, (batch,), device=self.device)
        if mode == "channels_last":
            network = network.to(memory_format=torch.channels_last)
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        if what == "teacher":
            network.eval().requires_grad_(False)
            if precision == "bf16":
                network, self.images = network.bfloat16(), self.images.bfloat16()
            torch._inductor.config.freezing = True
            self.run = self.forward
        else:
            network.train()
            self.run = self.train
            self.optimizer = (
                torch.optim.AdamW(network.parameters(), 1e-4, weight_decay=0.05, fused=True) if patch
                else torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9, weight_decay=5e-4, fused=True))
        self.network = torch.compile(network) if mode == "compile" else network

    def forward(self):
        with torch.inference_mode():
            self.network(self.images)

    def train(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            outputs = self.network(self.images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(F.cross_entropy(o.float(), self.labels) for o in outputs).backward()
        self.optimizer.step()

    def timed(self):
        if self.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        self.run()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def rate(self, seconds):
        for _ in range(3):
            self.timed()
        times = []
        while sum(times) < seconds or len(times) < 5:
            times.append(self.timed())
        return len(self.images) / statistics.median(times)


def main():
    ready = {}
    for line in sys.stdin:
        case = json.loads(line)
        seconds = case.pop("seconds")
        key = json.dumps(case, sort_keys=True)
        if key not in ready:
            ready[key] = Work(**case)
        print(json.dumps({"images_per_second": ready[key].rate(seconds), "threads": torch.get_num_threads()}),
              flush=True)


if __name__ == "__main__":
    main()
