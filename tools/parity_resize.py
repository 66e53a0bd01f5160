"""Parity data of augment/resize: Pillow's Image.resize on parts of pictures."""

import io

import numpy as np
from PIL import Image

from parity_images import photograph, real_photographs, to_pillow, to_pixels, to_tensor

MODES = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

# Size of the picture, box (x, y, width, height) in it, size to resize the box to, channels.
SYNTHETIC = [
    ((400, 380), (0, 0, 400, 380), (224, 224), 3),
    ((400, 380), (31, 17, 301, 278), (224, 224), 3),
    ((260, 300), (64, 5, 97, 131), (224, 224), 3),
    ((260, 300), (200, 240, 60, 60), (224, 224), 3),
    ((131, 97), (0, 0, 131, 97), (64, 63), 3),
    ((37, 53), (0, 0, 37, 53), (225, 223), 3),
    ((500, 333), (0, 0, 500, 333), (32, 5), 3),
    ((64, 64), (0, 0, 64, 64), (63, 65), 3),
    ((64, 48), (3, 2, 50, 40), (50, 71), 3),
    ((64, 48), (3, 2, 50, 40), (23, 40), 3),
    ((90, 60), (89, 0, 1, 60), (7, 19), 3),
    ((90, 60), (5, 59, 80, 1), (31, 9), 3),
    ((9, 9), (8, 8, 1, 1), (5, 3), 3),
    ((120, 80), (0, 0, 120, 80), (1, 1), 3),
    ((1200, 4), (0, 0, 1200, 4), (3, 5), 3),
    ((3, 900), (0, 0, 3, 900), (2, 4), 3),
    ((28, 28), (0, 0, 28, 28), (32, 32), 1),
    ((97, 61), (0, 0, 97, 61), (28, 28), 1),
    ((330, 250), (40, 30, 203, 211), (224, 224), 1),
    ((50, 40), (49, 0, 1, 40), (9, 13), 1),
]


def random_box(random, width, height):
    """Sides of 20 to 100 % of the picture's."""
    w, h = (int(np.ceil(random.uniform(0.2, 1.0) * side)) for side in (width, height))
    return int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1)), w, h


def make_resize(out):
    cases = [(photograph(*size, seed=900 + i, channels=channels), box, target)
             for i, (size, box, target, channels) in enumerate(SYNTHETIC)]
    random = np.random.default_rng(900)
    for i, file in enumerate(real_photographs(limit=20)):
        image = Image.open(io.BytesIO(file)).convert("L" if i % 5 == 4 else "RGB")
        cases.append((to_pixels(image), random_box(random, *image.size), (224, 224)))

    tensors, facts = {}, []
    for i, (pixels, (x, y, width, height), target) in enumerate(cases):
        image = to_pillow(pixels)
        tensors[f"{i}/input"] = to_tensor(image)
        for mode, resample in MODES.items():
            part = image.crop((x, y, x + width, y + height))
            tensors[f"{i}/{mode}"] = to_tensor(part.resize(target, resample))
        facts.append(dict(box=[x, y, width, height], size=target))
    out.save("resize", tensors)
    out.facts["resize"] = facts
