"""Every named vision transformer, of timm or of its classes: parameters, logits, and what the blocks give.

Weights are made on both sides by `fill` (parity_imagenet_zoo.py) from one tensor `noise`. Of a block's tokens every
STEP-th value is kept, for the large ones give millions.
"""

import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

NUM_CLASSES = 10
STEP = 61  # prime, so that all tokens and channels get their turn

TIMM_NAMES = [f"{family}_{size}{middle}_patch{patch}_{side}"
              for side in (224, 384)
              for family, middle, patch, sizes in [
                  ("deit", "", 16, ("tiny", "small", "base")),
                  ("deit", "_distilled", 16, ("tiny", "small", "base")),
                  ("deit3", "", 16, ("small", "medium", "base", "large")),
                  ("vit", "", 16, ("tiny", "small", "base", "large")),
                  ("vit", "", 32, ("small", "base"))]
              for size in sizes]
# Umbra's own names: width, depth, heads.
CIFAR_SIZES = dict(mini=(128, 6, 4), tiny=(192, 12, 3), small=(384, 12, 6))


def from_timm(name, num_classes):
    """384 pixels, where timm has no such name, is its 224-pixel model at that size."""
    known = name if timm.is_model(name) else name.replace("_384", "_224")
    return timm.create_model(known, img_size=int(name[-3:]), num_classes=num_classes)


def from_sizes(sizes, distilled, num_classes):
    width, depth, heads = sizes
    make = VisionTransformerDistilled if distilled else VisionTransformer
    return make(img_size=32, patch_size=4, embed_dim=width, depth=depth, num_heads=heads, num_classes=num_classes)


ZOO = {
    **{name: lambda classes, name=name: from_timm(name, classes) for name in TIMM_NAMES},
    **{f"vit_cifar_{size}{'_distilled' * distilled}_patch4_32":
       lambda classes, sizes=sizes, distilled=distilled: from_sizes(sizes, distilled, classes)
       for size, sizes in CIFAR_SIZES.items() for distilled in (False, True)},
}


def make_vit_zoo(out, tools):
    """`tools` has randn and fill."""
    tensors = dict(noise=tools.randn(65537, seed=1999))
    facts = {}
    for name, make in ZOO.items():
        with torch.device("meta"):
            parameters = sum(p.numel() for p in make(1000).parameters())
            model = make(NUM_CLASSES)
        size = model.patch_embed.img_size[0]
        if f"input/{size}" not in tensors:
            tensors[f"input/{size}"] = tools.randn(1, 3, size, size, seed=size)
        blocks = []
        with torch.no_grad():
            model = tools.fill(model.to_empty(device="cpu"), tensors["noise"]).eval()
            for block in model.blocks:
                block.register_forward_hook(lambda _, __, tokens: blocks.append(tokens.flatten()[::STEP].clone()))
            tensors[f"{name}/logits"] = model(tensors[f"input/{size}"])
        tensors.update({f"{name}/block/{i}": values for i, values in enumerate(blocks)})
        facts[name] = dict(parameters=parameters, img_size=size, blocks=len(blocks))
    out.save("vit_zoo", tensors)
    out.facts["vit_zoo"] = dict(num_classes=NUM_CLASSES, step=STEP, models=facts)
