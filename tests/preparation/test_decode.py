import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from decant.preparation.decode import MAX_SCANS, BadImage, decode, decode_all, jpeg_scans

NOISE = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
GREY = NOISE[..., 0]
ALPHA = NOISE[..., 1]
WIDE = np.random.default_rng(1).integers(0, 65536, (12, 12), dtype=np.uint16)


def packed(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 100 * np.sin(x / a) * np.cos(y / b) for a, b in ((9, 14), (20, 7), (13, 13))], -1).astype(
        "u1"
    )


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_a_lossless_square_of_the_right_size_is_returned_as_it_is(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    pixels = decode(packed(Image.fromarray(NOISE), form, **options), 12)
    assert (pixels.shape, pixels.dtype) == ((12, 12, 3), np.uint8)
    assert np.array_equal(pixels, NOISE)


def modes() -> dict[str, tuple[bytes, np.ndarray]]:
    """Encoded image and the pixels that are expected, computed without Pillow."""
    palette = Image.fromarray(GREY % 16)
    palette.putpalette(NOISE.reshape(-1, 3)[:16].tobytes())  # mode P
    table = NOISE.reshape(-1, 3)[:16]
    colours, opaque = table[GREY % 16], np.where(np.arange(16) == 3, 0, 255)[GREY % 16]
    alphas = np.arange(16) * 17
    la, rgba = np.dstack([GREY, ALPHA]), np.dstack([NOISE, ALPHA])
    unit = (GREY / 255).astype(np.float32)
    return {
        "1": (packed(Image.fromarray(GREY > 127)), three(np.where(GREY > 127, 255, 0))),
        "L": (packed(Image.fromarray(GREY)), three(GREY)),
        "LA": (packed(Image.fromarray(la)), on_white(three(GREY), ALPHA)),
        "P": (packed(palette), colours),
        "P, gif": (packed(palette, "GIF"), colours),
        "P, one colour transparent": (packed(palette, transparency=3), on_white(colours, opaque)),
        "P, gif, transparent": (packed(palette, "GIF", transparency=3), on_white(colours, opaque)),
        "P, alpha per colour": (
            packed(palette, transparency=bytes(alphas.tolist())),
            on_white(colours, alphas[GREY % 16]),
        ),
        "RGBA": (packed(Image.fromarray(rgba)), on_white(NOISE, ALPHA)),
        "RGB, one colour transparent": (
            packed(Image.fromarray(NOISE), transparency=tuple(map(int, NOISE[0, 0]))),
            np.where((NOISE[0, 0] == NOISE).all(-1, keepdims=True), 255, NOISE),
        ),
        "L, one grey transparent": (
            packed(Image.fromarray(GREY), transparency=7),
            three(np.where(GREY == 7, 255, GREY)),
        ),
        "I;16, png": (packed(Image.fromarray(WIDE)), three(WIDE / 257)),
        "I;16, tiff": (packed(Image.fromarray(WIDE), "TIFF"), three(WIDE / 257)),
        "I;16B": (packed(Image.fromarray(WIDE.astype(">u2")), "TIFF"), three(WIDE / 257)),
        "I": (packed(Image.fromarray(WIDE.astype(np.int32)), "TIFF"), three(WIDE / 257)),
        "I, pgm": (packed(Image.fromarray(WIDE.astype(np.int32)), "PPM"), three(WIDE / 257)),
        "F, 0 to 1": (packed(Image.fromarray(unit), "TIFF"), three(GREY)),
        "F, 0 to 255": (packed(Image.fromarray(GREY.astype(np.float32)), "TIFF"), three(GREY)),
    }


MODES = modes()


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_colours_it_stands_for(mode: str) -> None:
    content, expected = MODES[mode]
    assert np.abs(decode(content, 12) - expected).max() <= 1.01  # Pillow composites in whole numbers


@pytest.mark.parametrize(("form", "most"), [("TIFF", 1), ("JPEG", 12)])
def test_cmyk_is_close_to_the_colours_it_was_made_of(form: str, most: int) -> None:
    image = Image.fromarray(waves(64, 64))
    pixels = decode(packed(image.convert("CMYK"), form, **({"quality": 98} if form == "JPEG" else {})), 64)
    assert np.abs(pixels.astype(int) - np.asarray(image)).max() <= most


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),  # the camera was turned to the left: a quarter to the right sets it upright
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = (packed(Image.fromarray(NOISE), form, **o) for o in ({}, {"exif": exif.tobytes()}))
    assert np.array_equal(decode(turned, 12), TURNED[orientation](decode(plain, 12)))


def test_an_exif_block_that_is_cut_off_does_not_cost_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = packed(Image.fromarray(NOISE), "JPEG", exif=exif.tobytes()[:-3])
    assert decode(content, 12).shape == (12, 12, 3)


@pytest.mark.parametrize(("height", "width"), [(12, 31), (30, 12)])
def test_the_middle_of_the_longer_side_is_kept(height: int, width: int) -> None:
    image = waves(height, width)
    y, x = (height - 12) // 2, (width - 12) // 2
    assert np.array_equal(decode(packed(Image.fromarray(image)), 12), image[y : y + 12, x : x + 12])


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("shape", [(90, 120), (400, 300), (20, 20)])
def test_resizing_is_the_antialiased_bilinear_of_torch(shape: tuple[int, int], form: str) -> None:
    image = waves(*shape)
    side = min(shape)
    y, x = (shape[0] - side) // 2, (shape[1] - side) // 2
    middle = torch.from_numpy(image[y : y + side, x : x + side].copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(middle, 40, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    content = packed(Image.fromarray(image), form, **({"quality": 98, "subsampling": 0} if form == "JPEG" else {}))
    difference = np.abs(
        decode(content, 40)[2:-2, 2:-2] - expected.numpy()[2:-2, 2:-2]
    )  # torch sees no more of the rest
    assert difference.max() <= 3
    assert difference.mean() <= 0.6


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (10_000, 10_000), (50_000, 50_000)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("a pixel was asked for"))
    with pytest.raises(BadImage, match="more than 64000000 pixels"):
        decode(header(width, height), 12)


FULL = packed(Image.fromarray(waves(64, 64)), "JPEG")
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "blue")]}
RED = Image.new("RGB", (8, 8), "red")
BAD = {
    "nothing": (b"", "not an image"),
    "text": (b"hello", "not an image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "no size": (header(0, 0), "not an image"),
    "no pixels": (header(8, 8), "damaged"),
    "cut jpeg": (FULL[:-20], "truncated"),
    "cut header": (FULL[:30], "damaged|not an image"),
    "cut png": (MODES["RGBA"][0][:-60], "damaged"),
    "gif": (packed(RED, "GIF", **FRAMES), "several frames"),
    "apng": (packed(RED, "PNG", **FRAMES), "several frames"),
    "webp": (packed(RED, "WEBP", **FRAMES), "several frames"),
    "tiff": (packed(RED, "TIFF", **FRAMES), "several frames"),
    "32 bit": (packed(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"), "expected 0 to 65535"),
    "negative": (packed(Image.fromarray(np.full((4, 4), -1.0, np.float32)), "TIFF"), "expected 0 to 1"),
    "nan": (packed(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), "pixels from nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_gives_no_single_picture_is_refused_with_a_reason(case: str) -> None:
    content, reason = BAD[case]
    with pytest.raises(BadImage, match=reason):
        decode(content, 12)


def test_the_two_views_of_a_phone_are_one_photo() -> None:
    assert (decode(packed(RED, "MPO", **FRAMES), 8)[..., 0] > 250).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damaged_bytes_decode_or_are_refused_and_nothing_else(form: str) -> None:
    random = np.random.default_rng(0)
    content = np.frombuffer(packed(RED, form), np.uint8)
    for _ in range(150):
        damaged = content.copy()
        damaged[random.integers(0, len(content), 4)] = random.integers(0, 256, 4)
        _, problems = decode_all([damaged.tobytes()[: random.integers(1, len(content) + 1)]], ["a"], 8)
        assert all(problems.values())


def test_many_images_decode_as_each_alone_and_bad_ones_are_named() -> None:
    good = [packed(Image.fromarray(np.roll(NOISE, i, 0))) for i in range(40)]
    pixels, problems = decode_all([*good, b"hello", b""], [f"row-{i}" for i in range(42)], 12)
    assert pixels == [*(decode(content, 12).tobytes() for content in good), None, None]
    assert list(problems) == ["row-40", "row-41"]
    assert problems["row-40"].startswith("not an image in a format that is read here (JPEG, PNG,")


def test_warning_filters_and_threads_are_left_as_they_were() -> None:
    before, threads = list(warnings.filters), threading.active_count()
    decode_all([FULL] * 20 + [header(10_000, 10_000)], map(str, range(21)), 12)
    assert warnings.filters == before
    assert threading.active_count() == threads


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    content = packed(Image.fromarray(NOISE), "JPEG", progressive=True)
    first = content.index(b"\xff\xda")
    second = content.index(b"\xff\xda", first + 2)
    assert 1 < jpeg_scans(content) < MAX_SCANS
    with pytest.raises(BadImage, match="more than 100 scans"):
        decode(content[:second] + content[first:second] * MAX_SCANS + content[second:], 4)


def test_scans_are_counted_in_pixels_alone() -> None:
    marks = b"\xff\xda" * 200  # in a comment, and after the end, as phones append a film
    content = packed(Image.fromarray(NOISE), "JPEG")
    comment = b"\xff\xfe" + (len(marks) + 2).to_bytes(2) + marks
    assert jpeg_scans(content[:2] + comment + content[2:] + marks) == 1


def test_an_image_with_a_very_long_side_is_refused_at_once() -> None:
    with pytest.raises(BadImage, match="a side of more than 65535 pixels"):
        decode(packed(Image.new("RGB", (65536, 1)), "PPM"), 4)
