"""Every type that Arrow has, in every kind of column: the right value, or the file is refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxiway.errors import BadData
from taxiway.settings import load_settings
from taxiway.trips.checking import check_trips
from taxiway.trips.published import read_facts
from taxiway.trips.schema import GREEN, Column, Layout
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTH = "green:2023-01"
FILE = "green_tripdata_2023-01.parquet"
PICKUP, DROPOFF = datetime(2023, 1, 10, 8, 0), datetime(2023, 1, 10, 8, 10, 0, 123456)
SECONDS = int(PICKUP.replace(tzinfo=UTC).timestamp())

WHOLE = {
    "int8": pa.array([1, None], pa.int8()),
    "int16": pa.array([1, None], pa.int16()),
    "int32": pa.array([1, None], pa.int32()),
    "int64": pa.array([1, None], pa.int64()),
    "uint8": pa.array([1, None], pa.uint8()),
    "uint16": pa.array([1, None], pa.uint16()),
    "uint32": pa.array([1, None], pa.uint32()),
    "uint64": pa.array([1, None], pa.uint64()),
    "bool": pa.array([True, None]),
    "float16": pa.array([np.float16(1), None], pa.float16()),
    "float32": pa.array([1, None], pa.float32()),
    "float64": pa.array([1, None], pa.float64()),
    "not a number": pa.array([1, float("nan")]),
    "decimal32": pa.array([Decimal(1), None], pa.decimal32(5, 2)),
    "decimal64": pa.array([Decimal(1), None], pa.decimal64(12, 2)),
    "decimal128": pa.array([Decimal(1), None], pa.decimal128(38, 9)),
    "decimal256": pa.array([Decimal(1), None], pa.decimal256(30, 2)),
    "string": pa.array([" 1.0 ", None]),
    "empty text": pa.array(["1", " "]),
    "null as text": pa.array(["1", "NULL"]),
    "large_string": pa.array(["1", None], pa.large_string()),
    "string_view": pa.array(["1", None], pa.string_view()),
    "binary": pa.array([b"1", None]),
    "large_binary": pa.array([b"1", None], pa.large_binary()),
    "binary_view": pa.array([b"1", None], pa.binary_view()),
    "fixed_size_binary": pa.array([b"1 ", None], pa.binary(2)),
    "dictionary": pa.array(["1", None]).dictionary_encode(),
    "dictionary of binary": pa.array([b"1", None]).dictionary_encode(),
}
TIMES = {
    "s": pa.array([PICKUP, None], pa.timestamp("s")),
    "ms": pa.array([PICKUP, None], pa.timestamp("ms")),
    "us": pa.array([PICKUP, None], pa.timestamp("us")),
    "ns": pa.array([PICKUP, None], pa.timestamp("ns")),
    "New York": pa.array([PICKUP.replace(hour=13), None], pa.timestamp("us", "America/New_York")),
    "New York, ns": pa.array([PICKUP.replace(hour=13), None], pa.timestamp("ns", "America/New_York")),
    "Kolkata": pa.array([PICKUP.replace(hour=2, minute=30), None], pa.timestamp("ms", "Asia/Kolkata")),
    "offset": pa.array([PICKUP.replace(hour=13), None], pa.timestamp("us", "-05:00")),
    "UTC": pa.array([PICKUP, None], pa.timestamp("us", "UTC")),
    "UTC, ns": pa.array([PICKUP, None], pa.timestamp("ns", "UTC")),
    "text": pa.array(["2023-01-10 08:00:00", None]),
    "text with T": pa.array(["2023-01-10T08:00:00.000", None]),
    "short text": pa.array(["2023-1-10 8:00", None]),
    "text of nanoseconds": pa.array(["2023-01-10 08:00:00.000000999", None]),
    "text in UTC": pa.array(["2023-01-10T08:00:00Z", None]),
    "text with an offset": pa.array(["2023-01-10 08:00:00-05:00", None]),
    "12 hours": pa.array(["01/10/2023 08:00:00 AM", None]),
    "12 hours, short": pa.array(["1/10/2023 8:00 am", None]),
    "24 hours": pa.array(["01/10/2023 08:00", None]),
    "24 hours, seconds": pa.array(["01/10/2023 08:00:00", None]),
    "bytes": pa.array([b"2023-01-10 08:00:00", None]),
    "seconds": pa.array([SECONDS, None], pa.int64()),
    "seconds in 32 bits": pa.array([SECONDS, None], pa.uint32()),
    "milliseconds": pa.array([SECONDS * 10**3, None], pa.int64()),
    "microseconds": pa.array([SECONDS * 10**6, None], pa.int64()),
    "nanoseconds": pa.array([SECONDS * 10**9, None], pa.int64()),
    "seconds as a double": pa.array([float(SECONDS), None]),
}
MEANINGLESS = {
    "list": pa.array([[1], None]),
    "struct": pa.array([{"a": 1}, None]),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "time32": pa.array([time(3), None], pa.time32("ms")),
    "time64": pa.array([time(3), None], pa.time64("us")),
    "duration": pa.array([timedelta(3), None], pa.duration("us")),
    "decimal of 60 digits": pa.array([Decimal(1), None], pa.decimal256(60, 2)),
}
NEVER_A_NUMBER = {
    "timestamp": pa.array([PICKUP, None], pa.timestamp("us")),
    "date32": pa.array([date(2023, 1, 10), None]),
    "date64": pa.array([date(2023, 1, 10), None], pa.date64()),
}
NEVER_A_TIME = {
    "bool": pa.array([True, None]),
    "float16": pa.array([np.float16(1), None], pa.float16()),
}


def write(folder: Path, rows: int = 2, **changes: Any) -> Path:
    columns = {
        "lpep_pickup_datetime": pa.array([PICKUP] * rows, pa.timestamp("us")),
        "lpep_dropoff_datetime": pa.array([DROPOFF] * rows, pa.timestamp("us")),
        "passenger_count": pa.array([1] * rows),
        "trip_distance": pa.array([2.0] * rows),
        "RatecodeID": pa.array([1] * rows),
        "payment_type": pa.array([1] * rows),
        "fare_amount": pa.array([10.0] * rows),
        "tip_amount": pa.array([2.0] * rows),
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / FILE, store_decimal_as_integer="decimal32" in str(changes))
    return folder / FILE


def read(spark: SparkSession, folder: Path, column: str) -> list[Any]:
    checked = check_trips(spark, fetch(MONTH, load_settings({"home": folder, "trips_source": folder}, {}, folder)))
    assert checked.unreadable == ()
    return [row[column] for row in checked.read().select(column).collect()]


def read_all(spark: SparkSession, folder: Path, kind: str, arrays: dict[str, Any]) -> dict[str, list[Any]]:
    """One file with a column of each type, read as columns of a canonical one: a scan for all of them."""
    columns = tuple(Column(f"c{number}", kind) for number in range(len(arrays)))
    layout = Layout("types", (Column("at", "timestamp_ntz", required=True), *columns), ("{month}.parquet",), time="at")
    table = {column.name: values for column, values in zip(columns, arrays.values(), strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"at": pa.array([PICKUP] * 2), **table}), folder / "2023-01.parquet")
    layouts = {"types": layout}
    settings = load_settings({"home": folder / "home", "trips_source": folder}, {}, folder)
    checked = check_trips(spark, fetch("types:2023-01", settings, layouts=layouts), layouts)
    assert checked.unreadable == ()
    rows = checked.read().collect()
    return {name: [row[column.name] for row in rows] for name, column in zip(arrays, columns, strict=True)}


def test_whole_numbers(spark: SparkSession, tmp_path: Path) -> None:
    assert read_all(spark, tmp_path, "int", WHOLE) == {key: [1, None] for key in WHOLE}


def test_numbers(spark: SparkSession, tmp_path: Path) -> None:
    found = read_all(spark, tmp_path, "double", WHOLE)
    assert np.isnan(found.pop("not a number")[1])
    assert found == {name: [1.0, None] for name in WHOLE if name != "not a number"}


def test_times(spark: SparkSession, tmp_path: Path) -> None:
    # A file writes its texts in one way: those of each way are read by themselves.
    ways = ({"12 hours", "12 hours, short"}, {"24 hours", "24 hours, seconds"})
    units = ({"milliseconds"}, {"microseconds"}, {"nanoseconds"})
    apart = set().union(*ways, *units)
    for names in ({name for name in TIMES if name not in apart}, *ways, *units):
        chosen = {name: TIMES[name] for name in TIMES if name in names}
        assert read_all(spark, tmp_path, "timestamp_ntz", chosen) == {key: [PICKUP, None] for key in chosen}


def test_int96(spark: SparkSession, tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path))
    pq.write_table(table, tmp_path / FILE, use_deprecated_int96_timestamps=True)
    assert read(spark, tmp_path, "pickup_at") == [PICKUP, PICKUP]
    assert read(spark, tmp_path, "dropoff_at") == [DROPOFF, DROPOFF]


def test_a_date_is_its_midnight(spark: SparkSession, tmp_path: Path) -> None:
    for kind in (pa.date32(), pa.date64()):
        write(tmp_path, lpep_pickup_datetime=pa.array([date(2023, 1, 10), None], kind))
        assert read(spark, tmp_path, "pickup_at") == [datetime(2023, 1, 10), None]


def test_instants_before_1970_and_in_the_hour_that_a_clock_repeats(spark: SparkSession, tmp_path: Path) -> None:
    instants = [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2023, 11, 5, 5, 30), datetime(2023, 11, 5, 6, 30)]
    for unit in ("us", "ns"):
        write(tmp_path, 3, lpep_pickup_datetime=pa.array(instants, pa.timestamp(unit, "America/New_York")))
        shown = [datetime(1969, 12, 31, 18, 59, 59, 999999), datetime(2023, 11, 5, 1, 30), datetime(2023, 11, 5, 1, 30)]
        assert read(spark, tmp_path, "pickup_at") == shown


@pytest.mark.parametrize("value", [0.0, -1.5, 65504.0, 6e-8, 0.333251953125])
def test_half_precision(spark: SparkSession, tmp_path: Path, value: float) -> None:
    write(tmp_path, trip_distance=pa.array([np.float16(value)] * 2, pa.float16()))
    assert read(spark, tmp_path, "trip_distance") == [float(np.float16(value))] * 2


def test_large_unsigned_numbers_keep_their_value(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, fare_amount=pa.array([2**63 + 2**11, 4_000_000_000], pa.uint64()))
    assert read(spark, tmp_path, "fare_amount") == [float(2**63 + 2**11), 4e9]


def test_text_columns_of_every_type(spark: SparkSession, tmp_path: Path) -> None:
    for values, shown in (
        (pa.array(["N", None]), ["N", None]),
        (pa.array([b"N", None]), ["N", None]),
        (pa.array([1, None]), ["1", None]),
        (pa.array([1.0, float("nan")]), ["1", None]),
        (pa.array([0.5, None]), ["0.5", None]),
        (pa.array([True, None]), ["true", None]),
    ):
        write(tmp_path, store_and_fwd_flag=values)
        assert read(spark, tmp_path, "store_and_fwd_flag") == shown


@pytest.mark.parametrize("name", MEANINGLESS)
def test_types_without_a_meaning_are_refused_when_the_file_is_looked_at(tmp_path: Path, name: str) -> None:
    for column in ("passenger_count", "lpep_pickup_datetime", "store_and_fwd_flag"):
        file = write(tmp_path, **{column: MEANINGLESS[name]})
        with pytest.raises(BadData, match=rf"{FILE}: the column '{column}' is of type .*, which means nothing there"):
            read_facts(file, GREEN, str(file))


@pytest.mark.parametrize(("column", "name"), [
    *(("trip_distance", name) for name in NEVER_A_NUMBER), *(("lpep_pickup_datetime", name) for name in NEVER_A_TIME)
])  # fmt: skip
def test_values_of_another_sort_than_their_column_are_refused(tmp_path: Path, column: str, name: str) -> None:
    values = (NEVER_A_NUMBER if column == "trip_distance" else NEVER_A_TIME)[name]
    file = write(tmp_path, **{column: values})
    with pytest.raises(BadData, match=f"the column '{column}' is of type"):
        read_facts(file, GREEN, str(file))


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "lz4"])
def test_compressions(spark: SparkSession, tmp_path: Path, codec: str) -> None:
    pq.write_table(pq.read_table(write(tmp_path)), tmp_path / FILE, compression=codec)
    assert read(spark, tmp_path, "passenger_count") == [1, 1]


def test_a_compression_that_spark_lacks_is_named(tmp_path: Path) -> None:
    file = write(tmp_path)
    pq.write_table(pq.read_table(file), file, compression="brotli")
    with pytest.raises(BadData, match=r"is compressed with brotli, which Spark cannot read\. Write it again"):
        read_facts(file, GREEN, str(file))


def test_a_column_without_any_value_may_have_any_name_and_no_type(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, passenger_count=pa.nulls(2), **{"a`b.c d": pa.array([1, 2])})
    assert read(spark, tmp_path, "passenger_count") == [None, None]
