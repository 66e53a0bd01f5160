"""Parity data of augment/image: files that Pillow writes and re-writes, and what it reads in them."""

import io

import numpy as np
import torch
from PIL import Image

from parity_images import photograph, real_photographs, to_tensor

SIZES = [(97, 61), (160, 120), (17, 33)]


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_alpha(image):
    alpha = np.arange(image.width * image.height).reshape(image.height, image.width) % 256
    image = image.copy()
    image.putalpha(Image.fromarray(alpha.astype(np.uint8)))
    return image


def jpegs(image):
    for sampling in (0, 1, 2):
        for progressive in (False, True):
            yield saved(image, "JPEG", quality=80, subsampling=sampling, progressive=progressive)
    for progressive in (False, True):
        yield saved(image.convert("L"), "JPEG", progressive=progressive)
        yield saved(image.convert("CMYK"), "JPEG", progressive=progressive)
    yield saved(image, "JPEG", quality=30, restart_marker_blocks=2)
    yield saved(image, "JPEG", quality=100, keep_rgb=True)


def pngs(image):
    for mode in ("1", "L", "LA", "RGB"):
        yield saved(image.convert(mode), "PNG")
    yield saved(with_alpha(image), "PNG")
    yield saved(image, "PNG", transparency=(1, 2, 3))
    for bits in (1, 2, 4, 8):
        yield saved(image.quantize(1 << bits), "PNG", bits=bits)
        yield saved(image.quantize(1 << bits), "PNG", bits=bits, transparency=0)


def webps(image):
    for form in (image, with_alpha(image)):
        for quality in (10, 80):
            yield saved(form, "WEBP", quality=quality)
        yield saved(form, "WEBP", lossless=True)


def random_box(random, width, height):
    w, h = int(random.integers(1, width + 1)), int(random.integers(1, height + 1))
    return int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1)), w, h


def make_decode(out):
    random = np.random.default_rng(700)
    files = []
    for i, size in enumerate(SIZES):
        image = Image.fromarray(photograph(*size, seed=700 + i))
        for make in (jpegs, pngs, webps):
            files += make(image)
    for file in real_photographs(limit=20):
        files.append(file)
        files.append(saved(Image.open(io.BytesIO(file)).convert("RGB"), "JPEG", progressive=True))

    tensors, facts = {}, []
    for i, file in enumerate(files):
        image = Image.open(io.BytesIO(file)).convert("RGB")
        tensors[f"{i}/file"] = torch.frombuffer(bytearray(file), dtype=torch.uint8)
        tensors[f"{i}/pixels"] = to_tensor(image)
        facts.append(dict(format=Image.open(io.BytesIO(file)).format.replace("WEBP", "WebP"),
                          windows=[random_box(random, *image.size) for _ in range(6)]))
    out.save("decode", tensors)
    out.facts["decode"] = facts

    tensors, qualities = {}, [1, 50, 75, 95, 100]
    for channels in (1, 3):
        pixels = photograph(83, 45, seed=710, channels=channels)
        image = Image.fromarray(pixels.squeeze())
        tensors[f"{channels}/pixels"] = torch.from_numpy(pixels)
        for quality in qualities:
            file = saved(image, "JPEG", quality=quality)
            tensors[f"{channels}/{quality}"] = torch.frombuffer(bytearray(file), dtype=torch.uint8)
    out.save("encode", tensors)
    out.facts["encode"] = qualities
