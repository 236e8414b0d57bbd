"""Runs side by side, in a real store, as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sweeps import make_sweep

from taxiway.cli import taxiway
from taxiway.comparison import compare, draw_comparison, find_experiment, find_run, log_comparison, save_comparison
from taxiway.errors import NotFound, UsageError
from taxiway.settings import Settings
from taxiway.store import connect

SCORES = {"0.1": 0.6, "0.01": 0.8, "1.0": 0.7}


def test_the_newest_sweep_best_first(store: Settings, recipe: str) -> None:
    make_sweep(store, recipe, {"0.5": 0.99}, with_model=False)
    sweep = make_sweep(store, recipe, SCORES, with_model=False, tags={"taxiway.leakage": "payment_type,hour"})
    found = compare(recipe, store)
    assert (found.parent_run_id, found.metric, found.higher_is_better) == (sweep.parent, "holdout_roc_auc", True)
    assert [(row.params["regParam"], row.metrics["holdout_roc_auc"], row.best) for row in found.rows] == [
        ("0.01", 0.8, True),
        ("1.0", 0.7, False),
        ("0.1", 0.6, False),
    ]
    assert found.best is not None
    assert found.best.run_id == sweep.best
    assert found.best.leakage == ("payment_type", "hour")


def test_smaller_is_better_for_errors(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, SCORES, with_model=False, direction="min")
    assert [row.params["regParam"] for row in compare(recipe, embedded).rows] == ["0.1", "1.0", "0.01"]


def test_a_sweep_or_one_of_its_runs_may_be_named(embedded: Settings, recipe: str) -> None:
    older = make_sweep(embedded, recipe, {"0.1": 0.6, "0.2": 0.7}, with_model=False)
    make_sweep(embedded, recipe, {"0.5": 0.99}, with_model=False)
    assert compare(recipe, embedded, run=older.parent).parent_run_id == older.parent
    assert compare(recipe, embedded, run=older.runs[0]).parent_run_id == older.parent


def test_the_beginning_of_an_id_will_do_if_it_is_the_only_one(embedded: Settings, recipe: str) -> None:
    sweep = make_sweep(embedded, recipe, dict.fromkeys(map(str, range(20)), 0.5), with_model=False)
    assert compare(recipe, embedded, run=sweep.runs[3][:8]).parent_run_id == sweep.parent
    with pytest.raises(UsageError, match="too short for the beginning of a run's id"):
        compare(recipe, embedded, run=sweep.parent[:3])
    with pytest.raises(NotFound, match="no run"):
        compare(recipe, embedded, run="0000ffff")


def test_the_beginning_of_several_ids_is_refused(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)
    client = connect(embedded)
    with closing(sqlite3.connect(embedded.home / "mlflow.db")) as database, database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("UPDATE runs SET run_uuid = 'abcd' || substr(run_uuid, 5)")
    experiment = find_experiment(client, recipe)
    with pytest.raises(UsageError, match="The ids of 2 runs begin with 'abcd'"):
        find_run(client, experiment, recipe, "abcd")


def test_all_sweeps_but_only_the_same_test_decides(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, {"0.5": 0.99}, with_model=False, params={"holdout": "yellow:2011-01"})
    same = make_sweep(embedded, recipe, {"0.4": 0.9}, with_model=False)
    make_sweep(embedded, recipe, {"0.1": 0.6, "0.2": 0.7}, with_model=False)
    found = compare(recipe, embedded, all_sweeps=True)
    assert len(found.rows) == 4
    assert found.best is not None
    assert found.best.run_id == same.best


def test_what_did_not_finish_or_has_no_metric_is_never_best(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, {"0.1": 0.9}, with_model=False, status="FAILED")
    assert compare(recipe, embedded).best is None
    make_sweep(embedded, recipe, {"0.1": None, "0.2": float("nan"), "0.3": 0.5}, with_model=False)
    found = compare(recipe, embedded)
    assert [row.params["regParam"] for row in found.rows if row.best] == ["0.3"]


def test_unknown_names(embedded: Settings, recipe: str) -> None:
    with pytest.raises(NotFound, match=f"Train it: taxiway train {recipe}"):
        compare(recipe, embedded)
    make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)
    other = make_sweep(embedded, f"{recipe}-other", {"0.1": 0.6}, with_model=False)
    with pytest.raises(NotFound, match=f"Did you mean '{recipe}'"):
        compare(recipe[:-1], embedded)
    for run in ("abcd", "abc'd", other.best):
        with pytest.raises(NotFound, match=f"no run '{run}'"):
            compare(recipe, embedded, run=run)


def test_the_picture_is_kept_with_the_sweep(store: Settings, recipe: str, tmp_path: Path) -> None:
    sweep = make_sweep(store, recipe, SCORES, with_model=False)
    client = connect(store)
    log_comparison(client, compare(recipe, store))
    file = client.download_artifacts(sweep.parent, "comparison.png", str(tmp_path))
    assert Path(file).read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_every_run_and_the_best(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, {"0.0": 0.5, "0.001": 0.6, "1.0": 0.7}, with_model=False)
    figure = draw_comparison(compare(recipe, embedded))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("regParam", "roc_auc", "symlog")
    points = {tuple(map(float, point)) for collection in axes.collections for point in collection.get_offsets()}
    assert {(0.0, 0.5), (0.001, 0.6), (1.0, 0.7)} <= points
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"train", "holdout", "best"}


@pytest.mark.parametrize(
    ("values", "scale"), [(("0.001", "1"), "log"), (("1", "2"), "linear"), (("auto", "sqrt"), "linear")]
)
def test_the_axis_suits_the_values(embedded: Settings, recipe: str, values: tuple[str, str], scale: str) -> None:
    make_sweep(embedded, recipe, dict.fromkeys(values, 0.5), with_model=False)
    axes = draw_comparison(compare(recipe, embedded)).axes[0]
    assert axes.get_xscale() == scale
    if values[0] == "auto":
        assert {label.get_text() for label in axes.get_xticklabels()} == set(values)


def test_a_panel_for_each_hyper_parameter_and_a_sweep_without_runs(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, SCORES, with_model=False, searched=("regParam", "depth"), params={"depth": "3"})
    assert [axes.get_xlabel() for axes in draw_comparison(compare(recipe, embedded)).axes] == ["regParam", "depth"]
    make_sweep(embedded, recipe, {}, with_model=False)
    assert len(draw_comparison(compare(recipe, embedded)).axes) == 1


def test_a_picture_into_a_file(embedded: Settings, recipe: str, tmp_path: Path) -> None:
    make_sweep(embedded, recipe, SCORES, with_model=False)
    found = compare(recipe, embedded)
    save_comparison(found, tmp_path / "out.svg")
    assert "<svg" in (tmp_path / "out.svg").read_text()
    for file in (tmp_path / "out.docx", tmp_path / "nowhere" / "out.png"):
        with pytest.raises(UsageError, match="cannot be written"):
            save_comparison(found, file)
        assert not file.exists()


def test_the_commands_of_a_models_life(embedded: Settings, recipe: str, tmp_path: Path) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        options = ["--home", str(embedded.home)]
        result = CliRunner().invoke(taxiway, [*arguments, *options], standalone_mode=False)
        assert result.exit_code == code, result.output
        return result.stdout

    sweep = make_sweep(embedded, recipe, SCORES, tags={"taxiway.synthetic": "true"})
    rows = json.loads(run("compare", recipe, "--json"))
    assert [row["best"] for row in rows] == [True, False, False]
    assert {"run_id", "params", "metrics"} <= set(rows[0])
    table = run("compare", recipe, "--plot", str(tmp_path / "out.png"))
    assert sweep.best[:8] in table
    assert f"The best run is {sweep.best}" in table
    assert "synthetic" in table
    assert (tmp_path / "out.png").stat().st_size > 1000
    assert f"{recipe}/1 is registered" in run("register", recipe, "--tag", "owner=ana", "--description", "a try")
    assert "registered already" in run("register", recipe)
    assert json.loads(run("register", recipe, "--run", sweep.runs[0], "--json"))["version"] == 2
    assert f"{recipe}/1: None -> Staging" in run("promote", f"{recipe}/1", "--to", "staging")
    moved = json.loads(run("promote", recipe, "--to", "production", "--json"))
    assert (moved["stage"], moved["aliases"], len(moved["moves"])) == ("Production", ["production"], 1)
    listed = {item["version"]: item for item in json.loads(run("models", "--json"))}
    assert (listed[1]["stage"], listed[2]["stage"], listed[1]["run_id"]) == ("Production", "None", sweep.best)
    assert listed[1]["tags"]["owner"] == "ana"
    assert f"{recipe}/1 (synthetic)" in run("models", recipe)
    assert f"Deleted {recipe}/2" in run("delete", f"{recipe}/2", "--yes")
    gone = json.loads(run("delete", f"{recipe}/1", "--in-stage", "production", "--yes", "--json"))
    assert gone["registered_model"] is True
    assert "No model is registered yet" in run("models")
