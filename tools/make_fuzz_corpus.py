#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus/: for each target of tools/fuzz.sh small inputs of every kind
that it reads, and damaged ones. Pillow makes the images, torch the checkpoints; the same versions make the same bytes.

    tools/make_fuzz_corpus.py [folder]     default: tests/fuzz/corpus

Files of other names in the folders (findings of the fuzzer) stay.
"""

import argparse
import io
import json
import re
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
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


def decode():
    random = np.random.default_rng(2021)
    for kind, files in (("jpeg", jpegs()), ("png", pngs()), ("webp", webps())):
        for name, data in files:
            yield f"{kind}_{name}", data
            if len(data) > 1500:
                continue
            for damage, broken in damaged(data, random):
                yield f"{kind}_{name}_{damage}", broken
    for name, data in foreign():
        yield f"foreign_{name}", data


def tar_of(names, form, pax=None):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, bufsize=512) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(name), pax or {}
            archive.addfile(member, io.BytesIO(name.encode()))
    return file.getvalue().rstrip(b"\0") + bytes(1024)


def tar():
    long = "d/" * 60 + "name.jpg"
    for name, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT),
                       ("pax", tarfile.PAX_FORMAT)):
        yield name, tar_of(["a.jpg", "b/c.png"], form)
        yield f"{name}_long", tar_of([long], form)
    plain = tar_of(["a.jpg"], tarfile.USTAR_FORMAT)
    yield "two", plain + plain
    yield "cut", plain[:600]
    yield "pax_size", tar_of(["a.jpg"], tarfile.PAX_FORMAT, pax={"size": "99999999999999999999"})
    yield "pax_sparse", tar_of(["a.jpg"], tarfile.PAX_FORMAT, pax={"GNU.sparse.major": "1"})
    for kind in b"12345LKxgS7":
        yield f"type_{chr(kind)}", with_header(plain, 156, bytes([kind]))
    yield "size_base256", with_header(plain, 124, b"\xff" * 12)
    yield "size_negative", with_header(plain, 124, b"\x80" + b"\xff" * 11)
    yield "size_huge", with_header(plain, 124, b"7" * 11 + b"\0")
    yield "checksum", plain[:148] + b"000000\0 " + plain[156:]
    yield "zeros", bytes(2048)
    yield "empty", b""


def with_header(archive, at, value):
    """Changes a field of the first header, and mends the checksum."""
    header = archive[:at] + value + archive[at + len(value):512]
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    return header[:148] + b"%06o\0 " % total + header[156:] + archive[512:]


def idx():
    labels, images = struct.pack(">II", 0x801, 3), struct.pack(">IIII", 0x803, 2, 3, 2)
    yield "labels", labels + bytes(3)
    yield "images", images + bytes(12)
    yield "cut", images + bytes(11)
    yield "long", labels + bytes(4)
    yield "none", struct.pack(">II", 0x801, 0)
    yield "overflow", struct.pack(">IIII", 0x803, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(9)
    yield "floats", struct.pack(">II", 0xD01, 1) + bytes(4)
    yield "header", images[:7]
    yield "empty", b""


def cifar():
    yield "cifar10", bytes([3]) + bytes(3072)
    yield "cifar10_label", bytes([10]) + bytes(3072)
    yield "cifar100", bytes([19, 99]) + bytes(3072)
    yield "cifar100_label", bytes([19, 100]) + bytes(3072)
    yield "cut", bytes(3000)
    yield "empty", b""


def stl10():
    """The first byte is the number of labels, which come before the images."""
    image = bytes(3 * 96 * 96)
    yield "one", bytes([1, 10]) + image
    yield "two", bytes([2, 1, 2]) + 2 * image
    yield "label_0", bytes([1, 0]) + image
    yield "label_11", bytes([1, 11]) + image
    yield "counts", bytes([2, 1, 2]) + image
    yield "cut", bytes([1, 1]) + image[:-1]
    yield "empty", b""


def policy():
    """The string, then the lines of a custom policy."""
    texts = ("rand-m9-mstd0.5-inc1", "rand-m9-n3-p0.7-mmax12-t3a", "rand-m5-w0-mstdinf", "original",
             "originalr", "v0", "v0r-mstd0.5", "3a", "augmix-m5-w4-d2-a0.5-b1-mstd1", "ta_wide",
             "rand", "rand-", "rand-m", "rand-m99999999999999999999", "rand-mnan", "rand-n-1",
             "rand-n99999", "augmix-w0", "augmix-w1000000", "-", "")
    for i, text in enumerate(texts):
        yield f"text_{i}", text.encode()
    lines = ("Posterize 0.4 8 + Rotate 0.6 9", "Posterize", "Rotate 2 9", "Nothing 0.5 5", "+", "",
             "Rotate 0.5 5 5", "Rotate 0.5 1e400", "Solarize 0.5 nan\nColor 0.1 1")
    for i, line in enumerate(lines):
        yield f"custom_{i}", b"custom\n" + line.encode()


def checkpoint(value, zipped, protocol=2):
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    if zipped:
        return file.getvalue()
    # Legacy files name storages by their addresses, which differ from run to run.
    names = {}
    return re.sub(rb"\d{12,}",
                  lambda found: names.setdefault(found[0], b"%0*d" % (len(found[0]), len(names))),
                  file.getvalue())


def legacy(pickle, keys=b"].", data=b""):
    """A legacy file with a handwritten pickle."""
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    return magic + b"\x80\x02M\xe9\x03.\x80\x02}." + pickle + b"." + keys + data


def pth():
    base = torch.arange(12.).reshape(3, 4)
    plain = {"a": torch.ones(2), "b": torch.arange(3)}
    views = {"whole": base, "turned": base.t(), "part": base[1:, ::2], "half": base.half(),
             "repeated": torch.ones(1).expand(5), "truth": torch.tensor([True, False]),
             "parameter": torch.nn.Parameter(torch.ones(1))}
    training = {"model": plain, "args": argparse.Namespace(lr=0.1), "best": np.float64(1.5),
                "list": [1, -1, 1 << 70, None, True, 2.5, (1, 2, 3, 4), {1}, b"\xff"]}
    torch.serialization.set_crc32_options(False)  # so that changed archives get past the checksum
    for name, value in (("plain", plain), ("views", views), ("training", training)):
        for protocol in (1, 2, 4):
            yield f"legacy_{name}_{protocol}", checkpoint(value, False, protocol)
            yield f"zip_{name}_{protocol}", checkpoint(value, True, protocol)
    yield "uint16", checkpoint({"a": torch.ones(2).to(torch.uint16)}, True)
    for name, value in (("sparse", torch.ones(1).to_sparse()), ("list", [1]), ("number", 1)):
        yield name, checkpoint(value if name != "sparse" else {"a": value}, True)
    torch.serialization.set_crc32_options(True)
    yield "checksums", checkpoint(plain, True)
    for name, pickle in (("cycle", b"]q\1h\1a"), ("self", b"}q\1X\5\0\0\0modelh\1s"),
                         ("system", b"cposix\nsystem\n(X\4\0\0\0truetR"), ("deep", b"]" * 300),
                         ("instance", b"(Va\nios\nsystem\n"), ("object", b"(cos\nsystem\nNo"),
                         ("text", b"(S'a\\x41'\nV\\u00e9\nI01\nL5L\nF1e3\nl"),
                         ("python2", b"ccollections\nOrderedDict\n((l(lS'a'\naI1\naatR"),
                         ("memo", b"Np0\ng0\nr\1\0\0\0j\1\0\0\0\x94")):
        yield f"pickle_{name}", legacy(pickle)
    part = (b"}X\1\0\0\0actorch._utils\n_rebuild_tensor\n((X\7\0\0\0storagectorch\nFloatStorage\n"
            b"X\1\0\0\x000X\3\0\0\0cpuK\4(X\1\0\0\x001K\1K\2ttQK\0(K\2t(K\1ttRs")
    yield "storage_view", legacy(part, b"](X\1\0\0\x000e.", struct.pack("<q4f", 4, 0, 1, 2, 3))
    yield "tar", tar_of(["storages", "tensors", "pickle"], tarfile.PAX_FORMAT)
    yield "empty", b""


def safetensors():
    def file(header, data=b""):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    def entry(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    yield "one", file({"a": entry("F32", [2], 0, 8)}, bytes(8))
    kinds = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "C64", "F8_E4M3")
    yield "kinds", file({kind: entry(kind, [0, 3], 0, 0) for kind in kinds})
    yield "two", file({"__metadata__": {"format": "pt"}, "a": entry("U8", [1, 2], 0, 2),
                       "b": entry("BOOL", [], 2, 3)}, b"\1\2\3")
    yield "overlap", file({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, bytes(3))
    yield "overflow", file({"a": entry("F32", [1 << 62, 1 << 62], 0, 8)}, bytes(8))
    yield "float_size", file({"a": entry("U8", [1.5], 0, 1)}, bytes(1))
    yield "twice", file(b'{"a":{},"a":{}}')
    yield "deep", file(b'{"a":' + 500 * b"[")
    yield "list", file([1])
    yield "length", struct.pack("<Q", 1 << 63) + b"{}"
    yield "empty", b""


TARGETS = (decode, tar, idx, cifar, stl10, policy, pth, safetensors)


def main():
    default = Path(__file__).resolve().parent.parent / "tests/fuzz/corpus"
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for target in TARGETS:
        folder = root / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in target():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
