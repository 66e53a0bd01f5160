"""The ImageNet networks of timm, torchvision and the distillation papers, recorded.

Two kinds of record. RECORDED are small enough to be stored whole, with weights, gradients and
statistics. For every network of ZOO only logits and stages are stored: its weights are made on both
sides by `fill`, from the one tensor `noise` of the file.
"""

import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models.convnext import ConvNeXt
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

NUM_CLASSES = 10


class MobileNetV1(nn.Module):
    """Stem and 13 separable blocks under `model`; `model.14` pools."""

    def __init__(self, num_classes):
        super().__init__()
        rows = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
                (1024, 2), (1024, 1)]
        layers = [nn.Sequential(*self.conv_norm(3, 32, 3, 2))]
        for width, stride in rows:
            before = layers[-1][-2].num_features
            layers.append(nn.Sequential(*self.conv_norm(before, before, 3, stride, before),
                                        *self.conv_norm(before, width, 1)))
        self.model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(1024, num_classes)

    @staticmethod
    def conv_norm(in_width, width, kernel, stride=1, groups=1):
        return (nn.Conv2d(in_width, width, kernel, stride, kernel // 2, groups=groups, bias=False),
                nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x):
        return self.fc(self.model(x).flatten(1))


def from_timm(name):
    return lambda num_classes: timm.create_model(name, num_classes=num_classes)


def from_torchvision(name):
    return lambda num_classes: torchvision.models.get_model(name, num_classes=num_classes)


RESIDUAL = [f"layer{i}" for i in (1, 2, 3, 4)]
INVERTED = [f"blocks.{i}" for i in (0, 1, 2, 4, 6)]

# name -> how to make it, its stages, and whether a stage ends in a ReLU.
ZOO = {
    **{name: (from_torchvision(name), RESIDUAL, True)
       for name in ("resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2")},
    **{name: (from_timm(name), RESIDUAL, True)
       for name in ("resnet18d", "resnet34d", "resnet50d", "resnet101d")},
    **{f"regnety_{size}": (from_timm(f"regnety_{size}"), ["s1", "s2", "s3", "s4"], True)
       for size in ("004", "006", "008", "016", "032", "040", "064", "080", "120", "160")},
    "mobilenetv1": (MobileNetV1, [f"model.{i}" for i in (3, 5, 11, 13)], True),
    "mobilenetv2_100": (from_timm("mobilenetv2_100"), INVERTED, False),
    **{f"tf_efficientnet_lite{i}": (from_timm(f"tf_efficientnet_lite{i}"), INVERTED, False)
       for i in range(5)},
    **{f"convnext_{size}": (from_timm(f"convnext_{size}"), [f"stages.{i}" for i in range(4)], False)
       for size in ("tiny", "small", "base")},
}

# Networks of these families that have no name: narrow, so that they can be stored.
NARROW = {
    "narrow_resnet_d": (lambda num_classes: ResNet(
        Bottleneck, [1, 2, 1, 1], num_classes, stem_width=8, stem_type="deep", avg_down=True,
        channels=(8, 16, 24, 32)), RESIDUAL, True),
    "narrow_convnext": (lambda num_classes: ConvNeXt(
        num_classes=num_classes, depths=(1, 1, 2, 1), dims=(16, 24, 32, 48)),
        [f"stages.{i}" for i in range(4)], False),
}

RECORDED = ("regnety_004", "mobilenetv1", "mobilenetv2_100", "tf_efficientnet_lite0",
            "narrow_resnet_d", "narrow_convnext")

def fill(model, noise):
    """Tensor k of the sorted state is `noise`, read round and round from position 7919 * k, then

    running_var: 0.5 + |n|; other vectors: 1 + n / 10 if called *weight, else n / 10;
    convolutions: n * sqrt(2 / fan_in); matrices: n / sqrt(columns). Counters stay as they are.
    """
    for k, (name, tensor) in enumerate(sorted(model.state_dict().items())):
        if name.endswith("num_batches_tracked"):
            continue
        start = 7919 * k % len(noise)
        count = tensor.numel()
        n = noise.repeat(count // len(noise) + 2)[start:start + count].reshape(tensor.shape)
        if name.endswith("running_var"):
            n = 0.5 + n.abs()
        elif tensor.dim() == 1:
            n = 1.0 + 0.1 * n if name.endswith("weight") else 0.1 * n
        elif tensor.dim() == 4:
            n = n * (2.0 / tensor[0].numel()) ** 0.5
        else:
            n = n * tensor.shape[1] ** -0.5
        tensor.copy_(n)
    return model


class Staged(nn.Module):
    """Logits, and what each stage gives before its last ReLU, or at its end if it has none."""

    def __init__(self, model, stages, ends_in_relu):
        super().__init__()
        self.model, self.sums = model, {}
        for stage in stages:
            module = model.get_submodule(stage)
            if ends_in_relu:
                last = [m for m in module.modules() if isinstance(m, nn.ReLU)][-1]
                last.register_forward_pre_hook(
                    lambda _, inputs, stage=stage: self.sums.update({stage: inputs[0].clone()}))
            else:
                module.register_forward_hook(
                    lambda _, __, output, stage=stage: self.sums.update({stage: output.clone()}))
        self.stages = stages

    def forward(self, images):
        logits = self.model(images)
        return logits, [self.sums[stage] for stage in self.stages]


def record_whole(name, seed, tools):
    make, stages, ends_in_relu = {**ZOO, **NARROW}[name]
    staged = Staged(tools.randomize(make(NUM_CLASSES), seed), stages, ends_in_relu)
    # Odd sides: 'same' padding is uneven there, and averaging shortcuts meet a border.
    images = tools.randn(2, 3, 75, 66, seed=seed + 1)
    tensors = tools.record_cnn(staged, images, seed + 2)
    for i in range(len(stages)):
        total = tensors[f"stage/{i}"]
        tensors[f"post/{i}"] = F.relu(total) if ends_in_relu else total
    inner = ("weights/", "grad/", "after/")
    return {key.replace("/model.", "/", 1) if key.startswith(inner) else key: tensor
            for key, tensor in tensors.items()}


def make_imagenet_zoo(out, tools):
    """`tools` has randn, randomize and record_cnn."""
    for i, name in enumerate(RECORDED):
        out.save(name, record_whole(name, 2000 + 10 * i, tools))
    noise = tools.randn(65537, seed=1999)
    images = tools.randn(1, 3, 64, 64, seed=1998)
    tensors, facts = dict(noise=noise, input=images), {}
    for name, (make, stages, ends_in_relu) in ZOO.items():
        with torch.device("meta"):
            parameters = sum(p.numel() for p in make(1000).parameters())
            model = make(NUM_CLASSES)
        with torch.no_grad():
            model = fill(model.to_empty(device="cpu"), noise).eval()
            logits, sums = Staged(model, stages, ends_in_relu)(images)
        tensors[f"{name}/logits"] = logits
        tensors.update({f"{name}/stage/{i}": total for i, total in enumerate(sums)})
        facts[name] = dict(parameters=parameters, stages=stages, ends_in_relu=ends_in_relu,
                           recorded=name in RECORDED, num_classes=NUM_CLASSES)
    out.save("imagenet_zoo", tensors)
    out.facts["imagenet_zoo"] = facts
