"""The recipe of one's own in the documentation, saved, trained and used with the commands that stand beside it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-recipe.md"
RIDES = 600


def block(language: str) -> str:
    """The one code block of a language on the page."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def write_rides(folder: Path, month: str, seed: int) -> None:
    """Rides as a bike-share system publishes them: casual riders and weekend rides are the long ones."""
    draw = np.random.default_rng(seed)
    start = np.datetime64(f"{month}-01T00:00:00", "us") + draw.integers(0, 27 * 86_400, RIDES).astype("timedelta64[s]")
    casual = draw.random(RIDES) < 0.4
    seconds = (draw.lognormal(6.3, 0.5, RIDES) * np.where(casual, 2.5, 1.0)).astype(int) + 60
    columns = {
        "ride_id": [f"{month}-{index}" for index in range(RIDES)],
        "rideable_type": draw.choice(["classic_bike", "electric_bike"], RIDES),
        "started_at": start,
        "ended_at": start + seconds.astype("timedelta64[s]"),
        # Rides that name no station, and stations that no other month has.
        "start_station_id": draw.choice(np.array([None, "S1", "S2", "S3", f"new in {month}"], dtype=object), RIDES),
        "member_casual": np.where(casual, "casual", "member"),
    }
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"bikes_{month}.parquet")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with the recipe's file and four months of rides."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "long_ride.py").write_text(block("python"), encoding="utf-8")
    for seed, month in enumerate(("2023-01", "2023-02", "2023-03", "2023-04")):
        write_rides(folder / "rides", month, seed)
    return folder


def test_the_recipe_of_the_page_has_fewer_than_forty_lines() -> None:
    assert len(block("python").splitlines()) < 40


def test_the_recipe_and_the_commands_of_the_page_work_as_they_stand(work: Path, run_taxiway: Run) -> None:
    printed = {}
    for line in block("sh").splitlines():
        program, command, *arguments = shlex.split(line)
        assert program == "taxiway"
        done = run_taxiway(command, *arguments, "--json", cwd=work, timeout=300)
        assert done.returncode == 0, done.stderr
        printed[command] = json.loads(done.stdout)

    best = next(run for run in printed["train"]["runs"] if run["run_id"] == printed["train"]["best_run_id"])
    assert 0.65 < best["metrics"]["holdout_roc_auc"] < 1.0
    assert [item["feature"] for item in printed["train"]["leakage"]][-2:] == ["rider_kind", "start_station"]
    assert printed["promote"]["stage"] == "Production"

    scored = printed["score"]
    assert (scored["model"], scored["version"], scored["rows"], scored["answered"]) == ("long-ride", 1, RIDES, RIDES)
    assert 0.65 < scored["metrics"]["roc_auc"] < 1.0
    rows = ds.dataset(scored["path"], partitioning="hive").to_table().to_pandas()
    assert len(rows) == RIDES
    assert rows["probability"].between(0, 1).all()
    # Learned, not made up: casual riders keep the bike longer.
    by_kind = rows.groupby("rider_kind")["probability"].mean()
    assert by_kind["casual"] > by_kind["member"] + 0.1
