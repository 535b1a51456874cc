"""One picture in a file: what is read of it, what is refused, and that nothing beside the pixels spoils them."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image

import oneway
from oneway.data.picture import CorruptImage
from oneway.data.readers import folder
from trees import photograph

RED, GREEN, GREY = (255, 0, 0), (0, 200, 0), (90, 90, 90)
PNG = b"\x89PNG\r\n\x1a\n"


def drawn(path: Path, size: int = 16) -> NDArray[np.uint8]:
    """The picture as a folder's reader gives it."""
    path.rename(path.parent / f"only{path.suffix}")
    for other in path.parent.iterdir():
        if other.stem != "only":
            other.unlink()
    return folder.read(path.parent).reader(0, size)


def refusal(path: Path) -> str:
    with pytest.raises(CorruptImage, match=r"only\.\w+: cannot be decoded \(") as caught:
        drawn(path)
    return str(caught.value)


def cut_out(mode: str) -> Image.Image:
    """A green half, and a half of which an editor left red or grey under what it made transparent."""
    image = Image.new("RGBA", (16, 16), (*GREEN, 255))
    image.paste((*RED, 0), (8, 0, 16, 16))
    if mode == "RGBA":
        return image
    if mode == "LA":
        return image.convert("LA")
    if mode in ("P", "L", "RGB"):  # one colour of these is transparent
        plain = image.convert("RGB")
        return plain.convert("P", palette=Image.Palette.ADAPTIVE, colors=2) if mode == "P" else plain.convert(mode)
    return image.quantize(4)  # a palette with an alpha of its own


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *((mode, ".png") for mode in ("RGBA", "LA", "P", "L", "RGB", "palette of RGBA")),
        *(("RGBA", suffix) for suffix in (".webp", ".gif", ".tiff")),
        ("LA", ".tiff"),
        ("P", ".gif"),
    ],
)
def test_what_is_transparent_is_white_and_never_what_lies_under_it(tmp_path: Path, mode: str, suffix: str) -> None:
    image, more = cut_out(mode), {}
    if mode in ("P", "L", "RGB"):
        more["transparency"] = image.getpixel((12, 8))
    image.save(tmp_path / f"a{suffix}", **({"lossless": True, "exact": True} if suffix == ".webp" else {}), **more)
    found = drawn(tmp_path / f"a{suffix}").astype(int)
    assert np.abs(found[:, 9:] - 255).max() <= 1
    expected = np.array(GREEN if mode not in ("LA", "L") else [round(0.587 * 200)] * 3)
    assert np.abs(found[:, :7] - expected).max() <= 2


def test_half_transparency_is_blended_and_an_opaque_layer_changes_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    alpha = pixels[..., 3:] / 255
    on_white = np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha))
    assert np.abs(drawn(tmp_path / "a.png", 30) - on_white[5:35]).max() <= 1
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "b.png")
    found = drawn(tmp_path / "b.png")
    Image.fromarray(pixels[..., :3]).save(tmp_path / "c.png")
    np.testing.assert_array_equal(found, drawn(tmp_path / "c.png"))


def test_a_wholly_transparent_picture_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (16, 16), (*RED, 0)).save(tmp_path / "a.png")
    assert "transparent" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [("1", 1, (255,) * 3), ("L", 90, GREY), ("RGB", RED, RED), ("CMYK", (0, 255, 255, 0), RED), ("P", 0, (0, 0, 0))],
)
def test_other_modes_are_the_same_colours(
    tmp_path: Path, mode: str, value: Any, expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (16, 16), value).save(tmp_path / ("a.png" if mode != "CMYK" else "a.tiff"))
    found = drawn(next(tmp_path.iterdir())).astype(int)
    assert np.abs(found - np.array(expected)).max() <= 2


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tiff"])
def test_of_several_frames_the_first_is_taken(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (GREEN, RED, GREY)]
    exact = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **exact)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.n_frames == 3
    assert np.abs(drawn(tmp_path / f"a{suffix}").astype(int) - np.array(GREEN)).max() <= 2


def chunk(kind: bytes, content: bytes, *, damaged: bool = False) -> bytes:
    """A piece of a PNG."""
    check = zlib.crc32(kind + content) ^ damaged
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


END = chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_of_which_nothing_says_the_range_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    dtype = {"I": np.int32, "F": np.float32}[mode]
    Image.fromarray((np.arange(256) * 257).reshape(16, 16).astype(dtype)).save(tmp_path / "a.tiff")
    assert f"mode {mode}" in refusal(tmp_path / "a.tiff")


GREYS = np.random.default_rng(0).integers(0, 2**16, (16, 16), dtype=np.uint16)


def png(values: NDArray[np.uint16], *before: bytes) -> bytes:
    """A grey PNG of 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 16, 16, 16, 0, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + b"".join(before) + chunk(b"IDAT", zlib.compress(rows)) + END


def tiff(values: NDArray[np.uint16], photometric: int, order: str = "<", bits: int = 16) -> bytes:
    """A grey TIFF of one strip; of 12 bits, two pixels in three bytes."""
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        both = pairs[:, 0] << 12 | pairs[:, 1]
        strip = np.stack([both >> 16, both >> 8, both], axis=1).astype(np.uint8).tobytes()
    else:
        strip = values.astype(f"{order}u2").tobytes()
    tags = {256: 16, 257: 16, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 16, 279: len(strip)}
    kind = {273: 4, 279: 4}
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind.get(tag, 3), 1)
        + (struct.pack(f"{order}I", value) if tag in kind else struct.pack(f"{order}HH", value, 0))
        for tag, value in tags.items()
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(strip))
    return head + strip + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".png", png(GREYS)),
        (".tiff", tiff(GREYS, 1)),
        (".tiff", tiff(GREYS, 1, ">")),
        (".tiff", tiff(~GREYS, 0)),
        (".tiff", tiff(GREYS >> 4, 1, bits=12)),
    ],
    ids=["PNG", "TIFF", "TIFF of the other order", "TIFF whose white is 0", "TIFF of 12 bits"],
)
def test_greys_of_16_bits_keep_the_upper_8_as_colours_do(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    expected = np.repeat((GREYS >> 8).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(drawn(tmp_path / f"a{suffix}"), expected)


def test_no_grey_of_16_bits_is_scaled_by_its_own_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(GREYS // 16))
    assert drawn(tmp_path / "a.png").max() == 15


def test_a_transparent_grey_of_16_bits_is_white(tmp_path: Path) -> None:
    values = np.full((16, 16), 0x1234, dtype=np.uint16)
    values[:, 8:] = 0x1235  # the next grey, of the same upper 8 bits
    (tmp_path / "a.png").write_bytes(png(values, chunk(b"tRNS", struct.pack(">H", 0x1234))))
    found = drawn(tmp_path / "a.png")
    assert (found[:, :8] == 255).all()
    assert (found[:, 8:] == 0x12).all()


def test_colours_of_16_bits_keep_the_upper_8(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (16, 16, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + END)
    np.testing.assert_array_equal(drawn(tmp_path / "a.png"), values >> 8)


TOO_LONG = zlib.compress(b"x" * (2**20 + 9))


def segment(kind: int, content: bytes) -> bytes:
    """A piece of a JPEG."""
    return struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content


SPOILED = {
    "compressed text": (".png", chunk(b"zTXt", b"Comment\0\0" + TOO_LONG)),
    "international text": (".png", chunk(b"iTXt", b"Comment\0\1\0\0\0" + TOO_LONG)),
    "much text": (".png", chunk(b"tEXt", b"Comment\0" + b"x" * 2**23) * 9),
    "a profile of colours": (".png", chunk(b"iCCP", b"icc\0\0" + TOO_LONG)),
    "a broken checksum": (".png", chunk(b"tEXt", b"Comment\0x", damaged=True)),
    "a short chunk": (".png", chunk(b"pHYs", b"\0")),
    "EXIF of PNG": (".png", chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff")),
    "EXIF": (".jpg", segment(0xE1, b"Exif\0\0no")),
    "EXIF without tags": (".jpg", segment(0xE1, b"Exif\0\0MM\0*\0\0\0")),
    "EXIF of wrong types": (
        ".jpg",  # the orientation as text, and a camera that is a rational number
        segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\2\1\x0f\0\5\0\0\0\1\0\0\0\x08\1\x12\0\2\0\0\0\2x\0\0\0\0\0\0\0"),
    ),
    "a mark of JFIF": (".jpg", segment(0xE0, b"JFIF\0\1")),
    "a mark of Adobe": (".jpg", segment(0xEE, b"Adobe")),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_metadata_spoils_no_pixels(tmp_path: Path, kind: str) -> None:
    suffix, piece = SPOILED[kind]
    content = photograph(tmp_path / f"a{suffix}", 40, 30).read_bytes()
    clean = drawn(tmp_path / f"a{suffix}")
    start = 33 if suffix == ".png" else 2
    (tmp_path / f"b{suffix}").write_bytes(content[:start] + piece + content[start:])
    np.testing.assert_array_equal(drawn(tmp_path / f"b{suffix}"), clean)


def test_metadata_of_a_damaged_picture_does_not_mend_it(tmp_path: Path) -> None:
    content = photograph(tmp_path / "a.png", 40, 30).read_bytes()
    (tmp_path / "a.png").write_bytes(content[:33] + SPOILED["compressed text"][1] + content[33:-40])
    refusal(tmp_path / "a.png")
    place = content.index(b"IDAT") + 30
    (tmp_path / "b.png").write_bytes(content[:place] + b"spoil" + content[place + 5 :])
    refusal(tmp_path / "b.png")


TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda shown: shown,
    2: np.fliplr,
    3: lambda shown: np.rot90(shown, 2),
    4: np.flipud,
    5: lambda shown: np.swapaxes(shown, 0, 1),
    6: lambda shown: np.rot90(shown, -1),
    7: lambda shown: np.rot90(np.swapaxes(shown, 0, 1), 2),
    8: lambda shown: np.rot90(shown, 1),
    9: lambda shown: shown,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("transparent", [False, True])
def test_the_rotation_that_a_camera_wrote_is_made(tmp_path: Path, orientation: int, transparent: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3 + transparent), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = drawn(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.png", exif=exif)
    np.testing.assert_array_equal(drawn(tmp_path / "b.png"), TURNS[orientation](upright))


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_rotation_is_made_once_where_the_format_has_its_own(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.tiff", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(drawn(tmp_path / "a.tiff"), TURNS[orientation](pixels))


@pytest.mark.parametrize(
    "error",
    [
        TypeError("no"),
        struct.error("no"),
        SyntaxError("no"),
        MemoryError(),
        RecursionError("no"),
        KeyError("no"),
        AssertionError(),
        Image.DecompressionBombError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_decoding_raises_is_a_corrupt_image_that_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for place in range(24):
        photograph(tmp_path / "in" / f"{place:02d}.png", 20, 20, place)
    resize = Image.Image.resize

    def spoiled(self: Image.Image, *given: Any, **more: Any) -> Image.Image:
        if self.getpixel((0, 0)) == first:
            raise error
        return resize(self, *given, **more)

    with Image.open(tmp_path / "in" / "00.png") as image:
        first = image.getpixel((0, 0))
    monkeypatch.setattr(Image.Image, "resize", spoiled)
    source = folder.read(tmp_path / "in")
    with pytest.raises(CorruptImage, match=r"00\.png: cannot be decoded \("):
        source.reader(0, 16)
    pack = oneway.prepare(source, tmp_path / "pack", size=16, jobs=1, skip_bad=True, progress=False)
    assert len(pack.table) == 23


@pytest.mark.parametrize("side", [8001, 13_300, 60_000])
def test_more_pixels_than_are_decoded_are_refused_by_the_header(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(PNG + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + END)
    assert "more" in refusal(tmp_path / "a.png")
    assert "64,000,000" in refusal(tmp_path / "only.png")


@pytest.mark.parametrize("suffix", [".eps", ".ppm", ".pcx", ".tga"])
def test_other_formats_under_a_pictures_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    file = BytesIO()
    Image.new("RGB", (16, 16), RED).save(file, {".eps": "EPS", ".ppm": "PPM", ".pcx": "PCX", ".tga": "TGA"}[suffix])
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    assert "it is damaged, or none of JPEG, PNG" in refusal(tmp_path / "a.jpg")


def test_every_announced_suffix_is_read(tmp_path: Path) -> None:
    from oneway.data.picture import SUFFIXES

    for place, suffix in enumerate(SUFFIXES):
        photograph(tmp_path / f"{place}{suffix}", 30, 20)
    source = folder.read(tmp_path)
    assert len(source.names) == len(SUFFIXES)
    shown = [source.reader(place, 16).astype(int) for place in range(len(SUFFIXES))]
    assert all(np.abs(each - shown[0]).mean() < 12 for each in shown)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_or_a_device_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("/dev/zero")
    source = folder.read(tmp_path)
    for place, kind in enumerate(("named pipe", "device")):
        with pytest.raises(CorruptImage, match=f"it is a {kind}, not a file"):
            source.reader(place, 16)
