"""The documentation's pictures of plots were taken when the plots had been drawn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from pictures import PLOTS, is_drawn

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
_GREY = (240, 240, 240)


def test_every_picture_of_the_readme_is_there_and_no_other() -> None:
    shown = set(re.findall(r"\(docs/images/([\w.-]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert shown == {file.name for file in IMAGES.iterdir()}


@pytest.mark.parametrize("name", PLOTS)
def test_the_plot_in_a_picture_is_drawn(name: str) -> None:
    assert is_drawn(IMAGES / name)


@pytest.mark.parametrize("name", PLOTS)
def test_a_picture_with_placeholders_instead_of_the_plot_is_noticed(name: str, tmp_path: Path) -> None:
    left, top, right, _ = box = PLOTS[name]
    with Image.open(IMAGES / name) as picture:
        early = picture.convert("RGB")
    drawing = ImageDraw.Draw(early)
    drawing.rectangle(box, fill="white")
    for line in range(4):
        drawing.rectangle((left, top + 40 * line, right - 50 * line, top + 40 * line + 15), fill=_GREY)
    early.save(tmp_path / name)
    assert not is_drawn(tmp_path / name)
