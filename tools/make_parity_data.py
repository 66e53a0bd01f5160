#!/usr/bin/env python3
"""Computes what the parity tests compare with, by PyTorch, timm, torchvision and Pillow.

    make_parity_data.py OUT_DIR [--force]

Writes one safetensors file per subject, and facts.json for what is no tensor. Does nothing if
OUT_DIR is already complete for this script and these package versions.
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import platform
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL
import safetensors
import safetensors.torch
import timm
import timm.data
import timm.data.mixup
import timm.layers
import timm.loss
import timm.optim
import timm.scheduler
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from parity_cifar_zoo import make_cifar_zoo
from parity_decode import make_decode
from parity_images import photograph
from parity_imagenet_zoo import fill, make_imagenet_zoo
from parity_pixel_ops import make_pixel_ops
from parity_policy import make_policy
from parity_resize import make_resize
from parity_tar import make_tar
from parity_terms_logits import make_terms_logits
from parity_terms_maps import make_terms_maps
from parity_terms_pooled import make_terms_pooled
from parity_terms_review import make_terms_review
from parity_vit_zoo import make_vit_zoo

VERSIONS = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "timm": timm.__version__,
    "pillow": PIL.__version__,
    "numpy": np.__version__,
    "safetensors": safetensors.__version__,
}


class Writer:
    """Collects tensors and facts of one output folder."""

    def __init__(self, folder):
        self.folder = folder
        self.facts = {}

    def save(self, name, tensors):
        tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        safetensors.torch.save_file(tensors, self.folder / f"{name}.safetensors")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed, dtype=torch.float32):
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def randomize(model, seed):
    """Fills every parameter and buffer, so that no bias or scale stays at a telling 0 or 1."""
    generator = seeded(seed)
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.dim() <= 1 and name.endswith("weight"):
            tensor.copy_(1.0 + 0.1 * noise)
        elif tensor.dim() <= 1:
            tensor.copy_(0.1 * noise)
        elif tensor.dim() == 4:
            tensor.copy_(noise * (2.0 / tensor[0].numel()) ** 0.5)
        elif tensor.dim() == 3:
            tensor.copy_(0.3 * noise)
        else:
            tensor.copy_(noise * tensor.shape[1] ** -0.5)
    return model


def with_prefix(prefix, tensors):
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def gradients(model):
    return with_prefix("grad", {n: p.grad for n, p in model.named_parameters()})


def weights(model):
    return with_prefix("weights", {n: t.clone() for n, t in model.state_dict().items()})


# --- vision transformers ---------------------------------------------------------------------


SMALL_VIT = dict(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=10)


def small_distilled(seed):
    model = VisionTransformerDistilled(**SMALL_VIT)
    model.set_distilled_training(True)
    return randomize(model, seed).train()


def record_vit(model, images, seed):
    """Weights, both heads' logits, and the gradient of sum(logits * projection) by name."""
    tensors = {**weights(model), "input": images}
    outputs = model.train()(images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = 0.0
    for i, (name, logits) in enumerate(zip(("logits", "logits_dist"), outputs)):
        projection = randn(*logits.shape, seed=seed + i)
        tensors[name], tensors[f"projection_{name}"] = logits, projection
        loss = loss + (logits * projection).sum()
    loss.backward()
    tensors.update(gradients(model))
    with torch.no_grad():
        tensors["logits_eval"] = model.eval()(images)
    return tensors


def make_vit(out):
    plain = randomize(VisionTransformer(**SMALL_VIT), 1)
    out.save("vit_plain", record_vit(plain, randn(4, 3, 32, 32, seed=2), 3))
    out.save("vit_distilled", record_vit(small_distilled(5), randn(4, 3, 32, 32, seed=6), 7))
    tiny = timm.create_model("deit_tiny_distilled_patch16_224")
    tiny.set_distilled_training(True)
    out.save("deit_tiny_distilled", record_vit(randomize(tiny, 9), randn(2, 3, 224, 224, seed=10), 11))
    out.facts["small_vit"] = SMALL_VIT
    deit3 = VisionTransformer(**SMALL_VIT, no_embed_class=True, init_values=1e-4)
    out.save("vit_deit3", record_vit(randomize(deit3, 12), randn(4, 3, 32, 32, seed=13), 14))
    make_vit_zoo(out, SimpleNamespace(randn=randn, fill=fill))


def make_pos_embed(out):
    tensors = {}
    cases = []
    for old, new, prefix in [(4, 7, 1), (4, 7, 2), (14, 24, 2), (14, 24, 1), (14, 8, 2), (14, 8, 1)]:
        name = f"{old}_to_{new}_prefix{prefix}"
        embed = randn(1, prefix + old * old, 24, seed=old * new + prefix)
        tensors[f"{name}/input"] = embed
        tensors[f"{name}/timm"] = timm.layers.resample_abs_pos_embed(
            embed, new_size=[new, new], num_prefix_tokens=prefix)
        # DeiT's main.py: bicubic without antialiasing.
        grid = embed[:, prefix:].reshape(1, old, old, 24).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
        rows = grid.permute(0, 2, 3, 1).flatten(1, 2)
        tensors[f"{name}/deit"] = torch.cat([embed[:, :prefix], rows], dim=1)
        cases.append(dict(name=name, grid=new, prefix=prefix))
    for old, new in [(16, 8), (16, 32), (14, 16), (4, 7)]:
        kernels = randn(5, 3, old, old, seed=100 * old + new)
        tensors[f"patch_{old}_to_{new}/input"] = kernels
        tensors[f"patch_{old}_to_{new}/timm"] = timm.layers.resample_patch_embed(kernels, [new, new])
    out.facts["patch_embed"] = [[16, 8], [16, 32], [14, 16], [4, 7]]
    out.save("pos_embed", tensors)
    out.facts["pos_embed"] = cases


# --- convolutional networks ------------------------------------------------------------------


class CifarBlock(nn.Module):
    def __init__(self, in_width, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or in_width != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_width, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut


class CifarResNet(nn.Module):
    """CIFAR ResNet: three stages of (depth - 2) / 6 basic blocks; returns logits and stage sums."""

    def __init__(self, depth, widths, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        for i, (in_width, width) in enumerate(zip(widths, widths[1:])):
            blocks = [CifarBlock(in_width, width, 1 if i == 0 else 2)]
            blocks += [CifarBlock(width, width, 1) for _ in range((depth - 2) // 6 - 1)]
            setattr(self, f"layer{i + 1}", nn.ModuleList(blocks))
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        sums = []
        for layer in (self.layer1, self.layer2, self.layer3):
            for block in layer:
                total = block(x)
                x = F.relu(total)
            sums.append(total)
        return self.fc(F.avg_pool2d(x, x.shape[-1]).flatten(1)), sums


def record_cnn(model, images, seed):
    """Eval logits and stages; train-mode logits, gradients, and running statistics after it."""

    def run():
        result = model(images)
        return result if isinstance(result, tuple) else (result, [])

    tensors = {**weights(model), "input": images}
    with torch.no_grad():
        model.eval()
        tensors["logits_eval"], sums = run()
        tensors.update({f"stage/{i}": stage for i, stage in enumerate(sums)})
    model.train()
    logits, _ = run()
    tensors["logits"] = logits
    tensors["projection"] = randn(*logits.shape, seed=seed)
    (logits * tensors["projection"]).sum().backward()
    tensors.update(gradients(model))
    tensors.update(with_prefix("after", dict(model.named_buffers())))
    return tensors


def make_cnn(out):
    resnet18 = randomize(torchvision.models.resnet18(num_classes=1000), 20)
    out.save("resnet18", record_cnn(resnet18, randn(2, 3, 96, 80, seed=21), 22))
    resnet20 = randomize(CifarResNet(20, (16, 16, 32, 64), 100), 23)
    out.save("resnet20", record_cnn(resnet20, randn(8, 3, 32, 32, seed=24), 25))
    resnet8x4 = randomize(CifarResNet(8, (32, 64, 128, 256), 100), 26)
    out.save("resnet8x4", record_cnn(resnet8x4, randn(4, 3, 32, 32, seed=27), 28))
    out.facts["cnn"] = {"resnet18": 1000, "resnet20": 100, "resnet8x4": 100}
    make_shadow_branch(out, resnet8x4)
    make_cifar_resnets(out)
    tools = SimpleNamespace(randn=randn, randomize=randomize, record_cnn=record_cnn, fill=fill)
    make_cifar_zoo(out, tools)
    make_imagenet_zoo(out, tools)


def make_cifar_resnets(out):
    names = {f"resnet{depth}": (depth, (16, 16, 32, 64)) for depth in (8, 14, 20, 32, 44, 56, 110)}
    names |= {f"resnet{depth}x4": (depth, (32, 64, 128, 256)) for depth in (8, 32)}
    tensors = dict(noise=randn(65537, seed=30), input=randn(2, 3, 32, 32, seed=31))
    out.facts["cifar_resnets"] = {}
    for name, (depth, widths) in names.items():
        model = CifarResNet(depth, widths, 100)
        out.facts["cifar_resnets"][name] = sum(p.numel() for p in model.parameters())
        with torch.no_grad():
            tensors[f"{name}/logits"], sums = fill(model, tensors["noise"]).eval()(tensors["input"])
        tensors.update({f"{name}/stage/{i}": total for i, total in enumerate(sums)})
    out.save("cifar_resnets", tensors)


def conv_bn_relu(in_width, width, kernel, stride):
    return nn.Sequential(nn.Conv2d(in_width, width, kernel, stride, kernel // 2, bias=False),
                         nn.BatchNorm2d(width), nn.ReLU())


def make_shadow_branch(out, teacher):
    """SHAKE's teacher-side branch over the three stages of a frozen CIFAR ResNet."""
    branch = nn.ModuleDict({
        "down1": conv_bn_relu(64, 128, 3, 2), "same2": conv_bn_relu(128, 128, 1, 1),
        "down2": conv_bn_relu(128, 256, 3, 2), "same3": conv_bn_relu(256, 256, 1, 1),
        "fuse": conv_bn_relu(256, 256, 3, 1)})
    randomize(branch, 29).train()
    images = randn(4, 3, 32, 32, seed=30)
    tensors = {**weights(branch), "input": images,
               **with_prefix("teacher", {n: t.clone() for n, t in teacher.state_dict().items()})}
    with torch.no_grad():
        f1, f2, f3 = (F.relu(total) for total in teacher.eval()(images)[1])
    u = branch["down1"](f1) + branch["same2"](f2)
    v = branch["down2"](u) + branch["same3"](f3)
    pooled = branch["fuse"](v).mean((2, 3))
    logits = F.linear(pooled, teacher.fc.weight.detach(), teacher.fc.bias.detach())
    tensors["logits"] = logits
    tensors["projection"] = randn(*logits.shape, seed=31)
    (logits * tensors["projection"]).sum().backward()
    tensors.update(gradients(branch))
    out.save("shadow_branch", tensors)


# --- losses ----------------------------------------------------------------------------------


def kl(student, target, temperature, count):
    """T^2 / count * sum KL(softmax(target / T) || softmax(student / T)); target is a constant."""
    divergence = F.kl_div(F.log_softmax(student / temperature, 1),
                          F.log_softmax(target.detach() / temperature, 1),
                          reduction="sum", log_target=True)
    return divergence * temperature**2 / count


def standardize(z):
    return F.layer_norm(z, z.shape[1:], eps=1e-7) * 3.1415


def z_score(z):
    """Of each row, with the sample standard deviation."""
    mean = z.mean(1, keepdim=True)
    deviation = ((z - mean).square().sum(1, keepdim=True) / (z.shape[1] - 1)).sqrt()
    return (z - mean) / (deviation + 1e-7)


def min_norm_weights(gram, bound):
    """The best of all weights that solve the problem with some at 0, some at the bound, and the
    others free: w'Gw is least where (Gw)_i is the same for all free ones."""
    n, best, least = len(gram), None, math.inf
    for fixed in itertools.product((0.0, bound, None), repeat=n):
        free = [i for i in range(n) if fixed[i] is None]
        w = torch.tensor([0.0 if f is None else f for f in fixed], dtype=torch.float64)
        if free:
            # [G_ff -1; 1 0] [w_f; slope] = [-(G w)_f; 1 - sum w]
            k = len(free)
            system = torch.zeros(k + 1, k + 1, dtype=torch.float64)
            system[:k, :k], system[:k, k], system[k, :k] = gram[free][:, free], -1.0, 1.0
            right = torch.cat([-(gram @ w)[free], (1.0 - w.sum()).reshape(1)])
            w[free] = torch.linalg.solve(system, right)[:k]
        feasible = abs(w.sum() - 1) < 1e-9 and w.min() > -1e-12 and w.max() < bound + 1e-12
        value = (w @ gram @ w).item()
        if feasible and value < least:
            best, least = w, value
    return best


def shake_total(z_s, z_ps, z_ts, y, w, temperature):
    """The paper's total with a weight on every term; with several teachers AVER."""
    n = len(z_ps)
    total = w["task"] * F.cross_entropy(z_s, y)
    for z_p, z_t in zip(z_ps, z_ts):
        batch = len(z_s)
        total = total + w["mutual"] / n * kl(z_s, z_p, temperature, batch)
        total = total + w["reverse"] * kl(z_p, z_s, temperature, batch)
        total = total + w["inherit"] * kl(z_p, z_t, temperature, batch)
        total = total + w["shadow_ce"] * F.cross_entropy(z_p, y)
        total = total + w["direct"] / n * kl(z_s, z_t, temperature, batch)
    return total


def shake_code_total(z_s, z_p, z_t, y):
    """The public code's loss at gamma = beta = 1, alpha = 0, T = 4."""
    z_s, z_p, z_t = standardize(z_s), standardize(z_p), standardize(z_t)
    mutual = kl(z_p, z_s, 4.0, len(z_s)) + kl(z_s, z_p, 4.0, len(z_s))
    inherit = ((z_p - z_t.detach()) ** 2).mean()
    return F.cross_entropy(z_s, y) + mutual + F.cross_entropy(z_p, y) + inherit


def make_losses(out):
    tensors, facts = {}, {}
    f64 = torch.float64

    def leaf(*shape, seed, scale=3.0):
        return (scale * randn(*shape, seed=seed, dtype=f64)).requires_grad_()

    def record(name, value, **leaves):
        for grad_name, grad in zip(leaves, torch.autograd.grad(value, list(leaves.values()))):
            tensors[f"{name}/grad_{grad_name}"] = grad
        tensors[f"{name}/value"] = value
        for leaf_name, tensor in leaves.items():
            tensors[f"{name}/{leaf_name}"] = tensor

    batch, classes = 7, 33
    labels = torch.randint(0, classes, (batch,), generator=seeded(40))
    soft = torch.softmax(2.0 * randn(batch, classes, seed=41, dtype=f64), 1)
    sparse = soft * (soft > 0.03)  # some targets are exactly 0
    tensors.update(labels=labels, soft=soft, sparse=sparse)

    z = leaf(batch, classes, seed=42)
    record("ce_hard", F.cross_entropy(z, labels), z=z)
    record("ce_soft", F.cross_entropy(z, soft), z=z)
    record("bce_soft", F.binary_cross_entropy_with_logits(z, (sparse > 0).to(f64)), z=z)
    record("bce_hard", F.binary_cross_entropy_with_logits(z, F.one_hot(labels, classes).to(f64)), z=z)

    facts["kl"] = []
    for i, temperature in enumerate((0.5, 1.0, 3.0, 4.0, 20.0)):
        s, t = leaf(batch, classes, seed=50 + i), leaf(batch, classes, seed=60 + i, scale=5.0)
        tensors[f"kl_{i}/target"] = t
        record(f"kl_{i}/batchmean", kl(s, t, temperature, batch), z=s)
        record(f"kl_{i}/numel", kl(s, t, temperature, s.numel()), z=s)
        facts["kl"].append(temperature)

    z_t = randn(batch, classes, seed=70, dtype=f64) * 4.0
    tensors["hard/target"] = tensors["mse/target"] = z_t
    record("hard", F.cross_entropy(z, z_t.argmax(1)), z=z)
    record("mse", F.mse_loss(z, z_t), z=z)
    record("standardize", (standardize(z) * z_t).sum(), z=z)
    record("z_score", (z_score(z) * z_t).sum(), z=z)

    # AEKD's weights for the gradients of two to four teachers, and their bounds.
    facts["min_norm"] = []
    for i, (teachers, bound) in enumerate(((2, 1.0), (3, 1.0), (4, 1.0), (3, 0.5), (4, 0.3))):
        for shift in (0.0, 1.0):  # opposed, and much alike
            gradients = randn(teachers, 12, seed=90 + i, dtype=f64) + shift
            name = f"min_norm_{len(facts['min_norm'])}"
            tensors[f"{name}/gram"] = gradients @ gradients.T
            tensors[f"{name}/weights"] = min_norm_weights(tensors[f"{name}/gram"], bound)
            facts["min_norm"].append(bound)

    facts["shake"] = []
    generator = seeded(80)
    names = ("task", "mutual", "reverse", "inherit", "shadow_ce", "direct")
    for i, teachers in enumerate((1, 1, 1, 2, 3)):
        w = dict(zip(names, (0.1 + 2.0 * torch.rand(6, generator=generator, dtype=f64)).tolist()))
        temperature = (4.0, 1.0, 2.5, 4.0, 3.0)[i]
        z_s = leaf(batch, classes, seed=81 + i)
        z_ps = [leaf(batch, classes, seed=90 + 10 * i + n) for n in range(teachers)]
        z_ts = [randn(batch, classes, seed=190 + 10 * i + n, dtype=f64) * 4 for n in range(teachers)]
        total = shake_total(z_s, z_ps, z_ts, labels, w, temperature)
        record(f"shake_{i}", total, z_s=z_s, **{f"z_p{n}": z for n, z in enumerate(z_ps)})
        tensors.update({f"shake_{i}/z_t{n}": z for n, z in enumerate(z_ts)})
        facts["shake"].append(dict(weights=w, temperature=temperature, teachers=teachers))

    z_s, z_p = leaf(batch, classes, seed=250), leaf(batch, classes, seed=251)
    record("shake_code", shake_code_total(z_s, z_p, z_t, labels), z_s=z_s, z_p=z_p)
    tensors["shake_code/z_t"] = z_t

    out.save("losses", tensors)
    out.facts["losses"] = facts


# --- optimisers, parameter groups, schedules -------------------------------------------------


OPTIMIZERS = {
    "adamw": dict(lr=1e-3, weight_decay=0.05),
    "sgd": dict(lr=0.01, weight_decay=5e-4, momentum=0.9, nesterov=True),
    "lamb": dict(lr=5e-3, weight_decay=0.05, eps=1e-6),
}


def make_optimizers(out):
    """Ten losses and the weights after them, in both precisions."""
    images = randn(8, 3, 32, 32, seed=300)
    labels = torch.randint(0, 10, (8,), generator=seeded(301))
    labels_dist = torch.randint(0, 10, (8,), generator=seeded(302))
    classes = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "lamb": timm.optim.Lamb}
    largest_norm = {}
    for name, options in OPTIMIZERS.items():
        tensors = dict(images=images, labels=labels, labels_dist=labels_dist)
        for dtype in (torch.float32, torch.float64):
            tag = str(dtype).removeprefix("torch.")
            model = small_distilled(303).to(dtype)
            if dtype == torch.float32:
                tensors.update(weights(model))
            groups = timm.optim.param_groups_weight_decay(
                model, options["weight_decay"], no_weight_decay_list=model.no_weight_decay())
            optimizer = classes[name](groups, **options)
            losses, norms = [], []
            for _ in range(10):
                logits, logits_dist = model(images.to(dtype))
                # Large enough that LAMB's clipping to a gradient norm of 1 is at work.
                loss = 4.0 * F.cross_entropy(logits, labels) + F.cross_entropy(logits_dist, labels_dist)
                optimizer.zero_grad()
                loss.backward()
                norms.append(nn.utils.get_total_norm([p.grad for p in model.parameters()]).item())
                optimizer.step()
                losses.append(loss.detach())
            tensors[f"{tag}/losses"] = torch.stack(losses)
            tensors.update(with_prefix(f"{tag}/after", model.state_dict()))
            largest_norm[f"{name}/{tag}"] = max(norms)
        out.save(f"optim_{name}", tensors)
    out.facts["optimizers"] = OPTIMIZERS
    out.facts["largest_gradient_norm"] = largest_norm


def describe_groups(model, groups):
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: dict(weight_decay=group["weight_decay"], lr_scale=group.get("lr_scale", 1.0))
            for group in groups for p in group["params"]}


def make_param_groups(out):
    facts = {}
    for name in ("deit_tiny_distilled_patch16_224", "deit_tiny_patch16_224", "resnet18"):
        model = timm.create_model(name)
        listed = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
        facts[name] = dict(
            plain=describe_groups(model, timm.optim.param_groups_weight_decay(
                model, 0.05, no_weight_decay_list=listed)),
            layer_decay=describe_groups(model, timm.optim.param_groups_layer_decay(
                model, 0.05, no_weight_decay_list=listed, layer_decay=0.75)))
    out.facts["param_groups"] = facts


def make_schedules(out):
    cases = []

    def record(kind, **options):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=options["base"])
        per_step = options["per"] == "step"
        unit = options["steps_per_epoch"] if per_step else 1
        values = []
        if kind == "cosine":
            scheduler = timm.scheduler.CosineLRScheduler(
                optimizer, t_initial=options["t_initial"] * unit, lr_min=options["min_lr"],
                warmup_t=options["warmup"] * unit, warmup_lr_init=options["warmup_lr"],
                warmup_prefix=options["prefix"], t_in_epochs=not per_step)
            advance = scheduler.step_update if per_step else scheduler.step
            for t in range(options["total"] * unit):
                values.append(optimizer.param_groups[0]["lr"])
                advance(t + 1)
        else:
            scheduler = torch.optim.lr_scheduler.MultiStepLR(
                optimizer, [m * unit for m in options["milestones"]], options["decay_rate"])
            for _ in range(options["total"] * unit):
                values.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
        cases.append(dict(kind=kind, values=values, **options))

    deit = dict(base=1e-3, warmup_lr=1e-6, min_lr=1e-5, warmup=5)
    record("cosine", per="epoch", steps_per_epoch=7, t_initial=300, total=300, prefix=False, **deit)
    record("cosine", per="epoch", steps_per_epoch=7, t_initial=300, total=305, prefix=True, **deit)
    record("cosine", per="step", steps_per_epoch=13, t_initial=60, total=60, prefix=False, **deit)
    record("cosine", per="step", steps_per_epoch=13, t_initial=60, total=65, prefix=True, **deit)
    record("cosine", per="step", steps_per_epoch=11, t_initial=20, total=20, prefix=False,
           base=0.05, warmup_lr=0.0, min_lr=0.0, warmup=0)
    for per in ("epoch", "step"):
        record("multistep", per=per, steps_per_epoch=9, total=240, base=0.05,
               milestones=[150, 180, 210], decay_rate=0.1)
    out.facts["schedules"] = cases


# --- images ----------------------------------------------------------------------------------


def make_images(out):
    tensors, views = {}, []
    cases = [((131, 97), 64, "bicubic", 0.875), ((50, 41), 32, "bicubic", 0.875),
             ((301, 201), 224, "bicubic", 0.875), ((201, 333), 224, "bilinear", 0.9),
             ((255, 255), 96, "bicubic", 1.0)]
    for i, (source, size, mode, crop_pct) in enumerate(cases):
        pixels = photograph(*source, seed=450 + i)
        # With mean 0 and std 1 the result times 255 is the 8-bit view itself.
        transform = timm.data.create_transform(
            (3, size, size), is_training=False, interpolation=mode, crop_pct=crop_pct,
            mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        view = (transform(Image.fromarray(pixels)) * 255.0).round().to(torch.uint8)
        tensors[f"eval_{i}/input"] = torch.from_numpy(pixels)
        tensors[f"eval_{i}/view"] = view.permute(1, 2, 0)
        views.append(dict(size=size, interpolation=mode, crop_pct=crop_pct))
    out.save("images", tensors)
    out.facts["images"] = dict(eval=views)


class FixedMixup(timm.data.Mixup):
    """timm's Mixup with its draws replaced by given ones: (lam, box or None) for each."""

    def __init__(self, draws, **options):
        super().__init__(mixup_alpha=1.0, cutmix_alpha=1.0, **options)
        self.draws = draws

    def _params_per_batch(self):
        (lam, box), = self.draws
        return lam, box is not None

    def _params_per_elem(self, batch_size):
        assert len(self.draws) == batch_size
        return (np.array([lam for lam, _ in self.draws], dtype=np.float32),
                np.array([box is not None for _, box in self.draws]))

    def __call__(self, images, target):
        boxes = iter([box for lam, box in self.draws if box is not None and lam != 1.0])
        drawn = timm.data.mixup.rand_bbox
        timm.data.mixup.rand_bbox = lambda *_, **__: next(boxes)
        try:
            return super().__call__(images, target)
        finally:
            timm.data.mixup.rand_bbox = drawn


def make_mixing(out):
    images = randn(6, 3, 12, 10, seed=500)
    labels = torch.randint(0, 9, (6,), generator=seeded(501))
    tensors = dict(images=images, labels=labels)
    three = [(0.7, None), (0.6, (2, 9, 0, 4)), (1.0, None)]
    cases = []
    for i, (mode, draws, smoothing) in enumerate([
            ("batch", [(0.7, None)], 0.1), ("batch", [(0.0123, None)], 0.0),
            ("batch", [(1.0, None)], 0.1), ("batch", [(0.5, (2, 9, 0, 4))], 0.1),
            ("batch", [(0.8, (0, 12, 3, 10))], 0.0), ("batch", [(0.3, (5, 5, 1, 8))], 0.1),
            ("pair", three, 0.1), ("elem", three + [(0.2, (0, 3, 0, 3)), (0.9, None), (0.4, None)],
                                   0.1)]):
        mixup = FixedMixup(draws, mode=mode, label_smoothing=smoothing, num_classes=9)
        mixed, target = mixup(images.clone(), labels)
        tensors[f"mix_{i}/images"], tensors[f"mix_{i}/targets"] = mixed, target
        ours = []
        for lam, box in draws + (draws[::-1] if mode == "pair" else []):
            if box is not None:
                y0, y1, x0, x1 = box
                lam = 1.0 - (y1 - y0) * (x1 - x0) / 120.0
            ours.append(dict(lam=lam, box=box))
        cases.append(dict(draws=ours, smoothing=smoothing))
    out.save("mixing", tensors)
    out.facts["mixing"] = cases


def make_jsd(out):
    logits = randn(12, 7, seed=510, dtype=torch.float64).requires_grad_()  # views one by one
    labels = torch.randint(0, 7, (4,), generator=seeded(511))
    loss = timm.loss.JsdCrossEntropy(num_splits=3, alpha=12, smoothing=0)(logits, labels.repeat(3))
    loss.backward()
    out.save("jsd", dict(logits=logits, labels=labels, loss=loss, gradient=logits.grad))


# --- the program -----------------------------------------------------------------------------


def make_terms(out):
    tools = SimpleNamespace(randn=randn)
    for make in (make_terms_maps, make_terms_pooled, make_terms_logits, make_terms_review):
        make(out, tools)


PARTS = (make_vit, make_pos_embed, make_cnn, make_losses, make_terms, make_optimizers, make_param_groups,
         make_schedules, make_images, make_mixing, make_jsd,
         make_decode, make_resize, make_pixel_ops, make_policy, make_tar)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--force", action="store_true", help="recompute even what is up to date")
    arguments = parser.parse_args()

    print("reference:", ", ".join(f"{k} {v}" for k, v in VERSIONS.items()))
    scripts = [Path(__file__), *sorted(Path(__file__).parent.glob("parity_*.py"))]
    source = dict(versions=VERSIONS, test_data=os.environ.get("UMBRA_TEST_DATA", ""),
                  scripts=[hashlib.sha256(path.read_bytes()).hexdigest() for path in scripts])
    facts_path = arguments.out_dir / "facts.json"
    if not arguments.force and facts_path.exists():
        if json.loads(facts_path.read_text()).get("source") == source:
            print(f"{arguments.out_dir} is up to date")
            return

    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    facts_path.unlink(missing_ok=True)
    torch.set_num_threads(1)  # the tensors are small; threads would only wait for each other
    out = Writer(arguments.out_dir)
    for part in PARTS:
        start = time.perf_counter()
        part(out)
        print(f"{part.__name__}: {time.perf_counter() - start:.1f} s")
    # Last, so that an interrupted run is not taken for a complete one.
    facts_path.write_text(json.dumps(dict(source=source, **out.facts), indent=1))


if __name__ == "__main__":
    sys.exit(main())
