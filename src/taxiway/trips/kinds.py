"""What stands in a column of a published file: a total map of Arrow's types, as data for any engine.

A `Kind` says what values a column holds, and under which SQL type Spark 4.3 reads them from Parquet; what they
become is said in `taxiway.trips.conversion`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Values = Literal[
    "boolean", "integer", "number", "half", "decimal", "text", "bytes", "wall clock", "nanoseconds", "instant", "date"
]

_MOST_DIGITS = 38
"""Digits of a decimal that Spark and DuckDB can hold."""


@dataclass(frozen=True)
class Kind:
    """What a column's values are.

    Parameters
    ----------
    values : str
        ``boolean``; ``integer`` and ``number`` (floating point) of any width; ``half`` (two bytes, as Parquet stores
        them); ``decimal``; ``text``; ``bytes`` that are meant as text; ``wall clock`` and ``instant`` in microseconds;
        ``nanoseconds`` since 1970, of a wall clock or of an instant; ``date``.
    spark : str
        The SQL type under which Spark reads it.
    zone : str
        The time zone that the file names for an instant; empty where there is none.
    """

    values: Values
    spark: str
    zone: str = ""


TEXT = Kind("text", "string")
"""What every column of a CSV file holds."""


def kind_of(arrow_type: Any, physical: str = "") -> Kind | None:
    """What a column of an Arrow type holds.

    Parameters
    ----------
    arrow_type : pyarrow.DataType
        Any type that Arrow has.
    physical : str, optional
        How Parquet stores it, ``INT96`` for one.

    Returns
    -------
    Kind or None
        None for a type that no column of a trip can have: a list, a structure, a time of day, a length of time, a
        decimal of more than 38 digits. A column of the type null holds nothing: see `is_empty`.
    """
    import pyarrow as pa

    types = pa.types
    if isinstance(arrow_type, pa.BaseExtensionType):
        return kind_of(arrow_type.storage_type, physical)
    if types.is_dictionary(arrow_type) or types.is_run_end_encoded(arrow_type):
        return kind_of(arrow_type.value_type, physical)
    if types.is_timestamp(arrow_type):
        return _time(arrow_type, physical)
    if types.is_decimal(arrow_type):
        digits, places = arrow_type.precision, arrow_type.scale
        return Kind("decimal", f"decimal({digits},{places})") if digits <= _MOST_DIGITS else None
    return next((kind for is_it, kind in _plain(types) if is_it(arrow_type)), None)


def is_empty(arrow_type: Any) -> bool:
    """Whether a column of this type can hold no value at all."""
    import pyarrow as pa

    return bool(pa.types.is_null(arrow_type))


def _plain(types: Any) -> tuple[tuple[Any, Kind], ...]:
    return (
        (types.is_boolean, Kind("boolean", "boolean")),
        # Unsigned integers need a wider type than their own width; of 64 bits, only a decimal holds them all.
        (types.is_uint64, Kind("decimal", "decimal(20,0)")),
        (types.is_uint32, Kind("integer", "bigint")),
        (types.is_int64, Kind("integer", "bigint")),
        (types.is_integer, Kind("integer", "int")),
        (types.is_float16, Kind("half", "binary")),
        (types.is_floating, Kind("number", "double")),
        (types.is_string, TEXT),
        (types.is_large_string, TEXT),
        (types.is_string_view, TEXT),
        (types.is_fixed_size_binary, Kind("bytes", "binary")),
        (types.is_binary, Kind("bytes", "binary")),
        (types.is_large_binary, Kind("bytes", "binary")),
        (types.is_binary_view, Kind("bytes", "binary")),
        (types.is_date, Kind("date", "date")),
    )


def _time(arrow_type: Any, physical: str) -> Kind:
    zone = arrow_type.tz or ""
    # INT96, the oldest way to store a time, is nanoseconds to Arrow and an ordinary timestamp to Spark.
    if arrow_type.unit == "ns" and physical != "INT96":
        return Kind("nanoseconds", "bigint", zone)
    return Kind("instant", "timestamp", zone) if zone else Kind("wall clock", "timestamp_ntz")
