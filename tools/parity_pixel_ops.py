"""Parity data of augment/pixel_ops and augment/affine: what Pillow, timm and torchvision make of
pictures. torchvision's adjust_hue and gaussian_blur are taken as they act on Pillow images."""

import numpy as np
import timm.data.auto_augment as timm_ops
import torchvision.transforms.functional as F
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from parity_images import photograph, pictures, to_pillow, to_tensor

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def grayscale(image):
    return image.convert("L").convert(image.mode)


def flipped(image):
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


PIXEL_OPS = {
    "auto_contrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "posterize": timm_ops.posterize,
    "solarize": ImageOps.solarize,
    "solarize_add": timm_ops.solarize_add,
    "adjust_color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "adjust_contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "adjust_brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "adjust_sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "adjust_hue": F.adjust_hue,
    "grayscale": grayscale,
    "gaussian_blur": lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius)),
    "gaussian_filter": lambda image, size, sigma: F.gaussian_blur(image, [size] * 2, [sigma] * 2),
    "blend": lambda image, alpha: Image.blend(image, flipped(image), alpha),
}


def transform(image, matrix, **options):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, **options)


AFFINE_OPS = {
    "rotate": timm_ops.rotate,
    "shear_x": timm_ops.shear_x,
    "shear_y": timm_ops.shear_y,
    "translate_x": timm_ops.translate_x_abs,
    "translate_y": timm_ops.translate_y_abs,
    "affine": lambda image, *matrix, **options: transform(image, matrix, **options),
}


def pixel_arguments(random, width, height):
    """Arguments of every pixel operation: those of the policies' ends, corners, and random ones."""
    def uniform(low, high, count=3):
        return [(float(u),) for u in random.uniform(low, high, count)]

    def integers(low, high, count=3):
        return [(int(i),) for i in random.integers(low, high, count)]

    factors = [(0.0,), (0.1,), (1.0,), (1.9,), *uniform(0.0, 2.0), *uniform(-3.0, 5.0, 2)]
    sizes = [size for size in (1, 3, 5, 9, 23) if size // 2 < min(width, height)]
    return {
        "auto_contrast": [()],
        "equalize": [()],
        "invert": [()],
        "grayscale": [()],
        "posterize": [(bits,) for bits in range(1, 10)],
        "solarize": [(0,), (26,), (128,), (256,), *integers(1, 255)],
        "solarize_add": [(99, 128), (110, 128), (-20, 200),
                         *((*a, *t) for a, t in zip(integers(0, 111), integers(0, 257)))],
        "adjust_color": factors,
        "adjust_contrast": factors,
        "adjust_brightness": factors,
        "adjust_sharpness": factors,
        "blend": factors,
        "adjust_hue": [(0.0,), (0.5,), (-0.5,), *uniform(-0.5, 0.5)],
        "gaussian_blur": [(0.0,), (0.1,), (1.0,), (2.0,), *uniform(0.1, 2.0),
                          *uniform(2.0, 50.0, 1)],
        "gaussian_filter": [(size, *sigma) for size in sizes for sigma in uniform(0.1, 2.0, 1)],
    }


def affine_arguments(random, width, height):
    def uniform(limit, count=3):
        return [(float(u),) for u in random.uniform(-limit, limit, count)]

    def shifts(side):
        return [(0.45 * side,), (-0.405 * side,), (1,), (0.5,), (-side,), (1e-17,), *uniform(side)]

    def matrix():
        """Somewhere near the identity."""
        a, b, c, d, e, f = random.uniform(-1, 1, 6).tolist()
        return 1 + a, b, 9 * c, d, 1 + e, 9 * f

    shears = [(0.3,), (-0.27,), (0.0,), *uniform(0.3), *uniform(2.0, 1)]
    return {
        "rotate": [(0.0,), (27.0,), (-30.0,), (45.0,), (90.0,), (180.0,), (-90.0,), (450.0,),
                   (-1e-20,), (1e-3,), *uniform(30.0), *uniform(400.0, 1)],
        "shear_x": shears,
        "shear_y": shears,
        "translate_x": shifts(width),
        "translate_y": shifts(height),
        "affine": [(0.5, 0, 0, 0, 0.5, 0), (0, 1, 0, 1, 0, 0), (-1, 0, width, 0, -1, height),
                   matrix(), matrix()],
    }


def all_pictures():
    """RGB and grey ones of an odd size, and some of a few pixels or square."""
    many = pictures(61, 47, count=6, seed=700)[:14] + pictures(61, 47, 2, channels=1, seed=720)[:5]
    sizes = [(1, 1), (1, 9), (7, 1), (2, 2), (3, 3), (32, 32)]
    small = [photograph(*size, seed=740, channels=c) for size in sizes for c in (1, 3)]
    flat = np.full((5, 8, 3), (0, 128, 255), np.uint8)
    black_and_white = (photograph(24, 17, seed=760) > 110) * np.uint8(255)
    return many + small + [flat, black_and_white]


def run(op, image, arguments, interpolation, fill):
    if op in PIXEL_OPS:
        return PIXEL_OPS[op](image, *arguments)
    fillcolor = fill[0] if image.mode == "L" else tuple(fill)
    return AFFINE_OPS[op](image, *arguments, resample=INTERPOLATIONS[interpolation],
                          fillcolor=fillcolor)


def make_pixel_ops(out):
    tensors, cases = {}, []
    random = np.random.default_rng(700)
    for k, pixels in enumerate(all_pictures()):
        image = to_pillow(pixels)
        tensors[f"input_{k}"] = to_tensor(image)
        calls = {**pixel_arguments(random, *image.size), **affine_arguments(random, *image.size)}
        for op, lists in calls.items():
            for arguments in lists:
                interpolation = str(random.choice(list(INTERPOLATIONS)))
                fill = random.integers(0, 256, 3).tolist()
                result = run(op, image, arguments, interpolation, fill)
                tensors[f"case_{len(cases)}"] = to_tensor(result)
                cases.append(dict(op=op, input=k, arguments=list(arguments),
                                  interpolation=interpolation, fill=fill))
    out.save("pixel_ops", tensors)
    out.facts["pixel_ops"] = cases
