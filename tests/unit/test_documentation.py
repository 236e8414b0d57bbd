"""The documentation, compared with what it is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reference import COMMANDS_PAGE, DOCS, command_names, commands_page
from taxiway.cli import COMMANDS, stack
from taxiway.errors import TaxiwayError
from taxiway.settings import SETTINGS, SPARK_SETTING

ROOT = DOCS.parent
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# A path in backticks that begins with one of our own folders or is one of our own files.
_PATH = re.compile(r"`((?:src|tests|docs|notebooks|benchmarks|images|\.ci)/[\w./-]+|Makefile|[a-z-]+\.(?:lock|toml))`")
_MADE_BY_USERS = {"taxiway.toml"}


def text_of(page: str) -> str:
    return (DOCS / "reference" / page).read_text(encoding="utf-8")


def test_the_command_reference_is_the_help_word_for_word() -> None:
    assert COMMANDS_PAGE.read_text(encoding="utf-8") == commands_page(), "run: .venv/bin/python tests/reference.py"


def test_every_exit_code_is_documented_with_its_error() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", text_of("exit-codes.md"), re.MULTILINE))
    assert rows == {str(error.exit_code): error.__name__ for error in (TaxiwayError, *TaxiwayError.__subclasses__())}


def test_every_setting_is_documented_with_its_variable_and_option() -> None:
    rows = re.findall(r"^\| `([\w.*]+)` \| `(\w+)` \| `(--[\w-]+)", text_of("settings.md"), re.MULTILINE)
    assert rows == [
        (setting.key, setting.variable, f"--{setting.key.replace('_', '-')}") for setting in (*SETTINGS, SPARK_SETTING)
    ]


def test_every_variable_that_the_source_reads_is_documented() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"\b(?:TAXIWAY|MLFLOW|AWS|AZURE|SPARK|PYSPARK)_[A-Z_]*[A-Z]\b|\bJAVA_HOME\b", source))
    constants = set(re.findall(r"^([A-Z_]+)(?::.*)? = ", source, re.MULTILINE))
    page = text_of("settings.md")
    assert sorted(name for name in named - constants if f"`{name}`" not in page) == []


@pytest.mark.parametrize("name", command_names())
def test_every_command_with_json_has_its_document_described(name: str) -> None:
    if "--json" in commands_page().split(f"## taxiway {name}\n")[1].partition("\n## ")[0]:
        assert f"\n## taxiway {name}\n" in text_of("json.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_path_names_something_that_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in _LINK.findall(_CODE_BLOCK.sub("", text)) if "://" not in link and link[0] != "#"]
    lost = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    paths = [path for path in _PATH.findall(text) if path not in _MADE_BY_USERS]
    lost += [path for path in paths if not (ROOT / path).exists()]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_and_between_pages_names_a_heading(page: Path) -> None:
    text = _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        target, hash_, anchor = link.partition("#")
        if hash_ and "://" not in link:
            other = (page.parent / target) if target else page
            assert anchor in _anchors(other), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"(?:^|`)(?:\$ )?taxiway ([a-z]+)", text, re.MULTILINE)
    assert sorted({name for name in shown if name not in COMMANDS}) == []
    shown = re.findall(r"(?:^|`)(?:\$ )?taxiway stack ([a-z]+)", text, re.MULTILINE)
    assert sorted({name for name in shown if name not in stack.COMMANDS}) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_word_shown_exists(page: Path) -> None:
    words = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(set(shown) - words) == []


def test_every_module_has_its_place_in_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "taxiway"
    modules = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    names = {f"{path.name}/" if path.is_dir() else path.name for path in modules} - {"__init__.py"}
    assert sorted(name for name in names if f"`{name}" not in page) == []
