"""Synthetic trips: like the real ones, labelled, the same for the same seed, and never in the place of real ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taxiway.cli import taxiway
from taxiway.cli.synth import parse_rows
from taxiway.errors import MachineError, Refused, UsageError
from taxiway.trips import synthetic_rows
from taxiway.trips.months import parse_months
from taxiway.trips.schema import LAYOUTS, SYNTHETIC_KEY, match_columns
from taxiway.trips.synthetic import SyntheticMonth, synthesize, tlc_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS = 200_000
REAL = ("green_tripdata_2023-01", "green_tripdata_2023-02", "yellow_tripdata_2018-01", "yellow_tripdata_2019-06")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, SyntheticMonth]:
    out = tmp_path_factory.mktemp("synthetic")
    months = "green:2023-01..2023-02,yellow:2018-01,yellow:2019-06,yellow:2025-03"
    return {item.path.stem: item for item in synthesize(months, ROWS, out, seed=7)}


def read(path: Path) -> pd.DataFrame:
    trips = pd.read_parquet(path)
    trips.columns = [name.replace("lpep_", "").replace("tpep_", "") for name in trips.columns]
    trips["seconds"] = (trips.dropoff_datetime - trips.pickup_datetime).dt.total_seconds()
    return trips


@pytest.fixture(scope="module", params=["green_tripdata_2023-01", "yellow_tripdata_2019-06"])
def trips(request: pytest.FixtureRequest, made: Mapping[str, SyntheticMonth]) -> pd.DataFrame:
    return read(made[request.param].path)


def test_files_have_the_tlc_names_the_rows_asked_for_and_the_label(made: Mapping[str, SyntheticMonth]) -> None:
    for item in made.values():
        metadata = pq.read_metadata(item.path)
        assert item.path.name == f"{item.month.colour}_tripdata_{item.month.label}.parquet"
        assert (item.rows, item.seed, metadata.num_rows) == (ROWS, 7, ROWS)
        assert pq.read_schema(item.path).metadata[SYNTHETIC_KEY.encode()] == b"7"


@pytest.mark.parametrize("name", REAL)
def test_columns_and_types_are_those_of_the_real_file(
    name: str, made: Mapping[str, SyntheticMonth], real_trips: Path
) -> None:
    real = pq.read_schema(real_trips / f"{name}.parquet").remove_metadata()
    assert pq.read_schema(made[name].path).remove_metadata().equals(real)


@pytest.mark.parametrize(
    "text", ["yellow:2011-01", "yellow:2023-02", "yellow:2025-03", "green:2014-01", "green:2025-03"]
)
def test_every_year_has_all_columns_that_the_table_of_layouts_requires(text: str) -> None:
    (month,) = parse_months(text)
    names = tlc_schema(month).names
    assert match_columns(LAYOUTS[month.colour], names, text)["pickup_zone_id"] == ("PULocationID",)
    assert ("cbd_congestion_fee" in names) == (month.year == 2025)


def test_same_seed_month_and_rows_give_the_same_file(
    made: Mapping[str, SyntheticMonth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taxiway.trips.synthetic._THREADS", 1)
    alone = synthesize("yellow:2019-06", ROWS, tmp_path, seed=7)[0].path
    assert alone.read_bytes() == made["yellow_tripdata_2019-06"].path.read_bytes()


def test_another_seed_month_or_block_gives_other_trips(made: Mapping[str, SyntheticMonth], tmp_path: Path) -> None:
    other_seed = read(synthesize("yellow:2019-06", ROWS, tmp_path, seed=8)[0].path)
    june, january = (read(made[f"yellow_tripdata_{month}"].path) for month in ("2019-06", "2018-01"))
    block = synthetic_rows.BLOCK
    for left, right in ((june, other_seed), (june, january), (june[:block], june[block : 2 * block])):
        size = min(len(left), len(right))
        assert (left.trip_distance[:size].to_numpy() == right.trip_distance[:size].to_numpy()).mean() < 0.05


def test_tips_by_card_alone_and_by_most_cards(trips: pd.DataFrame) -> None:
    card = trips.payment_type == 1
    assert (trips.tip_amount[~card] == 0).all()
    assert 0.85 < (trips.tip_amount[card] > 0).mean() < 0.97


def test_whether_a_card_tips_depends_on_the_trip_but_weakly(trips: pd.DataFrame) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    card = trips[(trips.payment_type == 1) & (trips.trip_distance > 0) & (trips.seconds > 0)]
    features = pd.DataFrame(
        {
            "hour": card.pickup_datetime.dt.hour,
            "miles": np.digitize(card.trip_distance, [0.5, 1, 2, 3, 5, 8, 12, 18]),
            "origin": card.PULocationID,
            "destination": card.DOLocationID,
        }
    )
    label, half = card.tip_amount > 0, len(card) // 2
    model = make_pipeline(
        OneHotEncoder(handle_unknown="ignore", min_frequency=50), LogisticRegression(C=0.3, max_iter=300)
    )
    model.fit(features[:half], label[:half])
    assert 0.57 < roc_auc_score(label[half:], model.predict_proba(features[half:])[:, 1]) < 0.75


def test_distance_makes_time_and_both_make_the_fare(trips: pd.DataFrame) -> None:
    usual = trips[(trips.trip_distance > 0.1) & (trips.trip_distance < 60) & trips.seconds.between(60, 7200)]
    usual = usual[(usual.RatecodeID == 1) & (usual.fare_amount > 0)]
    assert np.corrcoef(np.log(usual.trip_distance), np.log(usual.seconds))[0, 1] > 0.8
    by_meter = np.column_stack([np.ones(len(usual)), usual.trip_distance, usual.seconds / 60])
    fitted = by_meter @ np.linalg.lstsq(by_meter, usual.fare_amount, rcond=None)[0]
    assert np.corrcoef(fitted, usual.fare_amount)[0, 1] > 0.98
    mph = (usual.trip_distance / usual.seconds * 3600).groupby(usual.pickup_datetime.dt.hour).median()
    assert mph[4] > 1.2 * mph[16]


@pytest.mark.parametrize(("name", "fare"), [("yellow_tripdata_2018-01", 52), ("green_tripdata_2023-01", 70)])
def test_the_flat_rate_is_the_tlc_one(name: str, fare: float, made: Mapping[str, SyntheticMonth]) -> None:
    trips = read(made[name].path)
    flat = trips[(trips.RatecodeID == 2) & (trips.fare_amount > 0)]
    assert set(flat.fare_amount) == {fare}
    assert ((flat.PULocationID == 132) | (flat.DOLocationID == 132)).mean() > 0.95


def test_every_total_is_the_sum_of_its_parts(trips: pd.DataFrame) -> None:
    parts = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge"]
    other = trips[trips.VendorID != 1]
    total = other[parts].sum(axis=1) + other.congestion_surcharge.fillna(0)
    assert (total - other.total_amount).abs().max() < 0.005


def test_zones_stay_on_the_map_and_some_are_popular(trips: pd.DataFrame) -> None:
    for column in ("PULocationID", "DOLocationID"):
        assert trips[column].between(1, 265).all()
        assert trips[column].nunique() > 150
        assert trips[column].value_counts(normalize=True).iloc[0] > 0.02


def test_the_dirt_of_real_files_is_there(trips: pd.DataFrame) -> None:
    dirt = {
        "no passengers": trips.passenger_count == 0,
        "no distance": trips.trip_distance == 0,
        "no fare": trips.fare_amount == 0,
        "refund": trips.fare_amount < 0,
        "not after": trips.seconds <= 0,
        "a day long": trips.seconds.between(72_000, 86_400),
        "no charge": trips.payment_type == 3,
        "dispute": trips.payment_type == 4,
        "rate 99": trips.RatecodeID == 99,
        "years outside": trips.pickup_datetime.dt.year == 2009,
        "into the next month": trips.dropoff_datetime.dt.month == trips.pickup_datetime.dt.month.mode()[0] + 1,
    }
    found = {name: int(mask.sum()) for name, mask in dirt.items()}
    assert all(found.values()), found
    assert sum(mask.mean() for mask in dirt.values()) < 0.12, found


def test_a_refund_repeats_the_row_before_with_negative_amounts(trips: pd.DataFrame) -> None:
    refunds = np.flatnonzero(trips.total_amount < 0)
    money = [name for name in trips.columns if name.endswith(("amount", "surcharge", "tax")) or name == "extra"]
    before = trips.iloc[refunds - 1]
    assert set(before.payment_type) <= {3, 4}
    np.testing.assert_allclose(trips.iloc[refunds][money].astype(float), -before[money].astype(float))
    same = ["pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID", "payment_type"]
    assert (trips.iloc[refunds][same].to_numpy() == before[same].to_numpy()).all()


def test_green_files_leave_out_payment_passengers_rate_and_flag_together(made: Mapping[str, SyntheticMonth]) -> None:
    trips = read(made["green_tripdata_2023-01"].path)
    together = trips[["payment_type", "passenger_count", "RatecodeID", "store_and_fwd_flag"]].isna()
    assert 0.05 < together.all(axis=1).mean() < 0.09
    assert (together.all(axis=1) == together.any(axis=1)).all()
    assert trips.ehail_fee.isna().all()


def test_yellow_files_have_nulls_and_fees_from_the_years_on_that_real_ones_have(
    made: Mapping[str, SyntheticMonth],
) -> None:
    old, new = read(made["yellow_tripdata_2018-01"].path), read(made["yellow_tripdata_2025-03"].path)
    assert old.passenger_count.notna().all()
    assert old.congestion_surcharge.isna().all()
    assert old.airport_fee.isna().all()
    unrecorded = new.passenger_count.isna()
    assert 0.001 < unrecorded.mean() < 0.05
    assert (new.payment_type[unrecorded] == 0).all()
    assert {0.0, 1.75} <= set(new.Airport_fee)
    assert {0.0, 0.75} <= set(new.cbd_congestion_fee)


@pytest.mark.parametrize("name", ["green_tripdata_2023-01", "yellow_tripdata_2019-06"])
def test_marginals_are_close_to_the_real_ones(name: str, made: Mapping[str, SyntheticMonth], real_trips: Path) -> None:
    real, synthetic = read(real_trips / f"{name}.parquet"), read(made[name].path)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9, 0.98):
        for column in ("trip_distance", "seconds", "fare_amount", "total_amount"):
            expected, found = real[column].quantile(share), synthetic[column].quantile(share)
            assert found == pytest.approx(expected, rel=0.12, abs=0.2), (column, share)
    for column in ("payment_type", "passenger_count", "RatecodeID", "VendorID"):
        gap = real[column].value_counts(normalize=True) - synthetic[column].value_counts(normalize=True)
        assert gap.abs().max() < 0.04, column
    hours = [trips.pickup_datetime.dt.hour.value_counts(normalize=True).sort_index() for trips in (real, synthetic)]
    assert (hours[0] - hours[1]).abs().sum() < 0.08
    tips = [trips.tip_amount[trips.tip_amount > 0] for trips in (real, synthetic)]
    assert tips[1].median() == pytest.approx(tips[0].median(), rel=0.15)


def test_a_file_that_is_not_synthetic_is_never_replaced(tmp_path: Path) -> None:
    (made,) = synthesize("yellow:2018-02", 10, tmp_path)
    real = tmp_path / "yellow_tripdata_2018-03.parquet"
    pq.write_table(pq.read_table(made.path).replace_schema_metadata(None), real)
    before = real.read_bytes()
    with pytest.raises(Refused, match=r"2018-03\.parquet holds trips that are not synthetic"):
        synthesize("yellow:2018-01..2018-03", 10, tmp_path)
    assert real.read_bytes() == before
    assert not (tmp_path / "yellow_tripdata_2018-01.parquet").exists(), "it refused before it began"


def test_a_file_that_is_no_parquet_is_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "green_tripdata_2023-01.parquet").write_text("a download that somebody wants to look at")
    with pytest.raises(Refused):
        synthesize("green:2023-01", 10, tmp_path)


def test_a_synthetic_file_is_replaced(tmp_path: Path) -> None:
    synthesize("green:2023-01", 10, tmp_path)
    (made,) = synthesize("green:2023-01", 20, tmp_path)
    assert pq.read_metadata(made.path).num_rows == 20


@pytest.mark.parametrize("rows", [1, 2, 3, synthetic_rows.BLOCK, synthetic_rows.BLOCK + 1])
def test_any_number_of_rows(rows: int, tmp_path: Path) -> None:
    for made in synthesize("green:2023-01,yellow:2019-08", rows, tmp_path):
        assert pq.read_table(made.path).num_rows == rows


@pytest.mark.parametrize(
    ("months", "rows", "seed"),
    [
        ("green:2023-01", 0, 0),
        ("green:2023-01", -5, 0),
        ("green:2023-01", 5, -1),
        ("yellow:2009-01", 5, 0),
        ("blue:2023-01", 5, 0),
    ],
)
def test_requests_that_make_no_sense(months: str, rows: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        synthesize(months, rows, tmp_path, seed=seed)
    assert not list(tmp_path.glob("*.parquet*"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(MachineError):
            synthesize("green:2023-01", 5, out)


def run_python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


FULL_DISK = """
import resource, sys
from pathlib import Path
from taxiway.errors import MachineError
from taxiway.trips.synthetic import synthesize
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    synthesize("green:2023-01", 300_000, Path(sys.argv[1]))
except MachineError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files stands in for a full disk: the same write fails in the same way.
    output, errors = run_python(FULL_DISK, tmp_path).communicate(timeout=60)
    assert "cannot be written" in output, errors
    assert not list(tmp_path.iterdir())


KILLED = """
import sys
from pathlib import Path
from taxiway.progress import Silent
from taxiway.trips.synthetic import synthesize
class Tell(Silent):
    def advance(self, task, by=1):
        print("begun", flush=True)
synthesize("yellow:2018-05", 1_000_000_000, Path(sys.argv[1]), progress=Tell())
"""


def test_killed_midway_it_leaves_no_file_that_passes_for_whole(tmp_path: Path) -> None:
    process = run_python(KILLED, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate(timeout=60)
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    synthesize("yellow:2018-05", 10, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["yellow_tripdata_2018-05.parquet"]


PEAK = """
import resource, sys
from pathlib import Path
from taxiway.trips.synthetic import synthesize
synthesize("yellow:2018-05", int(sys.argv[2]), Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (1_200_000, 4_000_000):
        output, errors = run_python(PEAK, tmp_path, str(rows)).communicate(timeout=120)
        peaks.append(int(output or errors))
    # The other 2.8 million rows are 400 MB of values.
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(
    ("text", "rows"), [("7_000_000", 7_000_000), ("100k", 100_000), ("7M", 7_000_000), ("1.5m", 1_500_000)]
)
def test_numbers_of_rows_as_people_write_them(text: str, rows: int) -> None:
    assert parse_rows(text) == rows


@pytest.mark.parametrize("text", ["", "many", "-5", "7G", "1e6"])
def test_numbers_of_rows_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rows(text)


def run_command(*arguments: str) -> str:
    return CliRunner().invoke(taxiway, ["synth", *arguments], standalone_mode=False, catch_exceptions=False).stdout


def test_the_command_lists_what_it_made(tmp_path: Path) -> None:
    listed = json.loads(run_command("green:2023-01..2023-02", "--rows", "1_000", "--seed", "7", "--json"))
    folder = tmp_path / "home" / "synthetic"
    assert listed == [
        {
            "month": f"green:2023-0{number}",
            "path": str(folder / f"green_tripdata_2023-0{number}.parquet"),
            "rows": 1000,
            "seed": 7,
        }
        for number in (1, 2)
    ]
    shutil.rmtree(folder)
    said = run_command("yellow:2018-05", "--rows", "2k", "--out", str(tmp_path / "here"))
    assert f"--trips-source {tmp_path / 'here'}" in said
    assert pq.read_metadata(tmp_path / "here" / "yellow_tripdata_2018-05.parquet").num_rows == 2000
