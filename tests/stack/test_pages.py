"""What people see: both notebooks run in JupyterLab, and MLflow's pages, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from containers import Stack

from pictures import PLOTS, is_drawn
from taxiway import links

TRAINING, MANAGEMENT = "nyc_traffic_taxi_model.ipynb", "model_management.ipynb"

Drive = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def executed(stack: Stack, trips_in_work: str, drive: Drive) -> dict[str, Any]:
    """Both notebooks, opened and run in the browser one after the other, as they were saved."""
    drive("notebooks", url=stack.jupyter_url, token=stack.token, names=[TRAINING, MANAGEMENT])
    return {name: saved(stack, name) for name in (TRAINING, MANAGEMENT)}


@pytest.fixture(scope="module")
def in_production(stack: Stack, executed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The best run of the notebook's sweep, in production again after the second notebook deleted it."""
    for words in (("register", "tip"), ("promote", "tip", "--to", "staging"), ("promote", "tip", "--to", "production")):
        said = stack.exec("jupyterlab_spark", "taxiway", *words, "--json").stdout
    return json.loads(said)


def saved(stack: Stack, name: str) -> dict[str, Any]:
    answer = requests.get(
        f"{stack.jupyter_url}/api/contents/work/{name}",
        headers={"Authorization": f"token {stack.token}"},
        timeout=60,
    )
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()["content"]
    return found


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def written(notebook: dict[str, Any]) -> str:
    return "".join("".join(output["text"]) for output in outputs(notebook) if output["output_type"] == "stream")


def test_jupyterlab_asks_for_the_token_and_lets_in_who_has_it(stack: Stack, drive: Drive) -> None:
    seen = drive("login", url=stack.jupyter_url, token=stack.token)
    assert {TRAINING, MANAGEMENT} <= set(seen["files"])


@pytest.mark.parametrize("name", [TRAINING, MANAGEMENT])
def test_every_cell_ran_and_none_failed(executed: dict[str, Any], name: str) -> None:
    cells = [cell for cell in executed[name]["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for output in outputs(executed[name]) if output["output_type"] == "error"] == []


def test_the_notebooks_show_tables_and_pictures(executed: dict[str, Any]) -> None:
    kinds = {
        name: [kind for output in outputs(found) for kind in output.get("data", {})] for name, found in executed.items()
    }
    assert kinds[TRAINING].count("image/png") == 4
    assert kinds[MANAGEMENT].count("image/png") == 2
    assert kinds[TRAINING].count("text/html") >= 8
    assert "'payment_type' carries the model" in written(executed[TRAINING])
    assert re.search(r"tip/\d+: Staging -> Production", written(executed[MANAGEMENT]))


def test_the_notebooks_work_on_the_stack(stack: Stack, executed: dict[str, Any]) -> None:
    for name in (TRAINING, MANAGEMENT):
        assert f"MLflow: {links.experiments(stack.mlflow_url)}\n" in written(executed[name])


def test_the_notebooks_links_are_for_the_browser_outside(stack: Stack, executed: dict[str, Any]) -> None:
    shown = {name: set(re.findall(r"https?://[^/\s]+", written(found))) for name, found in executed.items()}
    assert shown == {TRAINING: {stack.mlflow_url}, MANAGEMENT: {stack.mlflow_url}}


def test_the_link_below_the_training_shows_its_runs_compared(
    stack: Stack, drive: Drive, executed: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    experiment = stack.mlflow("experiments/get-by-name?experiment_name=tip")["experiment"]["experiment_id"]
    candidates = stack.mlflow(
        "runs/search", experiment_ids=[experiment], filter="tags.`taxiway.kind` = 'candidate'", max_results=10
    )["runs"]
    names = sorted(found["info"]["run_name"] for found in candidates)
    seen = drive("runs", link=linked(executed[TRAINING], "/runs?"), **account(stack), names=names)
    assert sorted(seen["compared"]) == names
    assert "holdout_roc_auc" in seen["metrics"]
    pictures: Path | None = request.config.getoption("--screenshots")
    if pictures:
        assert {name: is_drawn(pictures / name) for name in PLOTS} == dict.fromkeys(PLOTS, True)


def test_mlflow_shows_the_models_versions_and_their_stage(
    stack: Stack, drive: Drive, in_production: dict[str, Any]
) -> None:
    version = str(in_production["version"])
    seen = drive("registry", link=links.model(stack.mlflow_url, "tip"), **account(stack), version=version)
    assert f"Version {version}" in seen["versions"]
    assert seen["stage"] == "Production"
    assert "production" in seen["aliases"]


def test_every_link_opens_model_training_and_nothing_greets(
    stack: Stack, drive: Drive, executed: dict[str, Any], in_production: dict[str, Any]
) -> None:
    version = in_production["version"]
    commands = {
        "compare": (("compare", "tip"), "logistic_regression"),
        "models": (("models", "tip"), f"Version {version}"),
        "promote": (("promote", f"tip/{version}"), f"Version {version}"),
        "ui": (("ui", f"tip/{version}"), f"Version {version}"),
        "status": (("stack", "status"), "tip"),
    }
    said = {name: (stack.taxiway(*words).stdout, shows) for name, (words, shows) in commands.items()}
    opened = {name: {"link": mlflows_link(stack, text), "shows": shows} for name, (text, shows) in said.items()}
    # Nobody prints it; people type it.
    opened["home"] = {"link": stack.mlflow_url, "shows": "Recent Experiments"}
    seen = drive("visit", links=opened, **account(stack))["pages"]
    assert {name: (page["training"], page["greetings"]) for name, page in seen.items()} == dict.fromkeys(
        opened, (True, [])
    )


def test_mlflows_button_downloads_an_artifact(
    stack: Stack, drive: Drive, in_production: dict[str, Any], tmp_path: Path
) -> None:
    run_id = in_production["run_id"]
    info = stack.mlflow(f"runs/get?run_id={run_id}")["run"]["info"]
    wish = {"experiment": info["experiment_id"], "run": run_id, "artifact": "recipe.json"}
    drive("download", url=stack.mlflow_url, **account(stack), **wish, to=str(tmp_path / "recipe.json"))
    assert json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8"))["name"] == "tip"


def test_mlflows_pages_are_shut_without_a_password(stack: Stack) -> None:
    assert requests.get(stack.mlflow_url, timeout=30).status_code == 401


def linked(notebook: dict[str, Any], part: str) -> str:
    """The link that a notebook has written, of those that hold a text."""
    found: str = re.findall(rf"https?://\S*{re.escape(part)}\S*", written(notebook))[0]
    return found


def mlflows_link(stack: Stack, said: str) -> str:
    """The link to MLflow's pages in what a command has said."""
    (found,) = re.findall(rf"{stack.mlflow_url}/#/\S+", said)
    return str(found)


def account(stack: Stack) -> dict[str, str]:
    """Who looks: the reader's account is enough for all of it."""
    return {"user": "reader", "password": stack.accounts["reader"]}
