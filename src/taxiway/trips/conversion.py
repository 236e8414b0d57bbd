"""How the values of a published column become those of a canonical one: SQL that engines can share, as data.

A value that is there and cannot be read becomes null, and is counted (`taxiway.trips.reading`). What may stand in a
text is said here by regular expressions, and never left to an engine's own cast, since those differ: one reads
``1_000`` as a thousand, another ``infinity`` as a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from taxiway.trips.kinds import Kind
from taxiway.trips.schema import Column

ABSENT = ("", "null", "none", "nan", "na", "n/a", r"\\n")
"""Texts that mean that there is no value, in lower case, as SQL literals hold them."""

USUAL_ZONES = ("America/New_York", "US/Eastern", "EST5EDT", "-05:00", "-04:00", "-0500", "-0400")
UTC_ZONES = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z", "Zulu", "Etc/Zulu", "Universal", "+00:00", "-00:00", "+0000")

DAY_FIRST = "^(1[3-9]|2[0-9]|3[01])/(0?[1-9]|1[0-2])/[0-9]{4}( .*)?$"
"""A date that can only be read with its day first."""

SLASHED_DATE = "^([0-9]{1,2}/[0-9]{1,2}/[0-9]{4})( .*)?$"
"""A date whose parts may stand in either order."""

ZONE_SUFFIX = " ?(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$"
"""What a text with a time may end with, to name its zone."""

_NUMBER = "^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_CLOCK = "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
_ISO = f"^[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}([T ]{_CLOCK}({ZONE_SUFFIX[:-1]})?)?$"
_US_DATE = "([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})"
_US_24 = f"^{_US_DATE} ({_CLOCK})$"
_US_12 = f"^{_US_DATE} ((0?[1-9]|1[0-2]):[0-9]{{2}}(:[0-9]{{2}})?) ?([AaPp])[.]?[Mm][.]?$"
_EPOCH = "timestamp_ntz'1970-01-01 00:00:00'"
# The years 2000 to 2100, in seconds since 1970: a number of them cannot be one of milliseconds.
_FIRST_SECOND, _LAST_SECOND = 946_684_800, 4_102_444_800


@dataclass(frozen=True)
class Conversion:
    """One way to read the values of a column.

    Parameters
    ----------
    name : str
        What a file's values are written as, in words; empty where there is one way alone.
    sql : str
        Spark SQL in which ``{v}`` stands for the value; null for what cannot be read so.
    """

    name: str
    sql: str

    def of(self, value: str) -> str:
        """The conversion of a column or an expression."""
        return self.sql.replace("{v}", value)


def conversions(column: Column, kind: Kind) -> tuple[Conversion, ...]:
    """All ways in which values of a kind may be those of a canonical column.

    Parameters
    ----------
    column : Column
    kind : Kind

    Returns
    -------
    tuple of Conversion
        None where such values mean nothing in this column. Where there are several, a file uses one of them.
    """
    if kind.values == "bytes":
        # Spark's own cast would keep bytes that are no text.
        inner = conversions(column, Kind("text", "string"))
        return tuple(Conversion(each.name, each.of("try_validate_utf8(cast({v} as string))")) for each in inner)
    if kind.values == "half":
        inner = conversions(column, Kind("number", "double"))
        return () if column.type == "timestamp_ntz" else tuple(Conversion("", each.of(_HALF)) for each in inner)
    ways = {"timestamp_ntz": _times, "int": _integers, "double": _numbers, "string": _texts}[column.type]
    return tuple(ways(column, kind))


def is_zone(name: str) -> bool:
    """Whether a time zone of that name exists: one of the IANA's list, or an offset such as ``-05:00``."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if re.fullmatch(r"[+-](0\d|1[0-8]):?[0-5]\d", name) or name in UTC_ZONES:
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def is_certain(column: Column, kind: Kind) -> bool:
    """Whether every value of the kind can be read, so that nothing has to be counted."""
    if kind.values == "boolean":
        return True
    if kind.values in ("text", "bytes"):
        return column.type == "string" and kind.values == "text"
    if column.type == "timestamp_ntz":
        return kind.values in ("wall clock", "nanoseconds", "instant", "date")
    return column.type != "int" or (kind.values, kind.spark) == ("integer", "int")


def presence(column: Column, kind: Kind) -> str:
    """SQL that tells whether there is a value at all, as a template like that of a `Conversion`."""
    if kind.values in ("text", "bytes"):
        text = "cast({v} as string)" if kind.values == "bytes" else "{v}"
        without_code = (word for word, code in column.codes.items() if not code)
        absent = ", ".join(f"'{word}'" for word in (*ABSENT, *without_code))
        return f"({{v}} is not null and lower({_trimmed(text)}) not in ({absent}))"
    # To pandas, not a number is what no value is.
    return "({v} is not null and not isnan({v}))" if kind.values == "number" else "({v} is not null)"


def _trimmed(value: str) -> str:
    return rf"btrim({value}, ' \t\r\n')"


# Parquet has the two bytes as they lie in memory, the lower one first: a sign, five bits of exponent, ten of fraction.
_BITS = "cast(conv(concat(hex(substring({v}, 2, 1)), hex(substring({v}, 1, 1))), 16, 10) as int)"
_HALF = (
    f"((1 - 2 * shiftright({_BITS}, 15)) * case shiftright({_BITS}, 10) & 31 "
    f"when 0 then ({_BITS} & 1023) * pow(2.0D, -24) "
    f"when 31 then case when {_BITS} & 1023 = 0 then double('Infinity') else double('NaN') end "
    f"else (1 + ({_BITS} & 1023) / 1024.0D) * pow(2.0D, (shiftright({_BITS}, 10) & 31) - 15) end)"
)


def _read_number(value: str) -> str:
    """A number that a text spells out; neither infinity nor what other languages call a number."""
    number = f"try_cast({_trimmed(value)} as double)"
    return f"case when {_trimmed(value)} rlike '{_NUMBER}' and abs({number}) < double('Infinity') then {number} end"


def _coded(column: Column, read: str) -> str:
    """Words that stand for a code of the TLC, before anything else is tried."""
    if not column.codes:
        return read
    words = " ".join(
        f"when '{word}' then {f'double({code})' if code else 'null'}" for word, code in column.codes.items()
    )
    return f"case lower({_trimmed('{v}')}) {words} else {read} end"


def _numbers(column: Column, kind: Kind) -> Iterator[Conversion]:
    if kind.values == "text":
        yield Conversion("", _coded(column, _read_number("{v}")))
    elif kind.values == "number":
        yield Conversion("", "{v}")
    elif kind.values == "boolean":
        yield Conversion("", "cast(cast({v} as int) as double)")
    elif kind.values in ("integer", "decimal"):
        yield Conversion("", "cast({v} as double)")


def _integers(column: Column, kind: Kind) -> Iterator[Conversion]:
    if kind.values == "boolean":
        yield Conversion("", "cast({v} as int)")
    elif kind.values == "integer":
        yield Conversion("", "{v}" if kind.spark == "int" else "try_cast({v} as int)")
    elif kind.values == "decimal":
        yield Conversion("", "case when {v} % 1 = 0 then try_cast({v} as int) end")
    else:
        # 1.0 is a whole number to a person, and to a file in which the column has nulls.
        for number in _numbers(column, kind):
            yield Conversion("", f"case when ({number.sql}) % 1 = 0 then try_cast(({number.sql}) as int) end")


def _texts(column: Column, kind: Kind) -> Iterator[Conversion]:
    if kind.values == "text":
        yield Conversion("", f"case when {presence(column, kind)} then {{v}} end")
    elif kind.values == "number":
        yield Conversion(
            "",
            "case when {v} % 1 = 0 and abs({v}) < 1e15D then cast(cast({v} as bigint) as string) "
            "when not isnan({v}) then cast({v} as string) end",
        )
    elif kind.values in ("boolean", "integer", "decimal"):
        yield Conversion("", "cast({v} as string)")


def _times(_: Column, kind: Kind) -> Iterator[Conversion]:
    if kind.values == "wall clock":
        yield Conversion("", "{v}")
    elif kind.values == "date":
        yield Conversion("", "cast({v} as timestamp_ntz)")
    elif kind.values == "nanoseconds":
        yield Conversion("", _in_zone(_since_1970("(({v} - pmod({v}, 1000L)) div 1000L)"), kind.zone))
    elif kind.values == "instant":
        # Counted, not converted: a session's zone with daylight saving has one name for two instants, and an hour
        # between that is lost.
        yield Conversion("", _in_zone(_since_1970("unix_micros({v})"), kind.zone))
    elif kind.values == "text":
        yield from _TEXT_TIMES
    elif kind.values in ("integer", "number", "decimal"):
        for unit, scale in (("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)):
            inside = f"{{v}} between {_FIRST_SECOND * scale}L and {_LAST_SECOND * scale}L"
            micros = (
                f"cast({{v}} * {10**6 // scale}L as bigint)" if scale <= 10**6 else "(cast({v} as bigint) div 1000L)"
            )
            yield Conversion(f"{unit} since 1970", f"case when {inside} then {_since_1970(micros)} end")


def _since_1970(micros: str) -> str:
    return f"timestampadd(MICROSECOND, {micros}, {_EPOCH})"


def _in_zone(utc: str, zone: str) -> str:
    """The wall clock of an instant; an instant in UTC is taken as the wall clock that it shows."""
    return utc if not zone or zone in UTC_ZONES else f"convert_timezone('UTC', '{zone}', {utc})"


def _text_times() -> Iterator[Conversion]:
    text = _trimmed("{v}")
    plain = f"regexp_replace({text}, '{ZONE_SUFFIX}', '')"
    yield Conversion(
        "yyyy-MM-dd HH:mm:ss", f"case when {text} rlike '{_ISO}' then try_cast({plain} as timestamp_ntz) end"
    )
    clock = f"try_cast(regexp_replace({text}, '{_US_12}', '$3-$1-$2 $4') as timestamp_ntz)"
    noon, twelve = f"{text} rlike '[Pp][.]?[Mm][.]?$'", f"{text} rlike ' 12:'"
    hours = f"case when {noon} then 12 else 0 end - case when {twelve} then 12 else 0 end"
    yield Conversion(
        "MM/dd/yyyy hh:mm:ss a", f"case when {text} rlike '{_US_12}' then timestampadd(HOUR, {hours}, {clock}) end"
    )
    written = f"regexp_replace({text}, '{_US_24}', '$3-$1-$2 $4')"
    yield Conversion(
        "MM/dd/yyyy HH:mm", f"case when {text} rlike '{_US_24}' then try_cast({written} as timestamp_ntz) end"
    )


_TEXT_TIMES = tuple(_text_times())
