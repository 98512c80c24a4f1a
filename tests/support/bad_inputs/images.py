"""Images: files, folders and columns of them."""

import io
import struct
import zlib

import PIL.Image
import pyarrow as pa

from support.bad_inputs.builders import (
    HERE,
    MINE,
    ON_PARQUET,
    PARQUET,
    PICTURE,
    PICTURES,
    PIXELS,
    Bad,
    arrow,
    edited,
    folder,
    half,
    picture,
    table,
)


def bomb(width: int = 10**5, height: int | None = None) -> bytes:
    """A PNG whose header claims another size: 100,000 pixels a side."""
    size = (width, width if height is None else height)
    head = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    return picture()[:12] + head + struct.pack(">I", zlib.crc32(head)) + picture()[33:]


def chunked(kind: bytes, data: bytes) -> bytes:
    """A PNG with another chunk."""
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return picture()[:33] + chunk + picture()[33:]


def scans(count: int) -> bytes:
    """A progressive JPEG whose first scan is there many times."""
    content = picture(90, "JPEG", progressive=True)
    first = content.index(b"\xff\xda")
    second = content.index(b"\xff\xda", first + 2)
    return content[:second] + content[first:second] * count + content[second:]


def moving(form: str) -> bytes:
    """An image of two frames."""
    return picture(0, form, save_all=True, append_images=[PIL.Image.new("RGB", (9, 9), "red")])


def floats(value: float) -> bytes:
    """A TIFF of numbers with a fraction."""
    file = io.BytesIO()
    PIL.Image.new("F", (9, 9), value).save(file, "TIFF")
    return file.getvalue()


IMAGES = [
    Bad("image cut off", PIXELS, "ants/x.png: damaged", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": picture()[:48]}),
    Bad("text called png", PIXELS, "ants/x.png: not an image", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": b"hello"}),
    Bad("empty image file", PIXELS, "ants/x.png", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": b""}),
    Bad("image that claims to be huge", PIXELS, "ants/x.png: more than 64000000 pixels", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": bomb()}),
    Bad("moving image", PIXELS, "ants/x.gif: several frames", "repair or remove", folder() | {"data/raw/pictures/ants/x.gif": picture(0, "GIF", save_all=True, append_images=[PIL.Image.new("RGB", (9, 9), "red")])}),
    Bad("the same image in two splits", PIXELS, "inputs of train are also in test", "remove one copy", {f"data/raw/pictures/{s}/{n}": c for s in ("train", "test") for n, c in PICTURES.items()}),
    Bad("empty folder", PIXELS, "data/raw/pictures has no images", "<class>/<image>", {"data/raw/pictures/": b""}),
    Bad("no folder", PIXELS, "data/raw/pictures", "put it there"),
    Bad("no class folders", PIXELS, "in no class folder", "move each", folder({n.replace("/", "_"): c for n, c in PICTURES.items()})),
    Bad("one class folder", PIXELS, "single class 'ants'", "at least two", folder({n: c for n, c in PICTURES.items() if n.startswith("ants")})),
    Bad("another file among images", PIXELS, "ants/notes.txt", "remove them", folder() | {"data/raw/pictures/ants/notes.txt": b"hello"}),
    Bad("image beside the splits", PIXELS, "wasps/1.png", "move them", folder({f"train/{n}": c for n, c in PICTURES.items()}) | {"data/raw/pictures/wasps/1.png": picture()}),
    Bad("no size", PIXELS, "conf/data/pictures.yaml lacks the key 'size'", "add it", folder() | {"conf/data/pictures.yaml": edited("size: 8\n", "")}),
    Bad("size of nothing", f"{PIXELS} data.size=0", "size is 0", "above 0", folder()),
    Bad("digest of a folder", f"{PIXELS} +data.sha256=00", "sha256:", "give the archive", folder()),
    Bad("images to a network of texts", PIXELS.replace("prepare", "pretrain_load"), "teacher tiny is for text", "choose another", folder()),
    Bad("jpeg cut off", PIXELS, "ants/x.jpg: damaged", "repair or remove", folder() | {"data/raw/pictures/ants/x.jpg": picture(0, "JPEG")[:300]}),
    Bad("gif cut off", PIXELS, "ants/x.gif: ", "repair or remove", folder() | {"data/raw/pictures/ants/x.gif": picture(0, "GIF")[:12]}),
    Bad("webp cut off", PIXELS, "ants/x.webp: ", "repair or remove", folder() | {"data/raw/pictures/ants/x.webp": half(picture(0, "WEBP"))}),
    Bad("bmp cut off", PIXELS, "ants/x.bmp: damaged", "repair or remove", folder() | {"data/raw/pictures/ants/x.bmp": half(picture(0, "BMP"))}),
    Bad("tiff cut off", PIXELS, "ants/x.tif: ", "repair or remove", folder() | {"data/raw/pictures/ants/x.tif": half(picture(0, "TIFF"))}),
    Bad("ppm cut off", PIXELS, "ants/x.ppm: damaged", "repair or remove", folder() | {"data/raw/pictures/ants/x.ppm": half(picture(0, "PPM"))}),
    Bad("png without a pixel", PIXELS, "ants/x.png: ", "repair or remove", folder() | {PICTURE: bomb(0)}),
    Bad("png of a row without end", PIXELS, "ants/x.png: a side of more than 65535 pixels", "repair or remove", folder() | {PICTURE: bomb(65536, 1)}),
    Bad("png with a text that unpacks to gigabytes", PIXELS, "ants/x.png: damaged", "repair or remove", folder() | {PICTURE: chunked(b"zTXt", b"a\0\0" + zlib.compress(bytes(70 << 20)))}),
    Bad("png with a colour profile that unpacks to gigabytes", PIXELS, "ants/x.png: damaged", "repair or remove", folder() | {PICTURE: chunked(b"iCCP", b"a\0\0" + zlib.compress(bytes(70 << 20)))}),
    Bad("png with a wrong checksum", PIXELS, "ants/x.png: ", "repair or remove", folder() | {PICTURE: picture()[:29] + b"\0\0\0\0" + picture()[33:]}),
    Bad("jpeg of very many scans", PIXELS, "ants/x.jpg: more than 100 scans", "repair or remove", folder() | {"data/raw/pictures/ants/x.jpg": scans(200)}),
    Bad("moving webp", PIXELS, "ants/x.webp: several frames", "repair or remove", folder() | {"data/raw/pictures/ants/x.webp": moving("WEBP")}),
    Bad("moving png", PIXELS, "ants/x.png: several frames", "repair or remove", folder() | {PICTURE: moving("PNG")}),
    Bad("tiff of several pages", PIXELS, "ants/x.tif: several frames or pages", "repair or remove", folder() | {"data/raw/pictures/ants/x.tif": moving("TIFF")}),
    Bad("numbers above one as grey", PIXELS, "ants/x.tif: pixels from", "repair or remove", folder() | {"data/raw/pictures/ants/x.tif": floats(300.0)}),
    Bad("numbers below zero as grey", PIXELS, "ants/x.tif: pixels from -1.0", "repair or remove", folder() | {"data/raw/pictures/ants/x.tif": floats(-1.0)}),
    Bad("nan as grey", PIXELS, "ants/x.tif: pixels from nan", "repair or remove", folder() | {"data/raw/pictures/ants/x.tif": floats(float("nan"))}),
    Bad("svg called png", PIXELS, "ants/x.png: not an image in a format", "repair or remove", folder() | {PICTURE: "<svg xmlns='http://www.w3.org/2000/svg'/>"}),
    Bad("pdf called jpg", PIXELS, "ants/x.jpg: not an image in a format", "repair or remove", folder() | {"data/raw/pictures/ants/x.jpg": b"%PDF-1.7\n"}),
    Bad("photo of a phone called jpg", PIXELS, "ants/x.jpg: not an image in a format", "repair or remove", folder() | {"data/raw/pictures/ants/x.jpg": b"\0\0\0\x18ftypheic" + bytes(40)}),
    Bad("icon called png", PIXELS, "ants/x.png: not an image in a format", "repair or remove", folder() | {PICTURE: picture(0, "ICO")}),
    Bad("many images cut off", PIXELS, "train has 9 images that cannot be used", "; ...)", folder({n: c[:48] if "ants" in n else c for n, c in PICTURES.items()})),
    Bad("all images equal", PIXELS, "cannot be split off train (1 different inputs", "add rows", folder(dict.fromkeys(PICTURES, picture()))),
    Bad("heic among images", PIXELS, "ants/x.heic", "without the ending of an image", folder() | {"data/raw/pictures/ants/x.heic": b"x"}),
    Bad("image without an ending", PIXELS, "(ants/x) without the ending", "remove them", folder() | {"data/raw/pictures/ants/x": picture()}),
    Bad("name that is not UTF-8", PIXELS, "with names that are not UTF-8", "rename them", folder() | {"data/raw/pictures/ants/caf\udce9.png": picture()}),
    Bad("classes without images to train on", PIXELS, "has no images to train on", "expected <class>/<image>", folder({f"test/{n}": c for n, c in PICTURES.items()})),
    Bad("unlabelled images alone", PIXELS, "has no images to train on", "expected <class>/<image>", folder({f"unlabelled/{n}": c for n, c in PICTURES.items()})),
    Bad("an image beside the classes", PIXELS, "(x.png) in no class folder", "move each", folder(PICTURES | {"x.png": picture()})),
    Bad("a class of test that train lacks", PIXELS, "test has classes that train lacks: 'wasps'", "add rows to train", folder({f"train/{n}": c for n, c in PICTURES.items()} | {"test/wasps/1.png": picture(250)})),
    Bad("a class folder of one image", PIXELS, "one row of 'wasps'", "add rows or remove the class", folder(PICTURES | {"wasps/1.png": picture(250)})),
    Bad("classes that no folder has", f"{PIXELS} '+data.classes=[ants,wasps]'", "no images of the classes ['wasps']", "classes: asks for", folder()),
    Bad("size below zero", f"{PIXELS} data.size=-8", "size is -8", "above 0", folder()),
    Bad("size in words", f"{PIXELS} data.size=small", "size is 'small'", "expected int", folder()),
    Bad("size of two numbers", f"{PIXELS} 'data.size=[8,8]'", "size is [8, 8]", "expected int", folder()),
    Bad("path of a file that is an image", f"{PIXELS} data.path={PICTURE}", "x.png does not unpack", "give the folder", {PICTURE: picture()}),
    Bad("copies of images", f"{PIXELS} prepare.augmented_copies=1", "prepare.augmented_copies is for texts", "set it to 0", folder()),
    Bad("images in base64", f"{HERE} +data.size=8", "files (iVBORw0KGgo=", "put them there", {MINE: table(*(f"iVBORw0KGgo={i},{'ab'[i % 2]}" for i in range(9)))}),
    Bad("images by their addresses", f"{HERE} +data.size=8", "files (https://x/0.png", "put them there", {MINE: table(*(f"https://x/{i}.png,{'ab'[i % 2]}" for i in range(9)))}),
    Bad("images of bytes that are none", f"{ON_PARQUET} +data.size=8", "train has 40 images that cannot be used (train-0: not an image", "repair or remove", {PARQUET: arrow(text=[b"hello %d" % i for i in range(40)])}),
    Bad("images of a path that is not there", f"{ON_PARQUET} +data.size=8", "1 file (nowhere.png) cannot be read", "put them there", {PARQUET: arrow(text=[{"bytes": None, "path": "nowhere.png"}] * 40)}),
    Bad("images that are all missing", f"{ON_PARQUET} +data.size=8", "train has 40 images that cannot be used", "empty: drop", {PARQUET: arrow(text=pa.nulls(40, "binary"))}),
]  # fmt: skip
