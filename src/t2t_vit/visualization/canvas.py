"""The sheet that every picture is drawn on: one style, one way to a file.

matplotlib's object interface only: no pyplot, no global figure, no window.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from matplotlib import style
from matplotlib.figure import Figure

from t2t_vit.errors import ConfigError, nearest
from t2t_vit.files import written_whole
from t2t_vit.visualization import lettering

SUFFIXES: Final = (".png", ".pdf", ".svg")

#: Okabe and Ito's colours, which people with any kind of colour vision tell apart.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
PALETTE: Final = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
GREY: Final = "#6E6E6E"

_STYLE: Final[dict[str, Any]] = {
    "text.parse_math": False,  # "$" in a class name is a dollar
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
    "figure.titlesize": 13,
    "figure.titleweight": "bold",
    "savefig.dpi": 160,
    "savefig.bbox": "tight",  # what stands out over the sheet is not cut off
    "savefig.pad_inches": 0.12,
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's default, Type 3
}


@contextmanager
def drawing(out: Path, width: float, height: float) -> Iterator[Figure]:
    """Give a figure in our style; when the block ends without an error, it is written to `out`.

    The style starts from matplotlib's defaults, whatever the user's own are. It is set for the time of the
    block, and matplotlib keeps it for the whole process: do not draw from two threads at once.

    Args:
        out: The file; its suffix says the format. Folders above it are made.
        width: Inches.
        height: Inches.

    Raises:
        ConfigError: The suffix is of no format that we write. Nothing has been drawn then.
    """
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"cannot draw to {str(out)!r}: its suffix is {out.suffix!r}; expected {', '.join(SUFFIXES)}."
            + nearest(suffix, SUFFIXES)
        )
    with style.context(["default", _STYLE, {"font.family": list(lettering.families())}]):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with written_whole(out) as partial:
            figure.savefig(partial, format=suffix[1:])
