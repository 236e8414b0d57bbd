"""Two hundred generated files: each is read with the right values, or refused with its name and a reason.

The referee is the same file read by pyarrow (Parquet) or by Python's csv module, and its values converted here.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from taxiway.errors import TaxiwayError
from taxiway.java_faults import in_our_words
from taxiway.settings import Settings, load_settings
from taxiway.trips.checking import check_trips
from taxiway.trips.source import fetch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SEEDS = (20261128,)
FILES, LEAST_READ, LEAST_DAMAGED, LEAST_DOUBLE = 200, 40, 60, 60
NAMES = {
    "pickup_at": ("lpep_pickup_datetime", "Trip_Pickup_DateTime", "pickup_datetime", "LPEP_PICKUP_DATETIME"),
    "dropoff_at": ("lpep_dropoff_datetime", "dropoff_datetime"),
    "passenger_count": ("passenger_count", "passengerCount", "Passenger_Count"),
    "trip_distance": ("trip_distance", "tripDistance"),
    "rate_code_id": ("RatecodeID", "Rate_Code", "rate_code_id"),
    "payment_type": ("payment_type", "paymentType"),
    "fare_amount": ("fare_amount", "Fare_Amt"),
    "tip_amount": ("tip_amount", "Tip_Amt"),
}
TIMES, WHOLE = ("pickup_at", "dropoff_at"), ("passenger_count", "rate_code_id", "payment_type")
NEEDED = tuple(NAMES)
ABSENT = {"", "null", "none", "nan", "na", "n/a", r"\n"}


@dataclass
class Made:
    """A generated file, and what was done to it."""

    content: bytes
    suffix: str
    odd: list[str] = field(default_factory=list)
    damaged: bool = False


# What is generated: small columns of few values, in every type.
_moments = st.datetimes(datetime(2023, 1, 1), datetime(2023, 1, 31)).map(lambda at: at.replace(microsecond=0))
_small = st.integers(0, 120)
_amounts = st.integers(0, 20_000).map(lambda cents: cents / 100)
_zones = st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "+02:00", "Europe/Lisbon"])
_number_types = st.sampled_from(
    [
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.decimal128(20, 2), pa.decimal256(30, 3), pa.decimal128(9, 2)),
        *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.bool_()),
        *(pa.dictionary(pa.int32(), pa.string()), pa.time32("s"), pa.list_(pa.int64()), pa.date32(), pa.duration("s")),
    ]
)
_time_types = st.sampled_from(
    [pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")]
    + [pa.string(), pa.binary(), pa.date32(), pa.date64(), pa.int64(), pa.float64(), pa.time64("us"), pa.bool_()]
)
_text_times = st.sampled_from(["%Y-%m-%d %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M", "%Y-%m-%dT%H:%M:%S"])
_dirt = st.sampled_from(["$10.00", "2,50", "ten", "1_000", "NaN", "N/A", " 7 ", "1e3", "31/01/2023 08:00", "0x1F", "é"])
_DAMAGES = ("cut", "flip", "zeros", "tail", "head", "middle")


def _as_text(value: Any, form: str) -> str | None:
    return None if value is None else value.strftime(form) if isinstance(value, datetime) else str(value)


def _array(values: list[Any], kind: pa.DataType, form: str) -> pa.Array:
    """The values in an Arrow type; what a type cannot hold is null there."""
    if pa.types.is_dictionary(kind):
        return pa.array([_as_text(value, form) for value in values], pa.string()).dictionary_encode()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.array([_as_text(value, form) for value in values], kind)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = (_as_text(value, form) for value in values)
        return pa.array([None if text is None else text.encode() for text in texts], kind)
    return pa.array([_fitting(value, kind) for value in values], kind)


def _fitting(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(value, datetime):
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return int(value.replace(tzinfo=UTC).timestamp())
        return value.time() if pa.types.is_time(kind) else bool(value.minute) if pa.types.is_boolean(kind) else value
    plain: dict[Callable[[pa.DataType], bool], Callable[[Any], Any]] = {
        pa.types.is_boolean: bool,
        pa.types.is_integer: lambda number: int(number) if int(number) < 2 ** (kind.bit_width - 1) else None,
        pa.types.is_float16: np.float16,
        pa.types.is_floating: float,
        pa.types.is_decimal: lambda number: Decimal(str(number)),
        pa.types.is_list: lambda number: [int(number)],
        pa.types.is_date: lambda number: date(2023, 1, 1 + int(number) % 28),
        pa.types.is_duration: lambda number: timedelta(seconds=int(number)),
        pa.types.is_time: lambda number: datetime(2023, 1, 1, int(number) % 24).time(),
    }
    return next(make for fits, make in plain.items() if fits(kind))(value)


def one_in(draw: st.DrawFn, many: int) -> bool:
    """Whether something seldom happens this time: by a number that hypothesis does not prefer, as it does zero."""
    return draw(st.integers(0, many - 1)) == many // 2


@st.composite
def files(draw: st.DrawFn) -> Made:
    """A file of two to six trips, clean or with one oddity or more."""
    made = Made(b"", draw(st.sampled_from([".parquet", ".parquet", ".csv"])))
    rows = draw(st.integers(2, 6))
    form = draw(_text_times)
    names, columns = [], []
    for canonical, published in NAMES.items():
        name = draw(st.sampled_from(published))
        plain = _moments if canonical in TIMES else _small if canonical in WHOLE else _amounts
        values = draw(st.lists(st.one_of(plain, plain, plain, st.none()), min_size=rows, max_size=rows))
        names.append(name)
        columns.append(values)
        if one_in(draw, 30):
            made.odd.append("second column")
            names.append(draw(st.sampled_from([other for other in (*published, name.swapcase()) if other != name])))
            filled = draw(st.booleans())
            columns.append(
                [value if filled and columns[-1][at] is None else None for at, value in enumerate(values[::-1])]
            )
    if one_in(draw, 30):
        made.odd.append("column left out")
        at = draw(st.integers(0, len(names) - 1))
        del names[at], columns[at]
    write = _write_csv if made.suffix == ".csv" else _write_parquet
    made.content = write(draw, made, names, columns, form)
    return made


def _write_parquet(draw: st.DrawFn, made: Made, names: list[str], columns: list[list[Any]], form: str) -> bytes:
    arrays = []
    for name, values in zip(names, columns, strict=True):
        is_time = "date" in name.lower()
        kind = pa.timestamp("us") if is_time else pa.float64() if "." in str(values) else pa.int64()
        if one_in(draw, 7):
            kind = draw(_time_types if is_time else _number_types)
            made.odd.append(str(kind))
        if pa.types.is_timestamp(kind) and one_in(draw, 6):
            kind = pa.timestamp(kind.unit, draw(_zones))
            made.odd.append("zone")
        if not is_time and one_in(draw, 30):
            kind = pa.string()
            made.odd.append("dirt")
            values = [draw(_dirt) if draw(st.booleans()) else value for value in values]
        arrays.append(_array(values, kind, form))
    codec = draw(st.sampled_from(["snappy"] * 12 + ["zstd", "gzip", "lz4", "none", "brotli"]))
    if codec != "snappy":
        made.odd.append(codec)
    sink = io.BytesIO()
    table = pa.Table.from_arrays(arrays, names=names)
    pq.write_table(table, sink, compression=codec, use_dictionary=draw(st.booleans()), row_group_size=3)
    return sink.getvalue()


def _write_csv(draw: st.DrawFn, made: Made, names: list[str], columns: list[list[Any]], form: str) -> bytes:
    cells = [["" if value is None else _as_text(value, form) for value in values] for values in columns]
    if one_in(draw, 5):
        made.odd.append("dirt")
        cells[draw(st.integers(0, len(cells) - 1))][0] = draw(_dirt)
    records = [list(record) for record in zip(*cells, strict=True)]
    if one_in(draw, 5):
        made.odd.append("ragged")
        at = draw(st.integers(0, len(records) - 1))
        records[at] = records[at][:-1] if draw(st.booleans()) else [*records[at], draw(st.sampled_from(["", "7"]))]
    if one_in(draw, 5):
        made.odd.append("line break")
        names = [*names, "note"]
        records = [[*record, "a\nb, c"] for record in records]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(names)
    writer.writerows(records)
    if one_in(draw, 5):
        made.odd.append("byte order mark")
        return sink.getvalue().encode("utf-8-sig")
    return sink.getvalue().encode()


def _damage_some(made: Made) -> None:
    """Damage every other file, some of them twice: by its content, since hypothesis prefers some draws to others."""
    chance = np.random.default_rng(zlib.crc32(made.content))
    for _ in range(chance.choice((0, 0, 0, 0, 0, 1, 1, 1, 1, 2))):
        made.odd.append(kind := str(chance.choice(_DAMAGES)))
        made.damaged = True
        made.content = _damage(made.content, kind, chance.random(), int(chance.integers(1, 256)))


def _damage(content: bytes, kind: str, where: float, by: int) -> bytes:
    at = int(where * max(0, len(content) - 1))
    whole = bytearray(content)
    if kind == "cut":
        return content[:at]
    if kind == "middle":
        return content[: at // 2] + content[at // 2 + 7 :]
    if kind == "flip" and whole:
        whole[at] ^= by
    if kind == "zeros":
        whole[at : at + 16] = bytes(len(whole[at : at + 16]))
    if kind == "tail":
        return content + b"\0\1\2"
    if kind == "head":
        return content[3:]
    return bytes(whole)


# The referee.


def referee(made: Made) -> list[dict[str, list[Any]]] | None:
    """Each record's values under the canonical names, as plain Python values; None where the file is no file."""
    try:
        if made.suffix == ".csv":
            names, *records = csv.reader(io.StringIO(made.content.decode("utf-8-sig"), newline=""), strict=True)
            # A line of nothing but blanks is no record; one of nothing but commas is.
            rows = [record for record in records if len(record) > 1 or "".join(record).strip()]
            table = [(name, [row[at] if at < len(row) else None for row in rows]) for at, name in enumerate(names)]
        else:
            with pq.ParquetFile(io.BytesIO(made.content)) as file:
                read = file.read()
            names = read.schema.names
            table = [(name, _plain(read.column(at))) for at, name in enumerate(names)]
    except (pa.ArrowException, OSError, ValueError, csv.Error, NotImplementedError):
        return None
    keys = {re.sub("[^a-z0-9]", "", alias.lower()): canonical for canonical, all_ in NAMES.items() for alias in all_}
    found: list[dict[str, list[Any]]] = [{} for _ in (table[0][1] if table else ())]
    for name, values in table:
        canonical = keys.get(re.sub("[^a-z0-9]", "", name.lower()))
        for row, value in zip(found, values, strict=True):
            if canonical and value is not None:
                row.setdefault(canonical, []).append(value)
    return found


def _plain(column: Any) -> list[Any]:
    """A column's values; instants as the clock of their zone shows them, and in UTC as they are."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        micros = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()
        zone = _zone(kind.tz) if kind.tz else UTC
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        wall = [None if m is None else (epoch + timedelta(microseconds=m)).astimezone(zone) for m in micros]
        return [None if each is None else each.replace(tzinfo=None) for each in wall]
    return list(column.to_pylist())


def _zone(name: str) -> Any:
    if match := re.fullmatch(r"([+-])(\d\d):(\d\d)", name):
        minutes = int(match[2]) * 60 + int(match[3])
        return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    return ZoneInfo(name)


def agrees(canonical: str, answered: Any, values: list[Any]) -> bool:
    """Whether an answer is what stood in the file. A null stands for a value only where the value cannot be read."""
    there = [value for value in values if not _is_absent(value)]
    if answered is None:
        return not there
    if len(there) != 1:
        return False
    expected = _time(there[0]) if canonical in TIMES else _number(there[0])
    if expected is None:
        return False
    return answered == expected or (isinstance(answered, float) and math.isclose(answered, expected, rel_tol=1e-12))


def _is_absent(value: Any) -> bool:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip(" \t\r\n").lower() in ABSENT
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _number(value: Any) -> float | None:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(text, str):
        return float(text) if re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text, re.ASCII) else None
    return float(text)


def _time(value: Any) -> datetime | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M"):
            try:
                return datetime.strptime(value.strip(), form)
            except ValueError:
                continue
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)


@in_our_words
def answers(spark: SparkSession, options: Settings) -> list[Any]:
    """The trips as the library's functions read them, which tell in our words what Spark throws."""
    checked = check_trips(spark, fetch("green:2023-01", options), needed=NEEDED)
    return checked.read().select(*NAMES).collect()


@pytest.mark.parametrize("number", SEEDS)
def test_each_file_is_read_with_the_right_values_or_refused(
    spark: SparkSession, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    done: set[bytes] = set()

    @seed(number)
    @settings(
        max_examples=FILES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(files())
    def judge(made: Made) -> None:
        _damage_some(made)
        done.add(made.content)
        seen["damaged"] += made.damaged
        seen["more than one fault"] += len(made.odd) > 1
        seen[_judge(spark, made)] += 1

    judge()
    said = f"seed {number}: {len(done)} different files, {dict(seen)}"
    with capsys.disabled():
        sys.stdout.write(f"{said}\n")
    assert seen["read"] + seen["refused"] == FILES, said
    assert seen["read"] >= LEAST_READ, said
    assert seen["damaged"] >= LEAST_DAMAGED, said
    assert seen["more than one fault"] >= LEAST_DOUBLE, said


def _check_refusal(error: TaxiwayError, name: str, made: Made) -> None:
    said = (made.odd, str(error))
    assert error.exit_code == 4, said
    assert name in str(error), said
    assert "\n" not in str(error), said


def _judge(spark: SparkSession, made: Made) -> str:
    with TemporaryDirectory() as place:
        folder = Path(place)
        file = folder / f"green_tripdata_2023-01{made.suffix}"
        file.write_bytes(made.content)
        options = load_settings({"home": folder / "home", "trips_source": folder}, {}, folder)
        try:
            answered = answers(spark, options)
        except TaxiwayError as error:
            _check_refusal(error, file.name, made)
            return "refused"
    expected = referee(made)
    assert expected is not None, ("read, although the referee cannot", made.odd)
    assert len(answered) == len(expected), made.odd
    # Spark keeps the order of rows within a file this small.
    for row, values in zip(answered, expected, strict=True):
        wrong = {
            name: (row[name], values.get(name)) for name in NAMES if not agrees(name, row[name], values.get(name, []))
        }
        assert wrong == {}, made.odd
    return "read"
