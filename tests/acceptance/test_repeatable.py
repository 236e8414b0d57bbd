"""The same data and seed give the same candidates and the same metrics, on one core and on two."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# More trials than Optuna is asked for at once.
TRAIN = ("train", "tip", "--train", "yellow:2018-01", "--holdout", "yellow:2018-02", "--trials", "5")


def test_trials_are_the_same_on_one_core_and_on_two(run_taxiway: Run, real_trips: Path, tmp_path: Path) -> None:
    def trained(cores: int) -> list[dict[str, dict[str, float]]]:
        place = ("--trips-source", str(real_trips), "--home", str(tmp_path / f"home of {cores}"))
        done = run_taxiway(*TRAIN, *place, "--spark", f"spark.master=local[{cores}]", "--json", timeout=500)
        assert done.returncode == 0, done.stderr
        runs: list[dict[str, dict[str, float]]] = json.loads(done.stdout)["runs"]
        return runs

    one, two = trained(1), trained(2)
    assert [run["params"] for run in one] == [run["params"] for run in two]
    for first, second in zip(one, two, strict=True):
        assert first["metrics"] == pytest.approx(second["metrics"], abs=1e-6)
