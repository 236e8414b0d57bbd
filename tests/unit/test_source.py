"""Months of trips found in a folder, and what a file says about itself: no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taxiway.cli import taxiway
from taxiway.cli.fetch import describe_size
from taxiway.errors import BadData, MachineError, NotFound, UsageError
from taxiway.settings import Settings, load_settings
from taxiway.trips.months import Month
from taxiway.trips.published import read_facts
from taxiway.trips.remote import shown
from taxiway.trips.schema import GREEN, SYNTHETIC_KEY
from taxiway.trips.source import check_source, fetch

JANUARY = Month("green", 2023, 1)
FEBRUARY = Month("green", 2023, 2)
COLUMNS = {
    "lpep_pickup_datetime": datetime(2023, 1, 5, 8, 30),
    "lpep_dropoff_datetime": datetime(2023, 1, 5, 8, 45),
    "passenger_count": 1.0,
    "trip_distance": 2.5,
    "RatecodeID": 1.0,
    "payment_type": 1.0,
    "fare_amount": 12.5,
    "tip_amount": 2.0,
}


def trips(rows: int = 3, leave_out: str = "") -> pa.Table:
    return pa.table({name: [value] * rows for name, value in COLUMNS.items() if name != leave_out})


def write(folder: Path, name: str, table: pa.Table, **metadata: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table.replace_schema_metadata(metadata or None), path)
    return path


def settings_for(source: object, tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "trips_source": str(source)}, {}, tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "trips"
    write(place, "green_tripdata_2023-01.parquet", trips(3))
    write(place, "green_tripdata_2023-02.parquet", trips(4))
    return place


def test_a_folder_is_read_in_place_in_the_order_asked(folder: Path, tmp_path: Path) -> None:
    found = fetch("green:2023-02,green:2023-01..2023-02", settings_for(folder, tmp_path))

    assert [(item.month, item.rows) for item in found] == [(FEBRUARY, 4), (JANUARY, 3)]
    assert found[1].paths == (str(folder / "green_tripdata_2023-01.parquet"),)
    assert found[1].size == (folder / "green_tripdata_2023-01.parquet").stat().st_size
    assert found[1].source == str(folder)
    assert (found[1].format, found[1].synthetic) == ("parquet", False)
    assert found[1].facts[0].columns["pickup_at"] == ("lpep_pickup_datetime",)
    assert found[1].facts[0].columns["airport_fee"] == ()
    assert not (tmp_path / "home").exists()


def test_a_file_address_is_a_folder(folder: Path, tmp_path: Path) -> None:
    spaced = folder.rename(tmp_path / "my trips")

    found = fetch([JANUARY], settings_for(spaced.as_uri(), tmp_path))

    assert found[0].paths == (str(spaced / "green_tripdata_2023-01.parquet"),)


def test_the_digest_depends_on_content_and_not_on_place(folder: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    changed = tmp_path / "changed"
    write(changed, "green_tripdata_2023-01.parquet", trips(3).set_column(2, "passenger_count", [[1.0, 1.0, 2.0]]))

    here, there, other = (fetch([JANUARY], settings_for(at, tmp_path))[0] for at in (folder, elsewhere, changed))

    assert here.digest == there.digest
    assert len(here.digest) == 64
    assert here.digest != other.digest


def test_csv_is_taken_where_there_is_no_parquet(tmp_path: Path) -> None:
    write(tmp_path / "in", "green_tripdata_2023-01.csv", trips(5))

    found = fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))[0]

    assert (found.format, found.rows) == ("csv", 5)
    assert found.facts[0].columns["rate_code_id"] == ("RatecodeID",)
    write(tmp_path / "in", "green_tripdata_2023-01.parquet", trips(6))
    assert fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))[0].format == "parquet"


def test_a_month_of_several_files_in_the_layout_of_azure(tmp_path: Path) -> None:
    parts = tmp_path / "in" / "green" / "puYear=2023" / "puMonth=1"
    write(parts, "part-1.parquet", trips(2))
    write(parts, "part-0.parquet", trips(7))

    found = fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))[0]

    assert found.rows == 9
    assert [Path(path).name for path in found.paths] == ["part-0.parquet", "part-1.parquet"]
    write(parts, "part-2.parquet", trips(2, leave_out="passenger_count").append_column("Passenger_Count", [[1.0] * 2]))
    with pytest.raises(BadData, match=r"part-2.parquet and part-0.parquet have different columns"):
        fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))


def test_synthetic_trips_are_known_by_their_metadata(tmp_path: Path) -> None:
    write(tmp_path / "in", "green_tripdata_2023-01.parquet", trips(), **{SYNTHETIC_KEY: "7"})

    assert fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))[0].synthetic


def test_months_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    settings = settings_for(folder, tmp_path)

    with pytest.raises(NotFound, match=r"green:2022-12 is not in the folder .*green_tripdata_2022-12.parquet"):
        fetch("green:2022-12", settings)
    with pytest.raises(NotFound, match=r"green:2013-07 .* begin in 2013-08"):
        fetch("green:2013-07", settings)
    later = date.today().year + 1
    for future in (f"green:{later}-01", [Month("green", later, 1)]):
        with pytest.raises(NotFound, match="lies in the future"):
            fetch(future, settings)
    with pytest.raises(UsageError, match="Did you mean 'yellow'"):
        fetch("yelow:2018-05", settings)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "nowhere", tmp_path)

    with pytest.raises(NotFound, match=r"nowhere does not exist.*TAXIWAY_TRIPS_SOURCE"):
        fetch([JANUARY], settings)
    with pytest.raises(NotFound, match=r"nowhere does not exist"):
        check_source(settings)
    (tmp_path / "nowhere").mkdir()
    assert str(tmp_path / "nowhere") in check_source(settings)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"<html>Not found</html>" * 9, "it is not a Parquet file"),
        (b"PAR1" + bytes(300), "it is cut off"),
        (b"PAR1" + bytes(300) + (99).to_bytes(4, "little") + b"PAR1", "its footer cannot be read"),
        (b"PAR1" + bytes(300) + (999).to_bytes(4, "little") + b"PAR1", "it is cut off"),
    ],
)
def test_files_that_are_no_parquet_are_named(folder: Path, tmp_path: Path, content: bytes, why: str) -> None:
    (folder / "green_tripdata_2023-01.parquet").write_bytes(content)

    with pytest.raises(BadData) as caught:
        fetch([JANUARY], settings_for(folder, tmp_path))

    assert str(folder / "green_tripdata_2023-01.parquet") in caught.value.message
    assert why in caught.value.message
    assert "--trips-source" in caught.value.remedy


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_parquet_file_never_passes(folder: Path, tmp_path: Path, kept: float) -> None:
    path = folder / "green_tripdata_2023-01.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])

    with pytest.raises(BadData, match="cut off"):
        fetch([JANUARY], settings_for(folder, tmp_path))


def test_a_missing_column_is_named_with_the_closest(tmp_path: Path) -> None:
    table = trips(leave_out="tip_amount").append_column("tip_amont", [[1.0] * 3])
    write(tmp_path / "in", "green_tripdata_2023-01.parquet", table)

    with pytest.raises(BadData, match=r"lacks the columns tip_amount \(closest: tip_amont\)"):
        fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_empty_month_is_refused(tmp_path: Path, suffix: str) -> None:
    empty = pq.read_table(write(tmp_path, "some.parquet", trips())).slice(0, 0)
    write(tmp_path / "in", f"green_tripdata_2023-01.{suffix}", empty)

    with pytest.raises(BadData, match="holds no trips at all"):
        fetch([JANUARY], settings_for(tmp_path / "in", tmp_path))


def test_csv_files_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, "trips.csv", trips(40))
    whole = path.read_bytes()
    facts = read_facts(path, GREEN, "trips.csv")
    path.write_bytes(whole.replace(b"\n", b"\r\n\r\n", 1))
    assert read_facts(path, GREEN, "trips.csv").rows == facts.rows == 40

    path.write_bytes(whole[: whole.rindex(b",")])
    with pytest.raises(BadData, match=r"trips.csv .* last line is cut off"):
        read_facts(path, GREEN, "trips.csv")
    path.write_bytes(b"\xff\xfe\x00PAR1\n1,2\n")
    with pytest.raises(BadData, match="not a CSV file"):
        read_facts(path, GREEN, "trips.csv")
    path.write_bytes(b"<html><body>Not found</body></html>")
    with pytest.raises(BadData, match="lacks the columns"):
        read_facts(path, GREEN, "trips.csv")


@pytest.fixture
def nobody_in_particular() -> Iterator[None]:
    """A user whom permissions bind: root reads everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(os.getuid())


def test_what_may_not_be_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    # Not below tmp_path, which pytest closes to everybody but root where root runs the tests.
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        write(folder, "green_tripdata_2023-01.parquet", trips()).chmod(0)
        settings = settings_for(folder, tmp_path)
        request.getfixturevalue("nobody_in_particular")

        with pytest.raises(MachineError, match="may not be read"):
            fetch([JANUARY], settings)
        os.seteuid(os.getuid())


def test_the_real_trips(real_trips: Path, tmp_path: Path) -> None:
    found = fetch("green:2023-01..2023-02,yellow:2018-05", settings_for(real_trips, tmp_path))

    assert [item.rows for item in found] == [68_211, 64_809, 10_000]
    odd = fetch("green:2021-01..2021-02", settings_for(real_trips / "odd", tmp_path))
    assert all(item.facts[0].columns["pickup_zone_id"] == ("PULocationID",) for item in odd)
    sample = fetch("yellow:2018-05", settings_for(real_trips / "odd", tmp_path))[0]
    assert (sample.format, sample.rows) == ("csv", 10_000)


def test_a_folder_needs_no_network_library(folder: Path) -> None:
    program = (
        "import sys; from taxiway.settings import load_settings; from taxiway.trips.source import fetch;"
        f"fetch('green:2023-01', load_settings({{'trips_source': {str(folder)!r}}}));"
        "print([name for name in ('fsspec', 'aiohttp', 's3fs', 'adlfs', 'pyspark', 'mlflow') if name in sys.modules])"
    )

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://ana:s3cret@host:8443/trips/?sig=abc#x", "https://host:8443/trips"),
        ("https://token@host/trips", "https://host/trips"),
        ("s3://key:secret@bucket/prefix", "s3://bucket/prefix"),
        ("abfs://nyctlc@account.dfs.core.windows.net/", "abfs://nyctlc@account.dfs.core.windows.net"),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, kept: str) -> None:
    assert shown(address) == kept


def run(*arguments: str) -> Any:
    return CliRunner().invoke(taxiway, ["fetch", *arguments], standalone_mode=False, catch_exceptions=False)


def test_the_command_prints_a_table(folder: Path) -> None:
    answer = run("green:2023-01..2023-02", "--trips-source", str(folder))

    assert answer.exit_code == 0
    assert all(text in answer.stdout for text in ("green:2023-01", "green:2023-02", "kB", str(folder)))


def test_the_command_prints_json(folder: Path) -> None:
    document = json.loads(run("green:2023-02", "green:2023-01", "--json", "--trips-source", str(folder)).stdout)

    assert [entry["month"] for entry in document] == ["green:2023-02", "green:2023-01"]
    path = folder / "green_tripdata_2023-01.parquet"
    assert document[1] == {
        "month": "green:2023-01",
        "rows": 3,
        "bytes": path.stat().st_size,
        "digest": document[1]["digest"],
        "source": str(folder),
        "files": [str(path)],
        "synthetic": False,
    }


def test_sizes_are_written_for_people() -> None:
    assert [describe_size(size) for size in (0, 999, 1_500, 1_854_605, 2_000_000_000)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "1.9 MB",
        "2.0 GB",
    ]
