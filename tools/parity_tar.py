"""Tar archives by Python's tarfile, and where it finds their members."""

import io
import tarfile

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}

NAMES = [
    "a.jpg",
    "class/b.jpg",
    "./class//c.jpg",
    "gr\u00fc\u00dfe/\u65e5\u672c\u8a9e.png",
    "n" * 100,
    "p" * 155 + "/" + "n" * 100,  # the longest that ustar can hold
    "p/" * 70 + "q.jpg",
]
LONG_NAMES = [  # beyond ustar
    "n" * 101,
    "p" * 156 + "/" + "n" * 99,
    "deep/" * 200 + "\u00e9" * 90 + ".jpg",
    "line\nend and = sign " + "x" * 100,
]
SIZES = [0, 1, 511, 512, 513, 5000]


def add(tar, name, size, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(bytes(size)))


def fill(tar, long_names):
    for i, name in enumerate(NAMES + (LONG_NAMES if long_names else [])):
        add(tar, name, SIZES[i % len(SIZES)], mtime=1_600_000_000 + i)
        add(tar, f"folder {i}", 0, tarfile.DIRTYPE)
        add(tar, f"link {i}", 0, tarfile.SYMTYPE, linkname=name[:100])
        add(tar, f"hard link {i}", 0, tarfile.LNKTYPE, linkname="a.jpg")
    if long_names:
        add(tar, "link/" * 40, 0, tarfile.SYMTYPE, linkname="target/" * 40)
        add(tar, "owner.jpg", 7, uid=1 << 40, gid=1 << 40, uname="\u00fcser", mtime=1e12 + 0.5)


def members_of(path):
    """[name, offset, size] of the regular files; archives that follow each other are one."""
    with tarfile.open(path, ignore_zeros=True) as tar:
        return [[m.name, m.offset_data, m.size] for m in tar if m.isreg()]


def make_tar(out):
    paths = []
    for name, form in FORMATS.items():
        paths.append(out.folder / f"{name}.tar")
        with tarfile.open(paths[-1], "w", format=form) as tar:
            fill(tar, long_names=name != "ustar")
    paths.append(out.folder / "global.tar")
    with tarfile.open(paths[-1], "w", pax_headers={"comment": "for all"}) as tar:
        fill(tar, long_names=True)
    paths.append(out.folder / "joined.tar")
    paths[-1].write_bytes(b"".join(path.read_bytes() for path in paths[:3]))
    paths.append(out.folder / "packed.tar.gz")
    with tarfile.open(paths[-1], "w:gz") as tar:
        fill(tar, long_names=True)
    out.facts["tar"] = {path.name: members_of(path) for path in paths}
