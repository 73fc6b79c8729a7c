"""Colours as people see them: contrast as WCAG has it, and how different two of them look, also to the colour-blind.

A colour is written as in a style sheet, #rrggbb.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

_Vector = NDArray[np.float64]

#: What is left of linear red, green and blue for who lacks one kind of cone (severity 1.0). Source: Machado, Oliveira,
#: Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009, table 1.
SIGHTS: Final[Mapping[str, _Vector]] = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
#: Linear sRGB to XYZ, and its white, D65 (IEC 61966-2-1).
_XYZ: Final = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE: Final = _XYZ.sum(axis=1)


def linear(colour: str) -> _Vector:
    """Red, green and blue as shares of light (3,), without the gamma of sRGB."""
    encoded = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """The ratio of their luminances, 1 to 21. Source: WCAG 2.2, contrast ratio."""
    dark, bright = sorted(float(_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (bright + 0.05) / (dark + 0.05)


def lab(colour: str, sight: str = "all cones") -> _Vector:
    """L*, a* and b* (3,) of a colour as this kind of eye sees it."""
    seen = np.clip(SIGHTS[sight] @ linear(colour), 0, 1)
    share = _XYZ @ seen / _WHITE
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: _Vector, other: _Vector) -> float:
    """How different two colours in L*a*b* look: CIEDE2000. Source: Sharma, Wu, Dalal, Color Res. Appl. 30(1), 2005."""
    (light1, a1, b1), (light2, a2, b2) = one.tolist(), other.tolist()
    mean7 = ((math.hypot(a1, b1) + math.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * math.sqrt(mean7 / (mean7 + 25**7))
    chroma1, chroma2 = math.hypot(stretch * a1, b1), math.hypot(stretch * a2, b2)
    hue1, hue2 = math.degrees(math.atan2(b1, stretch * a1)) % 360, math.degrees(math.atan2(b2, stretch * a2)) % 360
    apart = (hue2 - hue1 + 180) % 360 - 180 if chroma1 * chroma2 else 0.0
    lightness, chroma = (light1 + light2) / 2, (chroma1 + chroma2) / 2
    hue = (hue1 + apart / 2) % 360 if chroma1 * chroma2 else hue1 + hue2
    weight = 1 + sum(
        factor * math.cos(math.radians(times * hue + shift))
        for factor, times, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    )
    by_light = (light2 - light1) / (1 + 0.015 * (lightness - 50) ** 2 / math.sqrt(20 + (lightness - 50) ** 2))
    by_chroma = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    by_hue = 2 * math.sqrt(chroma1 * chroma2) * math.sin(math.radians(apart / 2)) / (1 + 0.015 * chroma * weight)
    turned = (
        -2
        * math.sqrt(chroma**7 / (chroma**7 + 25**7))
        * math.sin(math.radians(60 * math.exp(-(((hue - 275) / 25) ** 2))))
    )
    return math.sqrt(by_light**2 + by_chroma**2 + by_hue**2 + turned * by_chroma * by_hue)
