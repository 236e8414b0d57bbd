"""Every published layout becomes the same canonical columns; dirt becomes null, times stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxiway.errors import BadData, UsageError
from taxiway.settings import Settings, load_settings
from taxiway.trips.checking import read_trips
from taxiway.trips.schema import LAYOUTS, TRIP_COLUMNS, Column, Layout
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CANONICAL = [(column.name, column.type) for column in TRIP_COLUMNS]
PICKUP, DROPOFF = datetime(2018, 5, 3, 23, 50, 1), datetime(2018, 5, 4, 0, 10, 2)
# Hours that a clock with daylight saving skips or repeats: as wall clocks of a file they are plain times.
SKIPPED, REPEATED = datetime(2018, 3, 11, 2, 30), datetime(2018, 11, 4, 6, 30)


def read(spark: SparkSession, folder: Path, months: str) -> DataFrame:
    settings: Settings = load_settings({"home": folder / "home", "trips_source": folder}, {}, folder)
    return read_trips(spark, fetch(months, settings))


def write(folder: Path, name: str, columns: dict[str, Any]) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)


def minimal(**changes: Any) -> dict[str, Any]:
    """One trip as the TLC publishes it, with the required columns alone."""
    return {
        "tpep_pickup_datetime": pa.array([PICKUP], pa.timestamp("us")),
        "tpep_dropoff_datetime": pa.array([DROPOFF], pa.timestamp("us")),
        "passenger_count": pa.array([2], pa.int64()),
        "trip_distance": pa.array([3.5]),
        "RatecodeID": pa.array([1], pa.int64()),
        "payment_type": pa.array([1], pa.int64()),
        "fare_amount": pa.array([14.0]),
        "tip_amount": pa.array([2.8]),
        **changes,
    }


EXPECTED = {
    "pickup_at": PICKUP,
    "dropoff_at": DROPOFF,
    "passenger_count": 2,
    "trip_distance": 3.5,
    "rate_code_id": 1,
    "payment_type": 1,
    "fare_amount": 14.0,
    "tip_amount": 2.8,
}


def only(frame: DataFrame) -> dict[str, Any]:
    (row,) = frame.collect()
    return {name: value for name, value in row.asDict().items() if name in EXPECTED}


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata"])
def any_zone(spark: SparkSession, request: pytest.FixtureRequest) -> Iterator[SparkSession]:
    """The session under several time zones, none of which may show."""
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", request.param)
    yield spark
    spark.conf.set("spark.sql.session.timeZone", before)


def test_tlc_parquet(any_zone: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, "yellow_tripdata_2018-05.parquet", minimal())
    frame = read(any_zone, tmp_path, "yellow:2018-05")
    assert frame.dtypes == [*CANONICAL, ("colour", "string"), ("month", "string")]
    assert only(frame) == EXPECTED
    row = frame.collect()[0]
    assert (row["colour"], row["month"], row["tolls_amount"]) == ("yellow", "2018-05", None)


def azure_trips(pickups: list[datetime]) -> dict[str, Any]:
    """Trips as Azure Open Datasets lays them out: camelCase, texts, wall clocks stored as UTC instants."""
    n = len(pickups)
    return {
        "vendorID": pa.array(["2"] * n),
        "tpepPickupDateTime": pa.array(pickups, pa.timestamp("us", tz="UTC")),
        "tpepDropoffDateTime": pa.array([DROPOFF] * n, pa.timestamp("us", tz="UTC")),
        "passengerCount": pa.array([2] * n, pa.int32()),
        "tripDistance": pa.array([3.5] * n),
        "puLocationId": pa.array(["43"] * n),
        "doLocationId": pa.array(["158"] * n),
        "rateCodeId": pa.array([1] * n, pa.int32()),
        "storeAndFwdFlag": pa.array(["N"] * n),
        "paymentType": pa.array(["Credit card"] * n),
        "fareAmount": pa.array([14.0] * n),
        "extra": pa.array([0.5] * n),
        "mtaTax": pa.array([0.5] * n),
        "improvementSurcharge": pa.array(["0.3"] * n),
        "tipAmount": pa.array([2.8] * n),
        "tollsAmount": pa.array([0.0] * n),
        "totalAmount": pa.array([18.1] * n),
        "startLon": pa.array([None] * n, pa.float64()),
    }


def test_azure_open_datasets(any_zone: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, "yellow/puYear=2018/puMonth=5/part-0.snappy.parquet", azure_trips([PICKUP]))
    frame = read(any_zone, tmp_path, "yellow:2018-05")
    assert only(frame) == EXPECTED
    row = frame.collect()[0]
    assert (row["vendor_id"], row["pickup_zone_id"], row["dropoff_zone_id"]) == (2, 43, 158)
    assert (row["improvement_surcharge"], row["store_and_fwd_flag"], row["total_amount"]) == (0.3, "N", 18.1)


def test_instants_keep_the_wall_clock_where_the_session_s_zone_skips_or_repeats_it(
    any_zone: SparkSession, tmp_path: Path
) -> None:
    times = [SKIPPED, REPEATED, REPEATED.replace(hour=5), PICKUP]
    write(tmp_path, "yellow/puYear=2018/puMonth=5/part-0.parquet", azure_trips(times))
    frame = read(any_zone, tmp_path, "yellow:2018-05")
    assert sorted(row["pickup_at"] for row in frame.collect()) == sorted(times)


def test_wall_clocks_keep_skipped_and_repeated_hours(any_zone: SparkSession, tmp_path: Path) -> None:
    pickup = pa.array([SKIPPED], pa.timestamp("us"))
    write(tmp_path, "yellow_tripdata_2018-05.parquet", minimal(tpep_pickup_datetime=pickup))
    assert only(read(any_zone, tmp_path, "yellow:2018-05"))["pickup_at"] == SKIPPED


def test_nanoseconds_and_text_times_are_read(spark: SparkSession, tmp_path: Path) -> None:
    changes = {
        "tpep_pickup_datetime": pa.array([str(PICKUP)]),
        "tpep_dropoff_datetime": pa.array([DROPOFF], pa.timestamp("ms")),
    }
    write(tmp_path, "yellow_tripdata_2018-05.parquet", minimal(**changes))
    assert only(read(spark, tmp_path, "yellow:2018-05")) == EXPECTED


def test_names_of_2009(spark: SparkSession, tmp_path: Path) -> None:
    columns = {
        "vendor_name": pa.array(["VTS", "CMT", "DDS"]),
        "Trip_Pickup_DateTime": pa.array(["2009-01-04 02:52:00"] * 3),
        "Trip_Dropoff_DateTime": pa.array(["2009-01-04 03:02:00"] * 3),
        "Passenger_Count": pa.array([1] * 3, pa.int64()),
        "Trip_Distance": pa.array([2.63] * 3),
        "Start_Lon": pa.array([-73.99] * 3),
        "Start_Lat": pa.array([40.72] * 3),
        "Rate_Code": pa.array([None] * 3, pa.float64()),
        "store_and_forward": pa.array([None] * 3, pa.float64()),
        "End_Lon": pa.array([-73.98] * 3),
        "End_Lat": pa.array([40.76] * 3),
        "Payment_Type": pa.array(["CASH", "Credit", "No Charge"]),
        "Fare_Amt": pa.array([8.9] * 3),
        "surcharge": pa.array([0.5] * 3),
        "mta_tax": pa.array([None] * 3, pa.float64()),
        "Tip_Amt": pa.array([0.0] * 3),
        "Tolls_Amt": pa.array([0.0] * 3),
        "Total_Amt": pa.array([9.4] * 3),
    }
    write(tmp_path, "yellow_tripdata_2009-01.parquet", columns)
    rows = read(spark, tmp_path, "yellow:2009-01").collect()
    assert [row["vendor_id"] for row in rows] == [2, 1, None]
    assert [row["payment_type"] for row in rows] == [2, 1, 3]
    first = rows[0]
    assert first["pickup_at"] == datetime(2009, 1, 4, 2, 52)
    assert (first["extra"], first["total_amount"], first["pickup_longitude"]) == (0.5, 9.4, -73.99)
    assert first["rate_code_id"] is None


def test_garbage_becomes_null_and_nothing_raises(spark: SparkSession, tmp_path: Path) -> None:
    dirt = ["", "abc", "1e999", "-1", "99999999999999999999", "NaN", " 7 ", "1.0", None]
    n = len(dirt)
    columns = {name: pa.array(dirt) for name in minimal()} | {"VendorID": pa.array(dirt), "extra": pa.nulls(n)}
    write(tmp_path, "yellow_tripdata_2018-05.parquet", columns)
    rows = read(spark, tmp_path, "yellow:2018-05").collect()
    assert [row["passenger_count"] for row in rows] == [None, None, None, -1, None, None, 7, 1, None]
    assert [row["payment_type"] for row in rows] == [None, None, None, -1, None, None, 7, 1, None]
    assert [row["fare_amount"] for row in rows][3] == -1.0
    assert [row["fare_amount"] for row in rows][:2] == [None, None]
    assert {row["pickup_at"] for row in rows} == {None}
    assert {row["extra"] for row in rows} == {None}


def test_whole_numbers_too_large_for_an_id_are_null(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, "yellow_tripdata_2018-05.parquet", minimal(payment_type=pa.array([2**40], pa.int64())))
    assert only(read(spark, tmp_path, "yellow:2018-05"))["payment_type"] is None


def test_csv(any_zone: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "yellow_tripdata_sample_2018-05.csv").write_text(
        "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,rate_code_id,pickup_location_id,"
        "payment_type,fare_amount,tip_amount\n"
        "2,2018-05-03 23:50:01,2018-05-04 00:10:02,2,3.5,1,43,1,14.0,2.8\n"
        "x,soon,,many,far,,,,-,\n"
    )
    first, second = read(any_zone, tmp_path, "yellow:2018-05").collect()
    assert {name: first[name] for name in EXPECTED} == EXPECTED
    assert first["pickup_zone_id"] == 43
    assert {second[name] for name in (*EXPECTED, "vendor_id")} == {None}


def test_months_of_different_layouts_are_one_frame(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, "yellow_tripdata_2018-05.parquet", minimal(congestion_surcharge=pa.nulls(1)))
    write(tmp_path, "yellow_tripdata_2018-06.parquet", minimal(PULocationID=pa.array(["43"])))
    write(tmp_path, "yellow/puYear=2018/puMonth=7/part-0.parquet", azure_trips([PICKUP]))
    green = {name.replace("tpep", "lpep"): column for name, column in minimal().items()}
    write(tmp_path, "green_tripdata_2018-05.parquet", green | {"ehail_fee": pa.nulls(1)})
    frame = read(spark, tmp_path, "yellow:2018-05..2018-07,green:2018-05")
    rows = {(row["colour"], row["month"]): row for row in frame.collect()}
    assert set(rows) == {("yellow", "2018-05"), ("yellow", "2018-06"), ("yellow", "2018-07"), ("green", "2018-05")}
    assert {row["pickup_at"] for row in rows.values()} == {PICKUP}
    assert [rows["yellow", f"2018-0{month}"]["pickup_zone_id"] for month in (5, 6, 7)] == [None, 43, 43]


def test_no_months_is_an_error(spark: SparkSession) -> None:
    with pytest.raises(UsageError, match="No months"):
        read_trips(spark, ())


def test_a_data_set_of_the_user_s_own(spark: SparkSession, tmp_path: Path) -> None:
    bikes = Layout(
        colour="bikes",
        columns=(Column("started_at", "timestamp_ntz", required=True), Column("metres", "double", ("how far",))),
        files=("bikes-{year}{mm}.csv",),
        time="started_at",
    )
    (tmp_path / "bikes-202001.csv").write_text("Started At,how far\n2020-01-05 10:00:00,1500\n")
    layouts = {**LAYOUTS, "bikes": bikes}
    settings = load_settings({"home": tmp_path / "home", "trips_source": tmp_path}, {}, tmp_path)
    files = fetch("bikes:2020-01", settings, layouts=layouts)
    (row,) = read_trips(spark, files, layouts).collect()
    assert row.asDict() == {
        "started_at": datetime(2020, 1, 5, 10),
        "metres": 1500.0,
        "colour": "bikes",
        "month": "2020-01",
    }
    write(tmp_path, "yellow_tripdata_2020-01.parquet", minimal())
    both = fetch("bikes:2020-01,yellow:2020-01", settings, layouts=layouts)
    with pytest.raises(UsageError, match="different columns"):
        read_trips(spark, both, layouts)


def test_a_missing_column_is_named_with_the_closest(spark: SparkSession, tmp_path: Path) -> None:
    columns = minimal()
    columns["fare_amnt"] = columns.pop("fare_amount")
    write(tmp_path, "yellow_tripdata_2018-05.parquet", columns)
    with pytest.raises(BadData, match=r"lacks the columns fare_amount \(closest: fare_amnt\)"):
        read(spark, tmp_path, "yellow:2018-05")
