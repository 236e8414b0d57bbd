"""Links to MLflow's pages: which page, which view, which server; and the first page that MLflow's server sends."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from taxiway import links, ui
from taxiway.cli.options import mlflow_line
from taxiway.mlflow_pages import PREFERENCES, with_preferences
from taxiway.notebook import mlflow_link
from taxiway.settings import load_settings
from taxiway.training import Training

ROOT = Path(__file__).parents[2]
SERVER = "http://127.0.0.1:5000"
TRAINING = Training("tip", "abc", "def", "holdout_roc_auc", (), (), {}, {}, {}, False, 1.0, experiment_id="7")


def asked(link: str) -> tuple[str, dict[str, str]]:
    """The page of MLflow's that a link opens, and what it is told."""
    page = urlsplit(urlsplit(link).fragment)
    return page.path, {name: value for name, (value,) in parse_qs(page.query, strict_parsing=True).items()}


def settings(tmp_path: Path, **options: Any) -> Any:
    return load_settings({"home": tmp_path, **options}, {}, tmp_path)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        (links.experiments(SERVER), "/experiments"),
        (links.model(SERVER, "card-tip"), "/models/card-tip"),
        (links.version(SERVER, "tip", 12), "/models/tip/versions/12"),
        (links.model(SERVER, "50% of a?"), "/models/50%25%20of%20a%3F"),
    ],
)
def test_every_page_opens_in_the_view_of_model_training(link: str, path: str) -> None:
    assert link.startswith(f"{SERVER}/#/")
    assert asked(link) == (path, {"workflowType": "machine_learning"})


@pytest.mark.parametrize(("higher_is_better", "ascending"), [(True, "false"), (False, "true")])
def test_a_sweep_is_its_own_candidates_the_best_first(higher_is_better: bool, ascending: str) -> None:
    link = links.sweep(SERVER, "7", "abc", "holdout_rmse", higher_is_better)
    assert asked(link) == (
        "/experiments/7/runs",
        {
            "workflowType": "machine_learning",
            "searchFilter": "tags.mlflow.parentRunId = 'abc'",
            "orderByKey": "metrics.`holdout_rmse`",
            "orderByAsc": ascending,
            "compareRunsMode": "CHART",
        },
    )
    # A terminal and a notebook take the whole of it for a link.
    assert re.fullmatch(r"[\w:/.#?=&%-]+", link)


def test_a_server_behind_a_path_keeps_it() -> None:
    assert links.experiments("https://example.org/mlflow/").startswith("https://example.org/mlflow/#/experiments?")


@pytest.mark.parametrize(
    ("options", "server"),
    [
        ({"tracking_uri": "http://ana:s3cret@mlflow.example.org:5000"}, "http://mlflow.example.org:5000"),
        (
            {"tracking_uri": "http://mlflow_server:5000", "mlflow_pages": "http://127.0.0.1:5050"},
            "http://127.0.0.1:5050",
        ),
    ],
)
def test_what_a_server_shows_is_a_link_for_a_browser(options: Mapping[str, str], server: str, tmp_path: Path) -> None:
    found = settings(tmp_path, **options)
    link = links.sweep(server, "7", "abc", "holdout_roc_auc")
    assert mlflow_line(found, ui.sweep_page(TRAINING), "tip") == f"In MLflow: {link}"
    assert mlflow_link(found, TRAINING) == link
    assert mlflow_link(found) == links.experiments(server)


@pytest.mark.parametrize("options", [{}, {"tracking_uri": "postgresql+psycopg://db/mlflow"}])
def test_what_no_server_shows_is_a_command(options: Mapping[str, str], tmp_path: Path) -> None:
    found = settings(tmp_path, mlflow_pages="http://127.0.0.1:5050", **options)
    store = " --tracking-uri postgresql+psycopg://db/mlflow" if options else ""
    line = mlflow_line(found, ui.version_page("tip", 3), "tip/3")
    assert line == f"In MLflow: taxiway ui tip/3 --home {tmp_path}{store}"
    assert (mlflow_link(found, TRAINING), mlflow_link(found)) == ("taxiway ui tip", "taxiway ui")


def test_make_start_prints_the_same_link() -> None:
    script = (ROOT / "images" / "stack.sh").read_text(encoding="utf-8")
    (printed,) = re.findall(r"^MLflow +(\S+)", script, re.MULTILINE)
    assert printed.replace("${STACK_MLFLOW_PORT:-5000}", "5000") == links.experiments(links.on_this_machine(5000))


def test_no_other_module_writes_an_address_of_a_page() -> None:
    sources = (ROOT / "src" / "taxiway").rglob("*.py")
    # Examples of addresses that users write are none: what is put together is.
    found = {
        file.name for file in sources if re.search(r'f"https?://(?!{proxy)|/#/|workflowType=', file.read_text("utf-8"))
    }
    assert found == {"links.py"}


def test_the_first_page_carries_the_preferences_before_any_script() -> None:
    page = with_preferences('<!doctype html><html><head><meta charset="utf-8"/><script src="main.js"></script></head>')
    assert page.index("localStorage") < page.index("main.js")
    (given,) = re.findall(r"Object\.entries\((\{.*?\})\)\)", page)
    assert {name: json.loads(value) for name, value in json.loads(given).items()} == dict(PREFERENCES)
