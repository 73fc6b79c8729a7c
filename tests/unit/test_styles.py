"""Colours that can be read on black and on white, and that nothing depends on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from loadgen import styles

SOURCES: Final = Path(styles.__file__).parent
#: Red, green, yellow, blue, magenta, cyan as terminals draw them, without and with bold, by their own defaults.
PALETTES: Final = {
    "xterm": "cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd",
    "VTE (GNOME, Xfce)": "c01c28 26a269 a2734c 12488b a347ba 2aa1b3",
    "Windows Terminal": "c50f1f 13a10e c19c00 0037da 881798 3a96dd",
    "Visual Studio Code": "cd3131 0dbc79 e5e510 2472c8 bc3fbc 11a8cd",
}
NAMES: Final = ("red", "green", "yellow", "blue", "magenta", "cyan")
#: Of bold text, WCAG 2.2, 1.4.3; and of the number or word beside it nothing depends on colour.
CONTRAST_MIN: Final = 3.0


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str, ground: str) -> float:
    """From 1 to 21."""
    lighter, darker = sorted((luminance(colour), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def worst(name: str, ground: str) -> float:
    """The contrast of a colour in the palette in which it has the least."""
    return min(contrast(palette.split()[NAMES.index(name)], ground) for palette in PALETTES.values())


def test_contrast_is_computed_as_the_guidelines_do() -> None:
    assert contrast("ffffff", "000000") == pytest.approx(21)
    assert contrast("777777", "ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("style", [styles.TIGHT, styles.BAD])
@pytest.mark.parametrize("ground", ["000000", "ffffff"])
def test_each_colour_can_be_read_on_black_and_on_white(style: str, ground: str) -> None:
    """But for the magenta of Windows Terminal on black, which has 2.5, and which bold makes brighter there."""
    (name,) = set(style.split()) & set(NAMES)
    assert "bold" in style.split(), "it is marked where there is no colour, too"
    least = 2.4 if (name, ground) == ("magenta", "000000") else CONTRAST_MIN
    assert worst(name, ground) >= least


@pytest.mark.parametrize(
    ("name", "ground"), [("yellow", "ffffff"), ("green", "ffffff"), ("cyan", "ffffff"), ("blue", "000000")]
)
def test_the_others_cannot(name: str, ground: str) -> None:
    assert worst(name, ground) < 2.5


def test_views_of_a_terminal_have_no_colours_of_their_own() -> None:
    """They take them from here. Pages have others, in style sheets."""
    words = rf"\"(?:not |bold |dim |italic )*(?:{'|'.join(NAMES)}|dim)(?: on \w+)?\""
    found = [
        f"{path.relative_to(SOURCES)}: {match}"
        for folder in ("cli", "cluster", "facts", "views/live", "views/text")
        for path in sorted((SOURCES / folder).rglob("*.py"))
        if path.name != "devices.py"  # the name of a VRF
        for match in re.findall(words, path.read_text())
    ]
    assert found == []
