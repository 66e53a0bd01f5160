#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus/decode/: small image files of every kind that
augment/image reads, and damaged ones. Pillow makes them; the same version makes the same bytes.

    tools/make_fuzz_corpus.py [folder]     default: tests/fuzz/corpus/decode

Files of other names in the folder (findings of the fuzzer) stay.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from parity_images import photograph

WIDTH, HEIGHT = 37, 29


def picture(mode="RGB", width=WIDTH, height=HEIGHT):
    image = Image.fromarray(photograph(width, height, seed=7))
    if mode.endswith("A"):
        alpha = np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)
        image.putalpha(Image.fromarray(alpha))
    return image.convert(mode)


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def set_sampling(jpeg, sampling):
    """Changes the sampling factors of the first component, in whatever SOF there is."""
    at = next(i for i in range(len(jpeg)) if jpeg[i] == 0xFF and jpeg[i + 1] in (0xC0, 0xC2))
    return jpeg[:at + 11] + bytes([sampling]) + jpeg[at + 12:]


def jpegs():
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield name, saved(picture(), "JPEG", quality=60, subsampling=sampling)
        yield f"{name}_progressive", saved(picture(), "JPEG", quality=60, subsampling=sampling,
                                           progressive=True)
    yield "grey", saved(picture("L"), "JPEG")
    yield "grey_progressive", saved(picture("L"), "JPEG", progressive=True)
    yield "cmyk", saved(picture("CMYK"), "JPEG", quality=60)
    yield "restart", saved(picture(), "JPEG", quality=60, restart_marker_blocks=1)
    yield "larger", saved(picture(width=200, height=150), "JPEG", quality=10)
    yield "one_pixel", saved(picture(width=1, height=1), "JPEG")
    plain = saved(picture(), "JPEG", quality=60, subsampling=0)
    for sampling in (0x12, 0x14, 0x41, 0x42, 0x24, 0x44, 0x31):  # the data then do not fit
        yield f"sampling_{sampling:02x}", set_sampling(plain, sampling)
    progressive = saved(picture(), "JPEG", quality=60, progressive=True)
    scan = progressive.rfind(b"\xff\xda")
    yield "without_last_scan", progressive[:scan] + b"\xff\xd9"
    yield "many_scans", progressive[:-2] + 600 * progressive[scan:-2][:14] + b"\xff\xd9"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width, height, bits, colour, interlaced=0, extra=b"", data=None):
    """Zeros, where no rows are given, in a PNG of any kind."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if data is None:
        data = bytes((1 + (width * bits * channels + 7) // 8) * height * 2)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra
            + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def pngs():
    for mode in ("1", "L", "LA", "RGB", "RGBA"):
        yield mode.lower(), saved(picture(mode), "PNG", optimize=True)
    for bits in (1, 2, 4, 8):
        yield f"palette_{bits}", saved(picture().quantize(1 << bits), "PNG", bits=bits,
                                       transparency=0)
    for colour in (0, 2, 4, 6):
        yield f"16_bits_{colour}", raw_png(9, 7, 16, colour)
        yield f"interlaced_{colour}", raw_png(9, 7, 8, colour, interlaced=1)
    palette = chunk(b"PLTE", bytes(range(6)))
    yield "short_palette", raw_png(5, 2, 8, 3, extra=palette, data=bytes(range(12)))
    yield "huge", raw_png(60000, 60000, 8, 2, data=b"")


def webps():
    for mode in ("RGB", "RGBA"):
        yield f"{mode.lower()}_lossy", saved(picture(mode), "WEBP", quality=40)
        yield f"{mode.lower()}_lossless", saved(picture(mode), "WEBP", lossless=True)
    yield "exif", saved(picture(), "WEBP", quality=40, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    yield "animated", saved(picture(), "WEBP", quality=5, save_all=True,
                            append_images=[picture().rotate(180)])


def foreign():
    yield "empty", b""
    yield "text", b"<!DOCTYPE html><html><body>404</body></html>\n"
    for form in ("GIF", "BMP", "TIFF", "PPM"):
        yield form.lower(), saved(picture(width=3, height=2), form)
    for name, magic in (("jpeg", b"\xff\xd8\xff"), ("png", b"\x89PNG\r\n\x1a\n"),
                        ("webp", b"RIFF\x04\0\0\0WEBP")):
        yield f"only_{name}_magic", magic


def damaged(data, random):
    yield "cut", data[:int(random.integers(len(data) // 4, len(data)))]
    for i in range(2):
        changed = np.frombuffer(data, np.uint8).copy()
        places = random.integers(len(data) // 8, len(data), size=4)
        changed[places] = random.integers(0, 256, size=4)
        yield f"changed_{i}", changed.tobytes()


def main():
    default = Path(__file__).resolve().parent.parent / "tests/fuzz/corpus/decode"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2021)
    for kind, files in (("jpeg", jpegs()), ("png", pngs()), ("webp", webps())):
        for name, data in files:
            (folder / f"{kind}_{name}").write_bytes(data)
            if len(data) > 1500:
                continue
            for damage, broken in damaged(data, random):
                (folder / f"{kind}_{name}_{damage}").write_bytes(broken)
    for name, data in foreign():
        (folder / f"foreign_{name}").write_bytes(data)


if __name__ == "__main__":
    main()
