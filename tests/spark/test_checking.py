"""What cannot be read is counted, and too much of it refuses the file; rows, paths, zones and doubled columns."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxiway.errors import BadData, NotFound
from taxiway.settings import load_settings
from taxiway.trips.checking import CheckedTrips, check_trips
from taxiway.trips.findings import PADDED, RAGGED
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MONTH = "yellow:2018-05"
PARQUET, CSV = "yellow_tripdata_2018-05.parquet", "yellow_tripdata_2018-05.csv"
PICKUP, DROPOFF = datetime(2018, 5, 10, 20, 0), datetime(2018, 5, 10, 20, 10)
HEADER = (
    "tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,payment_type,fare_amount,"
    "tip_amount"
)
TRIP = "2018-05-10 20:00:00,2018-05-10 20:10:00,1,2.0,1,1,10.0,2.0"
NEEDED = ("pickup_at", "fare_amount", "passenger_count")


def check(spark: SparkSession, folder: Path, needed: tuple[str, ...] = NEEDED, months: str = MONTH) -> CheckedTrips:
    # A home may not have every name that a folder of trips may.
    settings = load_settings({"home": "/nowhere", "trips_source": folder}, {}, folder)
    return check_trips(spark, fetch(months, settings), needed=needed)


def write_csv(folder: Path, *lines: str, header: str = HEADER, end: str = "\n", name: str = CSV) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(end.join((header, *lines, "")).encode())


def write(folder: Path, rows: int = 1, name: str = PARQUET, **changes: Any) -> Path:
    columns = {
        "tpep_pickup_datetime": pa.array([PICKUP] * rows, pa.timestamp("us")),
        "tpep_dropoff_datetime": pa.array([DROPOFF] * rows, pa.timestamp("us")),
        "passenger_count": pa.array([1] * rows),
        "trip_distance": pa.array([2.0] * rows),
        "RatecodeID": pa.array([1] * rows),
        "payment_type": pa.array([1] * rows),
        "fare_amount": pa.array([10.0] * rows),
        "tip_amount": pa.array([2.0] * rows),
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


def values(checked: CheckedTrips, column: str) -> list[Any]:
    return [row[column] for row in checked.read().select(column).collect()]


@pytest.mark.parametrize(
    ("pickup", "dropoff"),
    [
        ("05/10/2018 08:00:00 PM", "05/10/2018 08:10:00 PM"),
        ("5/10/2018 8:00 pm", "5/10/2018 8:10 PM"),
        ("05/10/2018 20:00", "05/10/2018 20:10"),
        ("05/10/2018 20:00:00", "05/10/2018 20:10:00"),
        ("2018-05-10T20:00:00.000", "2018-05-10T20:10:00.000"),
    ],
)
def test_times_as_the_exports_write_them(spark: SparkSession, tmp_path: Path, pickup: str, dropoff: str) -> None:
    write_csv(tmp_path, TRIP.replace("2018-05-10 20:00:00", pickup).replace("2018-05-10 20:10:00", dropoff))
    checked = check(spark, tmp_path)
    assert (values(checked, "pickup_at"), values(checked, "dropoff_at")) == ([PICKUP], [DROPOFF])
    assert (checked.unreadable, checked.notes) == ((), ())


@pytest.mark.parametrize(
    ("clock", "hour"), [("12:30:00 AM", 0), ("12:30:00 PM", 12), ("01:30:00 AM", 1), ("11:30:00 PM", 23)]
)
def test_noon_and_midnight(spark: SparkSession, tmp_path: Path, clock: str, hour: int) -> None:
    write_csv(tmp_path, TRIP.replace("2018-05-10 20:00:00", f"05/10/2018 {clock}").replace("2018-05-10 20:10:00", ""))
    assert values(check(spark, tmp_path), "pickup_at") == [datetime(2018, 5, 10, hour, 30)]


def test_one_file_uses_one_way_to_write_times(spark: SparkSession, tmp_path: Path) -> None:
    odd = TRIP.replace("2018-05-10 20:00:00", "05/10/2018 20:00")
    write_csv(tmp_path, *[TRIP] * 199, odd)
    checked = check(spark, tmp_path)
    (found,) = checked.unreadable
    assert (found.column, found.count, found.present, found.sample) == ("pickup_at", 1, 200, "05/10/2018 20:00")
    assert values(checked, "pickup_at").count(None) == 1
    assert checked.notes == (
        f"1 values of pickup_at could not be read, such as '05/10/2018 20:00' in {tmp_path / CSV}",
    )
    write_csv(tmp_path, *[TRIP] * 97, *[odd] * 3)
    with pytest.raises(BadData, match=r"3 of 100 values of tpep_pickup_datetime cannot be read, such as '05/10"):
        check(spark, tmp_path)


def test_a_day_that_comes_first_is_refused_whatever_its_share(spark: SparkSession, tmp_path: Path) -> None:
    month_first = TRIP.replace("2018-05-10", "05/10/2018")
    write_csv(tmp_path, *[month_first] * 500, month_first.replace("05/10/2018 20:10", "13/05/2018 20:10"))
    with pytest.raises(
        BadData, match=r"'13/05/2018 20:10:00' in tpep_dropoff_datetime has its day first, not its month"
    ):
        check(spark, tmp_path, needed=())


def test_days_that_come_first_are_told_by_the_month_of_the_file(spark: SparkSession, tmp_path: Path) -> None:
    """The first twelve days of May: each of them is a date in either order."""
    write_csv(tmp_path, *[TRIP.replace("2018-05-10", f"{day:02}/05/2018") for day in range(1, 13)])
    with pytest.raises(BadData, match=r"'01/05/2018' in tpep_pickup_datetime has its day first, not its month"):
        check(spark, tmp_path, needed=())
    write_csv(tmp_path, *[TRIP.replace("2018-05-10", f"05/{day:02}/2018") for day in range(1, 13)])
    assert {value.month for value in values(check(spark, tmp_path), "pickup_at")} == {5}


@pytest.mark.parametrize(
    "dates",
    [
        # The same day in either order; a few trips of another month, as real files have; none of this month at all.
        ["05/05/2018"],
        ["05/01/2018", "05/02/2018", "04/05/2018", "06/05/2018"],
        ["06/07/2019", "08/09/2011"],
    ],
)
def test_dates_that_do_not_tell_are_read_with_their_month_first(
    spark: SparkSession, tmp_path: Path, dates: list[str]
) -> None:
    write_csv(tmp_path, *[TRIP.replace("2018-05-10", date) for date in dates])
    found = values(check(spark, tmp_path), "pickup_at")
    assert sorted(value.strftime("%m/%d/%Y") for value in found) == sorted(dates)


@pytest.mark.parametrize("fare", ["$10.00", '"2,50"', "1_000", "1e999", "Infinity", "0x10", "1.0d", "ten"])
@pytest.mark.parametrize("needed", [NEEDED, ()])
def test_numbers_that_cannot_be_read(spark: SparkSession, tmp_path: Path, fare: str, needed: tuple[str, ...]) -> None:
    write_csv(tmp_path, TRIP, TRIP.replace("10.0", fare))
    if needed:
        sample = fare.strip('"')
        with pytest.raises(BadData) as refused:
            check(spark, tmp_path, needed)
        assert f"1 of 2 values of fare_amount cannot be read, such as '{sample}'" in str(refused.value)
        assert refused.value.exit_code == 4
        return
    checked = check(spark, tmp_path, needed)
    assert checked.unreadable_in(checked.files[0].month) == {"fare_amount": 1}
    assert values(checked, "fare_amount") == [10.0, None]


def test_what_says_that_there_is_no_value_is_not_counted(spark: SparkSession, tmp_path: Path) -> None:
    words = ("", "NULL", "nan", "N/A", "None", r"\N")
    write_csv(tmp_path, *(TRIP.replace("10.0", word) for word in words))
    checked = check(spark, tmp_path)
    assert (checked.unreadable, values(checked, "fare_amount")) == ((), [None] * len(words))


@pytest.mark.parametrize("wrong", [2**40, -(2**40)])
def test_whole_numbers_out_of_range_and_fractions_are_counted(
    spark: SparkSession, tmp_path: Path, wrong: float
) -> None:
    for passengers in (pa.array([1] * 199 + [int(wrong)]), pa.array([1.0] * 199 + [1.5])):
        write(tmp_path, 200, passenger_count=passengers)
        checked = check(spark, tmp_path)
        assert checked.unreadable_in(checked.files[0].month) == {"passenger_count": 1}
        assert values(checked, "passenger_count")[-1] is None


def test_the_third_vendor_of_2009_is_known_and_has_no_code(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, 3, vendor_name=pa.array(["DDS", "CMT", "XYZ"]))
    checked = check(spark, tmp_path)
    assert values(checked, "vendor_id") == [None, 1, None]
    assert checked.unreadable_in(checked.files[0].month) == {"vendor_id": 1}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_two_columns_for_one_are_joined_or_refused(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    def make(first: list[float | None], second: list[float | None]) -> None:
        if kind == "parquet":
            write(tmp_path, 3, airport_fee=pa.array(first), Airport_fee=pa.array(second, pa.float64()))
            return
        cells = [
            ",".join("" if value is None else str(value) for value in pair) for pair in zip(first, second, strict=True)
        ]
        write_csv(tmp_path, *(f"{TRIP},{cell}" for cell in cells), header=f"{HEADER},airport_fee,Airport_fee")

    make([1.25, None, None], [None, 1.75, None])
    assert values(check(spark, tmp_path), "airport_fee") == [1.25, 1.75, None]
    make([1.25, None, 1.0], [None, 1.75, 1.0])
    with pytest.raises(BadData, match="two columns for airport_fee: 'airport_fee' and 'Airport_fee' both have a value"):
        check(spark, tmp_path)


def test_two_names_that_differ_by_more_than_case(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, 2, Tip_Amt=pa.array(["3", None]), tip_amount=pa.array([None, 2.0]))
    assert values(check(spark, tmp_path), "tip_amount") == [3.0, 2.0]


def test_the_same_name_twice(spark: SparkSession, tmp_path: Path) -> None:
    write_csv(tmp_path, f"{TRIP},", f"{TRIP.removesuffix(',2.0')},,3.0", header=f"{HEADER},tip_amount")
    assert values(check(spark, tmp_path), "tip_amount") == [2.0, 3.0]
    table = pq.read_table(write(tmp_path))
    pq.write_table(table.append_column("tip_amount", [[1.0]]), tmp_path / PARQUET)
    with pytest.raises(BadData, match="2 columns that are all called 'tip_amount'"):
        check(spark, tmp_path)


def test_time_zones_are_read_as_they_say_and_odd_ones_named_once(spark: SparkSession, tmp_path: Path) -> None:
    kolkata = pa.array([datetime(2018, 5, 10, 14, 30)], pa.timestamp("us", "Asia/Kolkata"))
    write(tmp_path, tpep_pickup_datetime=kolkata, tpep_dropoff_datetime=kolkata)
    checked = check(spark, tmp_path)
    assert values(checked, "pickup_at") == [PICKUP]
    assert checked.notes == (
        f"{tmp_path / PARQUET} gives its times in the time zone Asia/Kolkata: they are read as the clock shows there",
    )
    write(tmp_path, tpep_pickup_datetime=pa.array([PICKUP], pa.timestamp("us", "UTC")))
    (note,) = check(spark, tmp_path).notes
    assert note.endswith("gives its times in UTC: they are taken as they are, as New York local time")
    write(tmp_path, tpep_pickup_datetime=pa.array([PICKUP.replace(day=11, hour=0)], pa.timestamp("us", "US/Eastern")))
    checked = check(spark, tmp_path)
    assert (values(checked, "pickup_at"), checked.notes) == ([PICKUP], ())
    write(tmp_path, tpep_pickup_datetime=pa.array(["2018-05-10 20:00:00+02:00"]))
    checked = check(spark, tmp_path)
    assert values(checked, "pickup_at") == [PICKUP]
    assert "time zone +02:00" in checked.notes[0]


def test_a_time_zone_that_does_not_exist(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, tpep_pickup_datetime=pa.array([PICKUP], pa.timestamp("us", "Mars/Olympus")))
    with pytest.raises(BadData, match="'Mars/Olympus', and there is no such time zone"):
        check(spark, tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_with_quoted_line_breaks_a_byte_order_mark_and_blank_lines(
    spark: SparkSession, tmp_path: Path, end: str
) -> None:
    flag = f'{TRIP},"a{end}""b"", c"'
    write_csv(tmp_path, "", flag, TRIP + ",", "", flag, header=f"\ufeff{HEADER},store_and_fwd_flag", end=end)
    checked = check(spark, tmp_path)
    assert checked.files[0].rows == 3
    assert values(checked, "fare_amount") == [10.0] * 3
    found = values(checked, "store_and_fwd_flag")
    assert [text and text.replace("\r\n", "\n") for text in found] == ['a\n"b", c', None, 'a\n"b", c']


def test_records_with_too_few_or_too_many_values_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    long, trailing, short = f"{TRIP},7", f"{TRIP},,", TRIP.rpartition(",")[0]
    write_csv(tmp_path, short, *[trailing] * 150, *[TRIP] * 47, long, TRIP)
    checked = check(spark, tmp_path)
    assert checked.files[0].rows == 200
    assert checked.unreadable_in(checked.files[0].month) == {RAGGED: 1, PADDED: 1}
    # None of the values of the longer record is used: which of them is in its place cannot be told.
    assert values(checked, "fare_amount").count(None) == 1
    assert values(checked, "tip_amount").count(None) == 2
    write_csv(tmp_path, *[TRIP] * 8, TRIP.replace("10.0", "10,0"))
    with pytest.raises(BadData, match=r"1 of 9 records have more values than the header has names, such as '2018"):
        check(spark, tmp_path)


def test_a_quotation_mark_that_is_never_closed(spark: SparkSession, tmp_path: Path) -> None:
    write_csv(tmp_path, *[TRIP] * 3, TRIP.replace("10.0", '"10.0'), *[TRIP] * 3)
    with pytest.raises(BadData, match="is not a whole file of trips"):
        check(spark, tmp_path)


@pytest.mark.parametrize(
    "name", ["trips[12]", "trips*", "trips?", "{trips,trips1}", "a b%20c", "né 东京", "#1;x=y", "back\\slash", "it's"]
)
def test_a_folder_of_any_name_is_itself(spark: SparkSession, tmp_path: Path, name: str) -> None:
    write(tmp_path / "trips1", fare_amount=pa.array([99.0]))
    write(tmp_path / name, 2)
    assert values(check(spark, tmp_path / name), "fare_amount") == [10.0, 10.0]
    write_csv(tmp_path / name, TRIP, TRIP, TRIP, name="yellow_tripdata_2018-06.csv")
    assert values(check(spark, tmp_path / name, months="yellow:2018-06"), "fare_amount") == [10.0] * 3


def test_another_default_file_system_changes_nothing(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, 2)
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    before = hadoop.get("fs.defaultFS")
    hadoop.set("fs.defaultFS", "s3a://elsewhere")
    try:
        assert values(check(spark, tmp_path), "fare_amount") == [10.0, 10.0]
    finally:
        hadoop.set("fs.defaultFS", before)


def test_rows_that_come_back_are_compared_with_what_the_file_says(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, 5)
    write_csv(tmp_path, TRIP, TRIP, name="yellow_tripdata_2018-06.csv")
    settings = load_settings({"home": tmp_path / "home", "trips_source": tmp_path}, {}, tmp_path)
    files = fetch("yellow:2018-05..2018-06", settings)
    write(tmp_path, 4)
    with pytest.raises(
        BadData, match=rf"{PARQUET} holds 5 trips, and 4 were read. The file is damaged, or was changed"
    ):
        check_trips(spark, files)
    write(tmp_path, 5)
    write_csv(tmp_path, TRIP, name="yellow_tripdata_2018-06.csv")
    with pytest.raises(BadData, match=r"2018-06.csv holds 2 trips, and 1 were read"):
        check_trips(spark, files)


def test_several_months_are_told_apart(spark: SparkSession, tmp_path: Path) -> None:
    bad = pa.array(["ten"] + ["10"] * 199)
    write(tmp_path, 200, fare_amount=bad)
    write(tmp_path, 200, name="yellow_tripdata_2018-06.parquet", fare_amount=pa.array(["10"] * 200))
    checked = check(spark, tmp_path, months="yellow:2018-05..2018-06")
    may, june = (item.month for item in checked.files)
    assert (checked.unreadable_in(may), checked.unreadable_in(june)) == ({"fare_amount": 1}, {})
    assert checked.read(checked.files[1]).count() == 200
    assert checked.read().where("fare_amount is null").count() == 1


def test_a_folder_that_spark_wrote_is_a_file(spark: SparkSession, tmp_path: Path) -> None:
    trips = spark.read.parquet(f"file://{write(tmp_path / 'one', 10)}")
    trips.repartition(3).write.parquet(f"file://{tmp_path / PARQUET}")
    assert values(check(spark, tmp_path), "fare_amount") == [10.0] * 10
    (tmp_path / "empty" / PARQUET).mkdir(parents=True)
    with pytest.raises(NotFound, match="yellow:2018-05 is not in the folder"):
        check(spark, tmp_path / "empty")


def test_what_a_footer_says_of_values_is_not_taken_for_them(spark: SparkSession, tmp_path: Path) -> None:
    """A flipped byte in a page without a checksum: the statistics still say that all values are small."""
    start = datetime(2018, 5, 10, 20)
    columns = {name: [start] * 3 for name in ("tpep_pickup_datetime", "tpep_dropoff_datetime")}
    columns |= {name: [1.5] * 3 for name in ("trip_distance", "fare_amount", "tip_amount")}
    columns |= {name: [1] * 3 for name in ("PULocationID", "DOLocationID", "payment_type", "RatecodeID")}
    file = tmp_path / "yellow_tripdata_2018-05.parquet"
    table = pa.table({**columns, "passenger_count": pa.array([1, 123_456, 200_000], pa.int64())})
    pq.write_table(table, file, compression="none", use_dictionary=False)
    stood, stands = (number.to_bytes(8, "little") for number in (123_456, 123_456 + (241 << 32)))
    content = file.read_bytes()
    assert content.count(stood) == 1
    file.write_bytes(content.replace(stood, stands))
    checked = check(spark, tmp_path, needed=())
    (found,) = checked.unreadable
    assert (found.column, found.count, found.sample) == ("passenger_count", 1, str(123_456 + (241 << 32)))
    with pytest.raises(BadData, match="1 of 3 values of passenger_count cannot be read"):
        check(spark, tmp_path, needed=("passenger_count",))
