"""What all plots share: their size, marks that differ without colour, and how they become files."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.durable import write_whole

# The eight colours that most people with a colour vision deficiency can tell apart (Okabe and Ito 2008), but yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
INK, PALE = "#000000", "#8C8C8C"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")
_STYLE: Any = {
    "svg.hashsalt": "ricord",  # the same figure is the same file
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_DOTS = 150  # per inch, of a PNG


class Mark(NamedTuple):
    """How a line is drawn; two of a plot differ in marker, colour and dashes at once."""

    marker: str
    color: str
    linestyle: str

    def draw(self, axes: Axes, across: Sequence[float], up: Sequence[float], label: str) -> None:
        """Draw a line with this mark."""
        axes.plot(across, up, marker=self.marker, color=self.color, linestyle=self.linestyle, linewidth=1, label=label)


def marks() -> Iterator[Mark]:
    """Marks of lines, one after the other, without end."""
    for place in count():
        dashes = _DASHES[place // len(_MARKERS) % len(_DASHES)]
        yield Mark(_MARKERS[place % len(_MARKERS)], COLOURS[place % len(COLOURS)], dashes)


@contextmanager
def drawing(
    *, width: float = 6.5, height: float = 4.0, rows: int = 1, columns: int = 1, heights: Sequence[float] | None = None
) -> "Iterator[Plot]":
    """An empty figure (inches) and its axes, in our style while the block runs; it needs no screen.

    `heights` are those of the rows beside one another.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield Plot(figure, tuple(figure.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()))


class Plot(NamedTuple):
    """A figure and its axes, row by row."""

    figure: Figure
    axes: tuple[Axes, ...]


def write(figure: Figure, folder: Path, name: str) -> tuple[Path, ...]:
    """Write `<name>.png` and `<name>.svg`, whole; equal figures are equal files."""
    files = []
    with mpl.rc_context(_STYLE):
        for kind, about in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, dpi=_DOTS, metadata=about)
            write_whole(folder / f"{name}.{kind}", drawn.getvalue())
            files.append(folder / f"{name}.{kind}")
    return tuple(files)
