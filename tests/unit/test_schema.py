"""Every layout that trips were published in, mapped to the canonical columns by the one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxiway.errors import BadData
from taxiway.trips.schema import GREEN, LAYOUTS, TRIP_COLUMNS, YELLOW, Layout, match_columns

_2018 = (
    "VendorID tpep_pickup_datetime tpep_dropoff_datetime passenger_count trip_distance RatecodeID store_and_fwd_flag"
    " PULocationID DOLocationID payment_type fare_amount extra mta_tax tip_amount tolls_amount improvement_surcharge"
    " total_amount congestion_surcharge airport_fee"
)
_ZONES = {"pickup_zone_id", "dropoff_zone_id"}
_PLACES = {"pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude"}
_GREEN_ONLY = {"ehail_fee", "trip_type"}
_LATER = {"improvement_surcharge", "congestion_surcharge", "airport_fee", "cbd_congestion_fee"}

# Layout, header as published, canonical columns that it does not have.
PUBLISHED: dict[str, tuple[Layout, str, set[str]]] = {
    "yellow 2009": (
        YELLOW,
        "vendor_name Trip_Pickup_DateTime Trip_Dropoff_DateTime Passenger_Count Trip_Distance Start_Lon Start_Lat"
        " Rate_Code store_and_forward End_Lon End_Lat Payment_Type Fare_Amt surcharge mta_tax Tip_Amt Tolls_Amt"
        " Total_Amt",
        _ZONES | _LATER | _GREEN_ONLY,
    ),
    "yellow 2010": (
        YELLOW,
        "vendor_id pickup_datetime dropoff_datetime passenger_count trip_distance pickup_longitude pickup_latitude"
        " rate_code store_and_fwd_flag dropoff_longitude dropoff_latitude payment_type fare_amount surcharge mta_tax"
        " tip_amount tolls_amount total_amount",
        _ZONES | _LATER | _GREEN_ONLY,
    ),
    "yellow 2015, CSV of its time": (
        YELLOW,
        "VendorID tpep_pickup_datetime tpep_dropoff_datetime passenger_count trip_distance pickup_longitude"
        " pickup_latitude RateCodeID store_and_fwd_flag dropoff_longitude dropoff_latitude payment_type fare_amount"
        " extra mta_tax tip_amount tolls_amount improvement_surcharge total_amount",
        _ZONES | (_LATER - {"improvement_surcharge"}) | _GREEN_ONLY,
    ),
    "yellow 2015 and 2018": (YELLOW, _2018, _PLACES | _GREEN_ONLY | {"cbd_congestion_fee"}),
    "yellow 2023": (
        YELLOW,
        _2018.replace("airport_fee", "Airport_fee"),
        _PLACES | _GREEN_ONLY | {"cbd_congestion_fee"},
    ),
    "yellow 2025": (YELLOW, f"{_2018.replace('airport', 'Airport')} cbd_congestion_fee", _PLACES | _GREEN_ONLY),
    "green 2023": (
        GREEN,
        "VendorID lpep_pickup_datetime lpep_dropoff_datetime store_and_fwd_flag RatecodeID PULocationID DOLocationID"
        " passenger_count trip_distance fare_amount extra mta_tax tip_amount tolls_amount ehail_fee"
        " improvement_surcharge total_amount payment_type trip_type congestion_surcharge",
        _PLACES | {"airport_fee", "cbd_congestion_fee"},
    ),
    "yellow, Azure Open Datasets": (
        YELLOW,
        "vendorID tpepPickupDateTime tpepDropoffDateTime passengerCount tripDistance puLocationId doLocationId"
        " startLon startLat endLon endLat rateCodeId storeAndFwdFlag paymentType fareAmount extra mtaTax"
        " improvementSurcharge tipAmount tollsAmount totalAmount",
        (_LATER - {"improvement_surcharge"}) | _GREEN_ONLY,
    ),
    "green, Azure Open Datasets": (
        GREEN,
        "vendorID lpepPickupDatetime lpepDropoffDatetime passengerCount tripDistance puLocationId doLocationId"
        " pickupLongitude pickupLatitude dropoffLongitude dropoffLatitude rateCodeID storeAndFwdFlag paymentType"
        " fareAmount extra mtaTax improvementSurcharge tipAmount tollsAmount ehailFee totalAmount tripType",
        _LATER - {"improvement_surcharge"},
    ),
    "yellow sample as CSV": (
        YELLOW,
        "vendor_id pickup_datetime dropoff_datetime passenger_count trip_distance rate_code_id store_and_fwd_flag"
        " pickup_location_id dropoff_location_id payment_type fare_amount extra mta_tax tip_amount tolls_amount"
        " improvement_surcharge total_amount congestion_surcharge",
        _PLACES | _GREEN_ONLY | {"airport_fee", "cbd_congestion_fee"},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_column_finds_its_place_and_only_what_is_absent_is_null(name: str) -> None:
    layout, header, absent = PUBLISHED[name]
    published = header.split()
    matches = match_columns(layout, published, name)
    assert list(matches) == list(layout.column_names())
    assert {column for column, found in matches.items() if not found} == absent
    used = [name for found in matches.values() for name in found]
    assert sorted(used) == sorted(published), "each published column is used exactly once"


def test_columns_that_nobody_asked_for_are_left_aside() -> None:
    matches = match_columns(GREEN, [*PUBLISHED["green 2023"][1].split(), "duration", "__index_level_0__"], "odd")
    assert not {"duration", "__index_level_0__"} & {name for found in matches.values() for name in found}


@pytest.mark.parametrize("column", [column.name for column in TRIP_COLUMNS if column.required])
def test_each_required_column_is_asked_for(column: str) -> None:
    names = [name for name in YELLOW.column_names() if name != column]
    with pytest.raises(BadData, match=f"file lacks the columns {column} "):
        match_columns(YELLOW, names, "file")


def test_all_missing_columns_are_named_with_the_closest_ones() -> None:
    header = _2018.replace("fare_amount", "fare_amnt").replace("tip_amount", "tipp_amount").replace("passenger", "x")
    with pytest.raises(BadData) as refused:
        match_columns(YELLOW, header.split(), "may.parquet")
    message = str(refused.value)
    assert "may.parquet lacks the columns" in message
    assert "fare_amount (closest: fare_amnt)" in message
    assert "tip_amount (closest: tipp_amount)" in message
    assert "It has VendorID, tpep_pickup_datetime" in message


def test_a_file_without_any_column_says_so() -> None:
    with pytest.raises(BadData, match=r"nothing close to it.*It has no columns"):
        match_columns(YELLOW, [], "empty.parquet")


def test_no_published_name_stands_for_two_columns() -> None:
    stands_for: dict[str, str] = {}
    for column in TRIP_COLUMNS:
        for name in (column.name, *column.published_as):
            key = name.lower().replace("_", "")
            assert stands_for.setdefault(key, column.name) == column.name, name


def test_texts_of_other_layouts_stand_for_the_codes_of_the_tlc() -> None:
    codes = {column.name: column.codes for column in TRIP_COLUMNS}["payment_type"]
    assert {text: codes[text] for text in ("credit", "crd", "cash", "csh", "no charge", "dispute", "voided trip")} == {
        "credit": "1",
        "crd": "1",
        "cash": "2",
        "csh": "2",
        "no charge": "3",
        "dispute": "4",
        "voided trip": "6",
    }
    assert all(text == text.lower() for column in TRIP_COLUMNS for text in column.codes)


def test_the_headers_of_all_real_files_are_understood(real_trips: Path) -> None:
    from pyarrow.parquet import read_schema

    files = sorted(real_trips.rglob("*_tripdata_*.parquet"))
    assert files
    for file in files:
        names = read_schema(file).names
        matches = match_columns(LAYOUTS[file.name.split("_")[0]], names, file.name)
        left = set(names) - {name for found in matches.values() for name in found}
        assert left <= {"duration", "__index_level_0__"}, file.name


def test_the_headers_of_all_real_csv_files_are_understood(real_trips: Path) -> None:
    files = sorted(real_trips.rglob("*_tripdata_*.csv"))
    for file in files:
        with file.open(encoding="utf-8") as lines:
            names = next(lines).strip().split(",")
        matches = match_columns(LAYOUTS[file.name.split("_")[0]], names, file.name)
        assert set(names) <= {name for found in matches.values() for name in found}, file.name


@pytest.mark.parametrize(("sign", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_signs_than_commas_between_values_are_named(sign: str, called: str) -> None:
    with pytest.raises(BadData, match=f"trips.csv has {called} between its values"):
        match_columns(YELLOW, [sign.join(("VendorID", "tpep_pickup_datetime", "trip_distance"))], "trips.csv")
