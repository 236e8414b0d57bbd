"""Whether a picture of a page was taken too early: a plot has lines in colour, what stands in for it is grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PLOTS = {"mlflow-compare.png": (505, 185, 1375, 590), "mlflow-sweep.png": (535, 350, 795, 545)}
"""Where a plot is in a picture of a page of 1400 by 900: left, top, right, bottom."""

_COLOURFUL = 40
_LEVELS = 32


def colours_of_plot(file: Path, box: tuple[int, int, int, int]) -> int:
    """How many colours that are no grey stand in a part of a picture; shades of one count once."""
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB").crop(box), dtype=int).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels, axis=1) > _COLOURFUL] // _LEVELS
    return len(np.unique(coloured, axis=0))


def is_drawn(file: Path) -> bool:
    """Whether the plot in a picture of that name is there: ten lines, or bars, have five colours at least."""
    return colours_of_plot(file, PLOTS[file.name]) >= 5
