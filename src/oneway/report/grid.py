"""A picture of pictures: rows of originals and reconstructions, labelled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 128
GAP = 6


def draw_grid(rows: Mapping[str, NDArray[np.uint8]], path: Path) -> None:
    """Draw each row of pictures below its name, as a PNG file.

    Args:
        rows: by name, (n, size, size, 3) in 0..255, all of one shape.
        path: the file to write.

    """
    font = ImageFont.load_default(18)
    caption = 28
    columns = max(len(pictures) for pictures in rows.values())
    side = CELL + GAP
    sheet = Image.new("RGB", (columns * side + GAP, len(rows) * (side + caption) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (name, pictures) in enumerate(rows.items()):
        top = row * (side + caption) + GAP
        pen.text((GAP, top), name, fill="black", font=font)
        for column, picture in enumerate(pictures):
            # Nearest neighbour: a smoother enlargement would show more than the attacker has.
            cell = Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.NEAREST)
            sheet.paste(cell, (GAP + column * side, top + caption))
    sheet.save(path, format="PNG")
