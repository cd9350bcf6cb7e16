"""Class names come in any script and length; here they become text that the fonts at hand can show.

DejaVu Sans comes with matplotlib and is always there. Where the machine has a font for Chinese, Japanese or
Korean, it is used for what DejaVu lacks. What no font has is shown as "□", as browsers do, instead of with a
warning a character.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

MISSING = "□"

_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",  # Linux
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",  # Windows
    "Malgun Gothic",
    "Hiragino Sans GB",  # macOS
    "Arial Unicode MS",
)


@cache
def families() -> tuple[str, ...]:
    """Return the font families for text that this machine has, DejaVu Sans first."""
    installed = set(font_manager.get_font_names())
    return tuple(family for family in _FAMILIES if family in installed)


def font_file(family: str) -> str:
    """Return the path of the regular face of `family`."""
    return str(font_manager.findfont(font_manager.FontProperties(family=family)))


def best_family(text: str) -> str:
    """Return the family that has most of the characters of `text`; of equals, the first of `families`."""
    return max(families(), key=lambda family: sum(ord(c) in _characters(family) for c in text))


def printable(text: str, among: Sequence[str] | None = None) -> str:
    """Return `text` on one line, with "□" for what cannot be shown.

    Args:
        text: Any text.
        among: Font families that are there to show it; None: all that this machine has.
    """
    shown = [_characters(family) for family in among or families()]
    # Names of folders arrive decomposed from macOS, and accents of their own sit badly on their letters.
    line = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(
        c if any(ord(c) in characters for characters in shown) else MISSING for c in line if not _is_invisible(c)
    )


def shorten(text: str, columns: int) -> str:
    """Return `printable(text)`, cut with "…" where it is wider than `columns` Latin letters."""
    text = printable(text)
    if sum(map(_width, text)) <= columns:
        return text
    kept, used = "", 1
    for c in text:
        used += _width(c)
        if used > columns:
            break
        kept += c
    return kept.rstrip(" ,;") + "…"


def _width(c: str) -> int:
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def _is_invisible(c: str) -> bool:
    # Format characters (such as the joiners of emoji) and variation selectors only matter to fonts that know
    # them.
    return unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f"


@cache
def _characters(family: str) -> frozenset[int]:
    return frozenset(FT2Font(font_file(family)).get_charmap())
