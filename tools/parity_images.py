"""Pictures that the parity data is computed on, and their way into tensors."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def photograph(width, height, seed, channels=3):
    """Something like a photograph: smooth colour, edges, texture and a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    layers = []
    for _ in range(channels):
        smooth = sum(random.uniform(10, 50) * np.sin(random.uniform(2, 12) * x
                                                     + random.uniform(2, 12) * y
                                                     + random.uniform(0, 6)) for _ in range(4))
        edges = 60.0 * ((x * random.uniform(3, 9) + y * random.uniform(-9, 9)) % 1.0 > 0.5)
        texture = 20.0 * np.sin(90.0 * x * y + 70.0 * x)
        layers.append(100.0 + smooth + edges + texture + random.normal(0, 6, x.shape))
    return np.clip(np.stack(layers, -1), 0, 255).astype(np.uint8)


def real_photographs(limit):
    """JPEG files inside the tar files of the folder $UMBRA_TEST_DATA, as bytes; none without it."""
    files = []
    for path in sorted(Path(os.environ.get("UMBRA_TEST_DATA", "/nonexistent")).glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.lower().endswith((".jpg", ".jpeg")) and len(files) < limit:
                    files.append(tar.extractfile(member).read())
    return files


def pictures(width, height, count, channels=3, seed=0):
    """`count` synthetic pictures, then centre crops of as many real photographs as there are."""
    result = [photograph(width, height, seed + i, channels) for i in range(count)]
    for file in real_photographs(limit=10 * count):
        image = Image.open(io.BytesIO(file)).convert("L" if channels == 1 else "RGB")
        pixels = to_pixels(image.resize((max(width, image.width), max(height, image.height))))
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        result.append(np.ascontiguousarray(pixels[top:top + height, left:left + width]))
    return result


def to_pillow(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def to_pixels(image):
    pixels = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def to_tensor(image):
    return torch.from_numpy(to_pixels(image))
