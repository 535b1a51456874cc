"""The looks of a drawn face: its colours, and the measures that several parts of the drawing share."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

from oneway.synthetic.pen import Colour, mix

if TYPE_CHECKING:
    from oneway.synthetic.faces import Face

WHITE, DARK = (255.0, 252.0, 248.0), (46.0, 26.0, 30.0)
_BLOOD = (116.0, 40.0, 40.0)
# Darkest and lightest shade.
_HAIR: dict[str, tuple[Colour, Colour]] = {
    "Black_Hair": ((24, 22, 28), (50, 43, 46)),
    "Brown_Hair": ((84, 52, 34), (132, 86, 54)),
    "Blond_Hair": ((205, 158, 84), (240, 210, 140)),
    "Red_Hair": ((146, 54, 26), (200, 92, 44)),
    "Gray_Hair": ((140, 142, 150), (208, 210, 216)),
}
_SKINS: tuple[Colour, ...] = (
    (246, 205, 172),
    (236, 186, 148),
    (217, 160, 118),
    (184, 126, 88),
    (142, 92, 64),
    (102, 66, 48),
)
_IRISES: tuple[Colour, ...] = ((74, 46, 32), (122, 80, 40), (62, 104, 150), (82, 124, 78), (112, 124, 136))
_LIPSTICKS: tuple[Colour, ...] = ((200, 30, 52), (214, 56, 112), (152, 26, 72), (226, 74, 64))
_FRAMES: tuple[Colour, ...] = ((30, 28, 34), (96, 42, 30), (34, 52, 96), (150, 34, 48))


class Look:
    """One face, to be drawn.

    `names` are its true attributes, `person` and `shot` its numbers; `width` is half the head's, `side` from
    -1 to 1 where the light comes from, `brow_y` the height of the eyebrows, `hair_end` how low the hair hangs,
    `volume` how far it stands off, `frame_roundness` how round the glasses are; the others are colours.
    """

    def __init__(self, face: Face):
        self.names, self.person, self.shot = face.attributes, face.person, face.shot
        self.width, self.side = face.person["width"], 2 * face.shot["light"] - 1
        self.brow_y = face.person["eye_y"] - face.person["brow_gap"]
        tone, between = divmod(face.person["skin"] * (len(_SKINS) - 1), 1)
        self.skin = mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], between)
        if "Pale_Skin" in self.names:
            self.skin = mix((255, 240, 232), (250, 226, 214), face.person["skin"])
        unnamed = _HAIR["Brown_Hair" if "Bald" in self.names else "Red_Hair"]  # a bald head still has brows
        dark, light = next((_HAIR[name] for name in _HAIR if name in self.names), unnamed)
        self.hair = mix(dark, light, face.person["shade"])
        self.hair_end = 0.43 * face.person["length"]
        self.volume = face.person["volume"] + 0.02 * ("Wavy_Hair" in self.names)
        self.iris = _IRISES[int(5 * face.person["eye_colour"])]
        painted, bare = _LIPSTICKS[int(4 * face.person["lipstick"])], mix(self.skin, (166, 44, 60), 0.5)
        self.lips = painted if "Wearing_Lipstick" in self.names else bare
        style, self.frame_roundness = divmod(4 * face.person["frame"], 1)
        self.frame = _FRAMES[int(style)]
        bright = face.shot["bright"]
        self.cloth = hue(face.shot["cloth"], 0.3 + 0.45 * bright, 0.34)
        self.hat = hue(face.shot["hat_hue"], 0.3 + 0.35 * bright, 0.42)

    def flushed(self, weight: float) -> Colour:
        """Return the skin with more blood in it."""
        return mix(self.skin, _BLOOD, weight)


def hue(hue: float, lightness: float, saturation: float) -> Colour:
    """Return the colour of a hue, which turns round at 1."""
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return 255 * red, 255 * green, 255 * blue
