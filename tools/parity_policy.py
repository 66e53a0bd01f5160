"""Parity data of augment/policy: timm's policies, levels, operations and AugMix, and torchvision's
TrivialAugmentWide."""

from unittest import mock

import numpy as np
from PIL import Image
from timm.data import auto_augment
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from parity_images import photograph, pictures, to_pillow, to_tensor

FILL = (124, 116, 104)
MODES = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
LEVELS = [0, 2.5, 5, 9, 10]
BINS = 31

RAND = ["rand", "rand-m9-mstd0.5-inc1", "rand-m9-n3-mstd0.5", "rand-m15-mmax20-p0.7-inc0",
        "rand-mstd1-tweights", "rand-m6-n4-t3a", "rand-m5-n1-t3aw-p1", "rand-mstd101-m7",
        "rand-n2-m8-inc1-mstd100"]
AUTO = ["original", "original-mstd0.5", "originalr", "v0", "v0r-mstd1", "3a"]
AUGMIX = ["augmix", "augmix-m5-w4-d2", "augmix-m10-w1-a0.5-b1-mstd0.5", "augmix-mstd0-b0"]


def planned(op):
    return [op.name, op.prob, op.magnitude]


def noise(op):
    """Standard deviation (-1: uniform) and largest magnitude."""
    std = op.magnitude_std
    return dict(std=-1 if std == float("inf") else std, max=op.magnitude_max or 10)


def make_plans():
    plans = []
    for text in RAND:
        policy = auto_augment.rand_augment_transform(text)
        weights = [] if policy.choice_weights is None else policy.choice_weights.tolist()
        plans.append(dict(text=text, options=[[planned(op)] for op in policy.ops], weights=weights,
                          picks=policy.num_layers, **noise(policy.ops[0])))
    for text in AUTO:
        policy = auto_augment.auto_augment_transform(text).policy
        plans.append(dict(text=text, options=[[planned(op) for op in chain] for chain in policy],
                          weights=[], picks=1, **noise(policy[0][0])))
    for text in AUGMIX:
        policy = auto_augment.augment_and_mix_transform(text)
        plans.append(dict(text=text, options=[[planned(op)] for op in policy.ops], weights=[],
                          picks=max(policy.depth, 0), width=policy.width, alpha=policy.alpha,
                          stepwise=policy.blended, **noise(policy.ops[0])))
    return plans


def hparams(image):
    return dict(translate_const=int(0.45 * min(image.size)))


def arguments(name, level, sign, params):
    rule = auto_augment.LEVEL_TO_ARG[name]
    with mock.patch.object(auto_augment, "_randomly_negate", lambda v: sign * v):
        found = rule(level, params) if rule else ()
    # Umbra keeps one bit at least, where timm makes the image black.
    return (1,) if name == "PosterizeIncreasing" and found == (0,) else found


def apply_op(image, name, level, sign, mode):
    fill = FILL if image.mode == "RGB" else FILL[0]
    found = arguments(name, level, sign, hparams(image))
    with mock.patch("random.uniform", lambda low, high: high):  # of GaussianBlurRand
        return auto_augment.NAME_TO_OP[name](image, *found, fillcolor=fill, resample=MODES[mode])


def expected_argument(name, level, sign):
    """What Umbra calls the argument: translations in shares of translate_const."""
    found = arguments(name, level, sign, dict(translate_const=1))
    if name == "GaussianBlurRand":
        return 2.0 * found[0]  # the largest radius
    return float(found[0]) if found else 0.0


def make_ops(images, tensors):
    cases = []
    for name in auto_augment.NAME_TO_OP:
        geometric = name.startswith(("Rotate", "Shear", "Translate"))
        for level in LEVELS:
            two_signs = expected_argument(name, level, 1) != expected_argument(name, level, -1)
            for sign in [1, -1] if two_signs else [1]:
                for mode in MODES if geometric else ["bicubic"]:
                    for i, image in enumerate(images):
                        tensors[f"op_{len(cases)}/{i}"] = to_tensor(
                            apply_op(image, name, level, sign, mode))
                    cases.append(dict(name=name, level=level, sign=sign, mode=mode,
                                      argument=expected_argument(name, level, sign)))
    return cases


def trivial_argument(name, magnitude, sign):
    if name in ("Brightness", "Color", "Contrast", "Sharpness"):
        return 1.0 + sign * magnitude
    if name.startswith("Translate"):
        # Umbra takes 16 pixels where float32 arithmetic gives torchvision 15.999999, and so 15.
        return float(sign * int(magnitude + 1e-5))
    return sign * magnitude


def make_trivial(images, tensors):
    cases = []
    space = TrivialAugmentWide(BINS)._augmentation_space(BINS)
    for name, (magnitudes, signed) in space.items():
        for b in range(BINS):
            magnitude = float(magnitudes[b]) if magnitudes.ndim else 0.0
            for sign in [1, -1] if signed else [1]:
                case = dict(name=name, bin=b, sign=sign,
                            argument=trivial_argument(name, magnitude, sign))
                argument = case["argument"] if name.startswith("Translate") else sign * magnitude
                if b % 5 == 0:
                    for mode in MODES:
                        for i, image in enumerate(images):
                            fill = list(FILL) if image.mode == "RGB" else FILL[0]
                            tensors[f"trivial_{len(cases)}/{mode}/{i}"] = to_tensor(
                                _apply_op(image, name, argument, InterpolationMode(mode), fill))
                cases.append(case)
    return cases


def make_augmix(images, tensors):
    random = np.random.default_rng(17)
    cases = []
    for blended in [False, True]:
        for width in [1, 2, 3, 4]:
            for alpha in [1.0, 0.3]:
                weights = random.dirichlet([alpha] * width)
                blend = random.beta(alpha, alpha)
                chains = [[(str(random.choice(auto_augment._AUGMIX_TRANSFORMS)),
                            float(random.uniform(0, 10))) for _ in range(random.integers(1, 4))]
                          for _ in range(width)]
                for i, image in enumerate(images):
                    ops = [[lambda image, op=op: apply_op(image, *op, 1, "bicubic") for op in chain]
                           for chain in chains]
                    with mock.patch.multiple(
                            np.random, dirichlet=lambda _: weights, beta=lambda *_: blend,
                            choice=mock.Mock(side_effect=ops)):
                        policy = auto_augment.AugMixAugment(None, width=width, depth=1,
                                                            blended=blended)
                        tensors[f"augmix_{len(cases)}/{i}"] = to_tensor(policy(image))
                cases.append(dict(chains=chains, weights=weights.tolist(), blend=blend,
                                  stepwise=blended))
    return cases


def make_policy(out):
    images = [to_pillow(pixels) for pixels in pictures(61, 47, count=1, seed=950)[:3]]
    images.append(to_pillow(photograph(40, 40, seed=951)))
    images.append(to_pillow(photograph(33, 50, seed=952, channels=1)))
    tensors = {f"picture/{i}": to_tensor(image) for i, image in enumerate(images)}
    out.facts["policy"] = dict(plans=make_plans(), ops=make_ops(images, tensors),
                               trivial=make_trivial(images, tensors),
                               augmix=make_augmix(images, tensors))
    out.save("policy", tensors)
