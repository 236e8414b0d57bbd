"""The names that users import: documented, resolved on first use, and light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import taxiway

API_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_the_documented_names_are_the_public_ones() -> None:
    documented = re.findall(r"^#+ `(?:taxiway\.)?(\w+)", API_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(taxiway.__all__)


@pytest.mark.parametrize("name", sorted(taxiway.__all__))
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert name in dir(taxiway)
    found = getattr(taxiway, name)
    if callable(found):
        assert found.__doc__, name


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        taxiway.nonsense  # noqa: B018  # asking for it is the test


def test_importing_taxiway_imports_nothing_heavy_and_starts_nothing() -> None:
    program = (
        "import sys, threading, taxiway\n"
        "dir(taxiway)\n"
        "heavy = ('pyspark', 'mlflow', 'pandas', 'numpy', 'pyarrow', 'matplotlib', 'fsspec', 'click', 'rich')\n"
        "print([name for name in heavy if name in sys.modules], threading.active_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1"
