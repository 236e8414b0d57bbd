"""Months read where they lie: the same facts as of a copy on this machine, from the ends of the files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from taxiway.errors import BadData, NotFound
from taxiway.trips.download import Wanted
from taxiway.trips.inplace import find_in_bucket
from taxiway.trips.months import Month
from taxiway.trips.published import MonthFiles
from taxiway.trips.schema import GREEN, LAYOUTS
from taxiway.trips.source import azure_folder, fetch, file_names
from trip_files import green_trips, write_trips

JANUARY, FEBRUARY = Month("green", 2023, 1), Month("green", 2023, 2)


@pytest.fixture
def trips(tmp_path: Path) -> Path:
    """A folder with a whole month."""
    write_trips(tmp_path / "trips", "green:2023-01", green_trips(500, "2023-01", 1))
    return tmp_path / "trips"


@pytest.fixture
def bucket() -> str:
    """The address of an empty place in the one store of fsspec that needs no network."""
    return f"memory://bucket-{uuid4().hex[:8]}"


def put(bucket: str, folder: Path) -> None:
    files, root = fsspec.filesystem("memory"), bucket.removeprefix("memory:/")
    for file in (file for file in folder.rglob("*") if file.is_file()):
        files.pipe_file(f"{root}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def find(bucket: str, *months: Month) -> tuple[MonthFiles, ...]:
    wanted = [
        Wanted(month, GREEN, file_names(GREEN, month), azure_folder(GREEN, month), Path("nowhere"))
        for month in months or (JANUARY,)
    ]
    return find_in_bucket(wanted, bucket, 5.0, 2)


def here(folder: Path, *months: Month) -> tuple[MonthFiles, ...]:
    from taxiway.settings import load_settings

    settings = load_settings({"home": folder / "home", "trips_source": str(folder)}, {}, folder)
    return fetch(months or (JANUARY,), settings, layouts=LAYOUTS)


def identity(found: MonthFiles) -> dict[str, Any]:
    names = ("month", "format", "rows", "size", "digest", "synthetic", "facts")
    return {name: getattr(found, name) for name in names}


def test_a_month_is_the_same_wherever_it_lies(trips: Path, bucket: str) -> None:
    put(bucket, trips)

    (there,), (copy,) = find(bucket), here(trips)

    assert identity(there) == identity(copy)
    assert there.paths == (f"memory://{bucket.removeprefix('memory:/')}/green_tripdata_2023-01.parquet",)
    assert there.source == bucket


def test_a_month_in_csv_is_read_whole_and_kept_nowhere(trips: Path, bucket: str, tmp_path: Path) -> None:
    table = pq.read_table(trips / "green_tripdata_2023-01.parquet")
    (tmp_path / "csv").mkdir()
    pyarrow.csv.write_csv(table, tmp_path / "csv" / "green_tripdata_2023-01.csv")
    put(bucket, tmp_path / "csv")

    (there,), (copy,) = find(bucket), here(tmp_path / "csv")

    assert identity(there) == identity(copy)
    assert there.format == "csv"
    assert there.facts[0].csv is not None


def test_a_month_of_several_files_is_found_in_its_folder(trips: Path, bucket: str, tmp_path: Path) -> None:
    table = pq.read_table(trips / "green_tripdata_2023-01.parquet")
    parts = tmp_path / "azure" / azure_folder(GREEN, JANUARY)
    parts.mkdir(parents=True)
    for number, part in enumerate((table.slice(0, 200), table.slice(200))):
        pq.write_table(part, parts / f"part-{number}.parquet")
    put(bucket, tmp_path / "azure")

    (there,), (copy,) = find(bucket), here(tmp_path / "azure")

    assert identity(there) == identity(copy)
    assert [path.rpartition("/")[2] for path in there.paths] == ["part-0.parquet", "part-1.parquet"]


def test_months_come_in_the_order_asked(trips: Path, bucket: str) -> None:
    write_trips(trips, "green:2023-02", green_trips(300, "2023-02", 2))
    put(bucket, trips)

    assert [item.month for item in find(bucket, FEBRUARY, JANUARY)] == [FEBRUARY, JANUARY]


def test_a_month_that_is_not_there_is_named(trips: Path, bucket: str) -> None:
    put(bucket, trips)

    with pytest.raises(NotFound, match=r"green:2023-02 is not in memory://bucket.*green_tripdata_2023-02\.parquet"):
        find(bucket, JANUARY, FEBRUARY)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty"), (b"<html>not found</html>", "it is not a Parquet file"), (None, "it is cut off")],
)
def test_a_file_that_is_not_whole_is_refused(content: bytes | None, words: str, trips: Path, bucket: str) -> None:
    file = trips / "green_tripdata_2023-01.parquet"
    file.write_bytes(file.read_bytes()[:-9] if content is None else content)
    put(bucket, trips)

    with pytest.raises(BadData, match=f"green_tripdata_2023-01.parquet is not a whole file of trips: {words}"):
        find(bucket)


def test_little_of_a_large_file_is_fetched(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_trips(tmp_path / "trips", "green:2023-01", green_trips(60_000, "2023-01", 3))
    put(bucket, tmp_path / "trips")
    fetched: list[int] = []
    kind = type(fsspec.filesystem("memory"))
    original = kind._open

    def counted(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        opened = original(self, path, mode, **options)
        read = opened.read
        opened.read = lambda size=-1: fetched.append(len(data := read(size))) or data
        return opened

    monkeypatch.setattr(kind, "_open", counted)
    find(bucket)

    assert file.stat().st_size > 500_000
    assert sum(fetched) < 20_000
