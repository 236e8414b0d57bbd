"""The pages of the documentation lead to each other, and what they show of Python is Python of ours."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import taxiway

ROOT = Path(__file__).parents[2]
_OTHERS = {"node_modules", "build", "dist"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every Markdown page of the repository, none of its tools."""
    found = (page.relative_to(ROOT) for page in ROOT.rglob("*.md"))
    return sorted(page for page in found if not any(part[0] == "." or part in _OTHERS for part in page.parts))


def links_of(page: Path) -> list[Path]:
    """The files of this repository that a page links to."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in _LINK.findall(text) if "://" not in link]
    return [(ROOT / page).parent.joinpath(target).resolve() for target in targets if target]


def code_of(notebook: Path) -> list[str]:
    """The code cells of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def python_in(page: Path) -> list[str]:
    """The blocks of Python on a page."""
    return [text for kind, text in _FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if kind == "python"]


PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_names_a_file_of_the_repository(page: Path) -> None:
    lost = [str(link) for link in links_of(page) if not link.exists() or not link.is_relative_to(ROOT)]
    assert lost == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.is_file():
            reached.add(page)
            waiting += links_of(page.relative_to(ROOT))
    assert [str(page) for page in PAGES if ROOT / page not in reached] == []


SHOWN = {
    **{str(page): python_in(page) for page in PAGES},
    **{str(file.relative_to(ROOT)): code_of(file) for file in sorted((ROOT / "notebooks").glob("*.ipynb"))},
}
"""Python that users are shown, by page or notebook."""


@pytest.mark.parametrize("place", SHOWN)
def test_python_that_is_shown_imports_from_taxiway_alone_and_names_what_it_has(place: str) -> None:
    for text in SHOWN[place]:
        tree = ast.parse(text)
        assert inner_modules(tree) == []
        assert set(names_of_taxiway(tree)) <= set(taxiway.__all__)


def names_of_taxiway(tree: ast.Module) -> list[str]:
    """What code reads from the package itself: ``taxiway.train``, ``from taxiway import Recipe``."""
    read = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_taxiway(node.value)]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "taxiway"]
    return [*read, *(alias.name for node in imports for alias in node.names)]


def inner_modules(tree: ast.Module) -> list[str]:
    """Modules inside the package that code imports."""
    parts = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    whole = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return [name for name in (*parts, *whole) if name.startswith("taxiway.")]


def _is_taxiway(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "taxiway"


def test_names_that_taxiway_lacks_are_found() -> None:
    tree = ast.parse("import taxiway\nfrom taxiway import Recipe, Cake\ntaxiway.bake()\n")
    assert sorted(set(names_of_taxiway(tree)) - set(taxiway.__all__)) == ["Cake", "bake"]


def test_imports_of_inner_modules_are_found() -> None:
    tree = ast.parse("import taxiway.store\nfrom taxiway.recipes import Recipe\nfrom taxiway import Rule\n")
    assert sorted(inner_modules(tree)) == ["taxiway.recipes", "taxiway.store"]
