"""One picture in a file: which formats are read, and how each becomes a square of RGB."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from oneway.errors import InputError
from oneway.storage.inputs import endless

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""The suffixes of pictures, and what they promise; a file in any of these formats is read under any of them."""
SUFFIXES = tuple(FORMATS)
BACKGROUND = (255, 255, 255)
"""White: what shows through where a picture is transparent, as on the page of nearly every editor and browser."""
LARGEST = 64_000_000
"""Pixels of the largest picture that is decoded; it takes some 250 MB of memory, and as much again if transparent."""
LARGEST_FILE = 2**30
"""Bytes of the largest file, or piece of one, that is read for one picture."""
Fit = Literal["crop", "pad", "stretch"]
"""How a picture becomes a square: its middle, the whole between borders, or the whole squeezed."""
CROPS: dict[Fit, str] = {
    "crop": "the largest square in the middle",
    "pad": "the whole image in the middle of a square, its edges repeated",
    "stretch": "the whole image, stretched to a square",
}
_ORIENTATION = 0x0112  # the tag of EXIF
_BITS, _PHOTOMETRIC = 258, 262  # tags of TIFF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ACROSS = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))
"""Turns that make a picture's width its height."""
_DECODERS = tuple(dict.fromkeys(FORMATS.values()))
Given = TypeVar("Given")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"


class CorruptImage(InputError):
    """One image file cannot be decoded; the message names the file and says why."""


def decode(
    file: Path | BinaryIO,
    name: str,
    size: int,
    frame: tuple[int, int] | None = None,
    box: tuple[float, float, float, float] | None = None,
    fit: Fit = "crop",
) -> NDArray[np.uint8]:
    """Decode an image file, make a square of it and scale it with an antialiased triangle filter.

    Of several frames the first is taken. What is transparent shows `BACKGROUND`, never the colours that lie under it.
    Grey, palettes and CMYK become RGB; what has 16 bits keeps the upper 8. The rotation that a camera wrote is made;
    no other metadata counts, and none that is damaged spoils the pixels.

    Args:
        file: a path, or an open file.
        name: what messages call it.
        size: pixels a side of the square that is returned.
        frame: the (width, height) that it must have, or None for any.
        box: the square (left, top, right, bottom) in pixels of that frame, or None for what `fit` says.
        fit: how a picture that is not square becomes one.

    Returns:
        (size, size, 3), RGB in 0..255.

    Raises:
        CorruptImage: if it cannot be decoded, for whatever reason: it is damaged, no regular file, of none of
            `FORMATS`, larger than `LARGEST`, wholly transparent, or of numbers of no known range (modes I and F).
        InputError: if it is of another size than `frame`.

    """

    def cut(image: Image.Image) -> NDArray[np.uint8]:
        if frame is not None and image.size != frame:
            raise InputError(
                f"{name}: the frame must be {frame[0]}x{frame[1]} pixels as in the official release, "
                f"it is {image.width}x{image.height}; use the aligned images, or the folder layout for others"
            )
        return _square(image, size, fit, box)

    return _opened(file, name, cut)


def decoded(image: Image.Image, name: str, size: int, fit: Fit = "crop") -> NDArray[np.uint8]:
    """Make (size, size, 3), RGB in 0..255, of a picture that is open, by the rules of `decode`.

    Raises:
        CorruptImage: if it cannot be decoded.

    """
    try:
        return _square(_eight_bits(image).copy(), size, fit)  # a copy has no tags of TIFF
    except Exception as error:  # decoders raise anything over bad bytes, MemoryError included
        raise CorruptImage(f"{name}: cannot be decoded ({str(error) or type(error).__name__})") from error


def whole(file: Path, name: str) -> Image.Image:
    """Decode all of an image file, as RGB and as it is seen, by the rules of `decode`.

    Raises:
        CorruptImage: if it cannot be decoded.

    """

    def seen(image: Image.Image) -> Image.Image:
        picture = _opaque(image)
        turn = _turn(picture)
        return picture.copy() if turn is None else picture.transpose(turn)

    return _opened(file, name, seen)


def _opened(file: Path | BinaryIO, name: str, use: Callable[[Image.Image], Given]) -> Given:
    """Open an image file and make something of it, a second time without its metadata if that fails."""
    try:
        content = _read(file)
        try:
            return _pixels(content, use)
        except InputError:
            raise
        except Exception:  # a second try without metadata, which changes nothing for what can be read with it
            return _pixels(_without_metadata(content), use)
    except InputError:
        raise
    except Exception as error:  # decoders raise anything over bad bytes, MemoryError included
        raise CorruptImage(f"{name}: cannot be decoded ({str(error) or type(error).__name__})") from error


def _read(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        kind = endless(file)
        if kind is not None:
            raise ValueError(f"it is {kind}, not a file")
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE:,} bytes")
        return file.read_bytes()
    return file.read()


def _pixels(content: bytes, use: Callable[[Image.Image], Given]) -> Given:
    try:
        # Only what is announced: among the others are formats that start programs.
        image = Image.open(BytesIO(content), formats=_DECODERS)
    except Image.DecompressionBombError as error:
        raise ValueError(f"more pixels than the {LARGEST:,} that are decoded; scale it down") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"it is damaged, or none of {', '.join(_DECODERS)}") from error
    with image:
        width, height = image.size
        if width * height > LARGEST:
            raise ValueError(
                f"its {width}x{height} pixels are more than the {LARGEST:,} that are decoded; scale it down"
            )
        return use(image)


def seen_size(path: Path) -> tuple[int, int] | None:
    """Give width and height of a picture as it is seen, with the camera's rotation; nothing if it cannot be opened."""
    for content in (lambda: path, lambda: BytesIO(_without_metadata(_read(path)))):
        try:
            with Image.open(content(), formats=_DECODERS) as image:
                across = _turn(image) in _ACROSS
                return image.size[::-1] if across else image.size
        except Exception:  # decoders raise anything over bad bytes
            continue
    return None


def middle(width: int, height: int) -> tuple[float, float, float, float]:
    """Give the largest square in the middle of a picture: left, top, right and bottom, in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return (left, top, left + side, top + side)


def _square(image: Image.Image, size: int, fit: Fit, box: Sequence[float] | None = None) -> NDArray[np.uint8]:
    width, height = image.size
    box = box or (middle(width, height) if fit == "crop" else (0, 0, width, height))
    longer = max(width, height)
    wide, high = (max(1, round(size * side / longer)) for side in (width, height)) if fit == "pad" else (size, size)
    # The JPEG decoder does the coarse part of a large reduction, and leaves a factor of two to the filter.
    shrink = min(1.0, max(2 * wide / (box[2] - box[0]), 2 * high / (box[3] - box[1])))
    image.draft(None, (ceil(width * shrink), ceil(height * shrink)))
    across, down = image.size[0] / width, image.size[1] / height
    scaled = _opaque(image).resize(
        (wide, high),
        Image.Resampling.BILINEAR,
        box=(box[0] * across, box[1] * down, box[2] * across, box[3] * down),
    )
    # What was chosen stays the same under the rotations that cameras write into EXIF.
    turn = _turn(scaled)
    pixels = np.asarray(scaled if turn is None else scaled.transpose(turn))
    lacking = [size - side for side in pixels.shape[:2]]  # padded at the end, so that a long strip takes no memory
    around = [(lack // 2, lack - lack // 2) for lack in lacking]
    return np.pad(pixels, [*around, (0, 0)], mode="edge") if any(lacking) else pixels


def _eight_bits(image: Image.Image) -> Image.Image:
    """Keep the upper 8 bits of greys of 16, as Pillow does of colours, in all pictures alike."""
    if not image.mode.startswith(("I", "F")):
        return image
    if not image.mode.startswith("I;16"):
        raise ValueError(f"nothing says which range pixels of mode {image.mode} have; convert it to 8 or 16 bits")
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if tags.get(_BITS) == (12,):
        values = values << 4
    if tags.get(_PHOTOMETRIC) == 0:  # white is 0, which Pillow heeds for 8 bits alone
        values = ~values
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    info = dict(image.info)
    clear = info.pop("transparency", None)
    if clear is not None:
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    grey.info = info
    return grey


def _opaque(image: Image.Image) -> Image.Image:
    """Make RGB of a picture, what is transparent on `BACKGROUND`; its metadata goes with it."""
    image.load()
    image = _eight_bits(image)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[1] == 0:
        raise ValueError("every pixel of it is transparent")
    canvas = Image.new("RGB", image.size, BACKGROUND)
    canvas.paste(layer, mask=layer)
    canvas.info = image.info
    return canvas


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # metadata may hold anything, and what cannot be read says nothing
        return None


def _without_metadata(content: bytes) -> bytes:
    """Leave a PNG or JPEG what makes its pixels and turns them; everything else is returned as it is."""
    if content.startswith(_PNG):
        return _PNG + b"".join(_chunks(content))
    return _JPEG + b"".join(_segments(content)) if content.startswith(_JPEG) else content


def _chunks(content: bytes) -> Iterator[bytes]:
    """Give the chunks of a PNG without those that a reader may pass over."""
    place = len(_PNG)
    while place + 12 <= len(content):
        kind, end = content[place + 4 : place + 8], place + 12 + int.from_bytes(content[place : place + 4])
        whole = zlib.crc32(content[place + 4 : end - 4]) == int.from_bytes(content[end - 4 : end])
        if kind[:1].isupper() or kind == b"tRNS" or (kind == b"eXIf" and whole):
            yield content[place:end]
        place = end


def _segments(content: bytes) -> Iterator[bytes]:
    """Give the segments of a JPEG without comments and applications' own, but for EXIF and Adobe's kind of colours."""
    place = len(_JPEG)
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != b"\xda":
        end = place + 2 + max(2, int.from_bytes(content[place + 2 : place + 4]))
        told, own = content[place + 4 : end], content[place + 1] in (*range(0xE0, 0xF0), 0xFE)
        if not own or told.startswith(b"Exif\0\0") or (told.startswith(b"Adobe") and len(told) >= 12):
            yield content[place:end]
        place = end
    yield content[place:]  # from the pixels on
