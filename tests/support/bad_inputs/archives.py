"""Archives of images: damage, paths outside, links, and other formats."""

import gzip
import io
import tarfile
import zipfile

from support.bad_inputs.builders import (
    GOOD,
    HERE,
    MINE,
    ON_TAR,
    ON_ZIP,
    PICTURES,
    PIXELS,
    TAR,
    ZIP,
    Bad,
    half,
    picture,
    tarred,
    zipped,
)


def packed(compression: int) -> bytes:
    """A zip archive by another method."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in PICTURES.items():
            archive.writestr(name, content)
    return file.getvalue()


ARCHIVES = [
    Bad("zip with a path outside", f"{PIXELS} data.path=data/raw/t.zip", "../evil.png", "do not trust it", {"data/raw/t.zip": zipped(PICTURES | {"../evil.png": picture()})}),
    Bad("zip with an absolute path", f"{PIXELS} data.path=data/raw/t.zip", "/etc/evil.png", "do not trust it", {"data/raw/t.zip": zipped(PICTURES | {"/etc/evil.png": picture()})}),
    Bad("encrypted zip", f"{PIXELS} data.path=data/raw/t.zip", "bees/8.png) encrypted", "unpack it", {"data/raw/t.zip": zipped(flag_bits=1)}),
    Bad("zip that claims to be huge", f"{PIXELS} data.path=data/raw/t.zip", "t.zip", "unpack it", {"data/raw/t.zip": zipped(file_size=1 << 50)}),
    Bad("zip cut off", f"{PIXELS} data.path=data/raw/t.zip", "t.zip", "get it again", {"data/raw/t.zip": half(zipped())}),
    Bad("tar with a path outside", f"{PIXELS} data.path=data/raw/t.tar", "../evil.png", "do not trust it", {"data/raw/t.tar": tarred(name="../evil.png")}),
    Bad("tar with a link", f"{PIXELS} data.path=data/raw/t.tar", "ants/more.png) links", "pack it again", {"data/raw/t.tar": tarred(type=tarfile.SYMTYPE, linkname="/etc/passwd")}),
    Bad("tar with a device", f"{PIXELS} data.path=data/raw/t.tar", "ants/more.png) links or devices", "pack it again", {"data/raw/t.tar": tarred(type=tarfile.FIFOTYPE)}),
    Bad("tar.gz cut off", f"{PIXELS} data.path=data/raw/t.tar.gz", "t.tar.gz", "get it again", {"data/raw/t.tar.gz": half(tarred("gz"))}),
    Bad("text called zip", f"{PIXELS} data.path=data/raw/t.zip", "t.zip", "get it again", {"data/raw/t.zip": b"hello"}),
    Bad("archive at a url that does not answer", f"{PIXELS} data.path=http://127.0.0.1:9/t.zip", "127.0.0.1:9/t.zip", "network"),
    Bad("empty file called zip", ON_ZIP, "t.zip does not unpack", "get it again", {ZIP: b""}),
    Bad("zip of nothing", ON_ZIP, "t.zip has no images to train on", "expected <class>/<image>", {ZIP: zipped({})}),
    Bad("tar of nothing", ON_TAR, "t.tar has no images to train on", "expected <class>/<image>", {TAR: bytes(10240)}),
    Bad("zip of its start alone", ON_ZIP, "t.zip does not unpack", "get it again", {ZIP: b"PK\x03\x04"}),
    Bad("zip with wrong bytes in an image", ON_ZIP, "t.zip does not unpack", "get it again", {ZIP: zipped().replace(picture(8), picture(8)[:-20] + bytes(20), 1)}),
    Bad("zip with a path of Windows", ON_ZIP, "C:/evil.png", "do not trust it", {ZIP: zipped(PICTURES | {"C:\\evil.png": picture()})}),
    Bad("zip with backslashes that lead outside", ON_ZIP, "../evil.png", "do not trust it", {ZIP: zipped(PICTURES | {"..\\evil.png": picture()})}),
    Bad("zip by bzip2", ON_ZIP, "compressed by other than deflate", "unpack it", {ZIP: packed(zipfile.ZIP_BZIP2)}),
    Bad("zip by lzma", ON_ZIP, "compressed by other than deflate", "unpack it", {ZIP: packed(zipfile.ZIP_LZMA)}),
    Bad("zip of a zip", ON_ZIP, "(images.zip) without the ending of an image", "remove them", {ZIP: zipped({"images.zip": zipped()})}),
    Bad("zip of texts", ON_ZIP, "without the ending of an image", "remove them", {ZIP: zipped({"a/1.txt": b"x", "b/1.txt": b"y"})}),
    Bad("zip of one class", ON_ZIP, "single class 'ants'", "at least two", {ZIP: zipped({n: c for n, c in PICTURES.items() if "ants" in n})}),
    Bad("zip with an image cut off", ON_ZIP, "ants/x.png: damaged", "repair or remove", {ZIP: zipped(PICTURES | {"ants/x.png": picture()[:48]})}),
    Bad("zip of another digest", f"{ON_ZIP} +data.sha256=00", "expected 00", "get the right one", {ZIP: zipped()}),
    Bad("zip that unpacks to more than is allowed", ON_ZIP, "t.zip unpacks to more than", "unpack it and give the folder", {ZIP: zipped(file_size=3 << 30)}),
    Bad("tar with an absolute path", ON_TAR, "/evil.png", "do not trust it", {TAR: tarred(name="/evil.png")}),
    Bad("tar with a hard link to nothing", ON_TAR, "t.tar does not unpack", "get it again", {TAR: tarred(type=tarfile.LNKTYPE, linkname="nowhere")}),
    Bad("tar with a hard link to itself", ON_TAR, "t.tar does not unpack", "get it again", {TAR: tarred(type=tarfile.LNKTYPE, linkname="ants/more.png")}),
    Bad("tar with a link to another member", ON_TAR, "ants/more.png) links or devices", "pack it again", {TAR: tarred(type=tarfile.SYMTYPE, linkname="1.png")}),
    Bad("tar with a disk", ON_TAR, "ants/more.png) links or devices", "pack it again", {TAR: tarred(type=tarfile.BLKTYPE)}),
    Bad("tar with a terminal", ON_TAR, "ants/more.png) links or devices", "pack it again", {TAR: tarred(type=tarfile.CHRTYPE)}),
    Bad("tar with a damaged header", ON_TAR, "t.tar does not unpack", "get it again", {TAR: tarred()[:1024] + bytes([255]) * 512 + tarred()[1536:]}),
    Bad("tar without its end", ON_TAR, "t.tar does not unpack as a zip or tar archive: it is damaged", "get it again", {TAR: tarred()[: 18 * 1024]}),
    Bad("tar.bz2 cut off", f"{ON_TAR}.bz2", "t.tar.bz2 does not unpack", "get it again", {f"{TAR}.bz2": half(tarred("bz2"))}),
    Bad("tar.xz cut off", f"{ON_TAR}.xz", "t.tar.xz does not unpack", "get it again", {f"{TAR}.xz": half(tarred("xz"))}),
    Bad("tar.gz with wrong bytes", f"{ON_TAR}.gz", "t.tar.gz does not unpack", "get it again", {f"{TAR}.gz": tarred("gz")[:60] + bytes(20) + tarred("gz")[80:]}),
    Bad("gzip of a text", f"{ON_TAR}.gz", "t.tar.gz does not unpack", "get it again", {f"{TAR}.gz": gzip.compress(b"hello")}),
    Bad("zstandard archive", f"{ON_TAR}.zst", "t.tar.zst does not unpack", "give the folder", {f"{TAR}.zst": b"\x28\xb5\x2f\xfd" + bytes(60)}),
    Bad("seven-zip archive", f"{PIXELS} data.path=data/raw/t.7z", "t.7z does not unpack", "give the folder", {"data/raw/t.7z": b"7z\xbc\xaf\x27\x1c" + bytes(60)}),
    Bad("rar archive", f"{PIXELS} data.path=data/raw/t.rar", "t.rar does not unpack", "give the folder", {"data/raw/t.rar": b"Rar!\x1a\x07\x01\0" + bytes(60)}),
    Bad("table as a folder of images", f"{PIXELS} data.path={MINE}", "mine.csv does not unpack", "give the folder", {MINE: GOOD}),
    Bad("archive as a table", f"{HERE} data.train={ZIP}", "unknown format '.zip'", "known: .csv", {ZIP: zipped()}),
]  # fmt: skip
