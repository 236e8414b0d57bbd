"""The records of a CSV file, counted without Spark: ragged ones, blank lines, bytes of any kind."""

from __future__ import annotations

import io

import pytest

from taxiway.trips.csvfile import CsvShape, read_shape

HEADER = b"pickup,tip\n"


def shape(rest: bytes) -> CsvShape:
    return read_shape(HEADER, io.BytesIO(rest), ("pickup", "tip"))[0]


@pytest.mark.parametrize(
    ("rest", "records", "short", "long"),
    [
        (b"a,1\nb,2\n", 2, 0, 0),
        (b"a,1\nb,2", 2, 0, 0),
        (b"a,1\n\nb,2\n \t\n", 2, 0, 0),
        (b"a,1\n,\n", 2, 0, 0),
        (b"a,1\nb\nc,2,3\n", 3, 1, 1),
        (b'"a\nb",1\n', 1, 0, 0),
        (b"a,1\n\x99\xff\nb,2,\xe9\n", 3, 1, 1),
        (b"a,1\n\x00\x01\x02\n", 2, 1, 0),
        (b"", 0, 0, 0),
    ],
    ids=["plain", "no break at the end", "blank lines", "commas", "ragged", "quoted", "no text", "control", "nothing"],
)
def test_records_are_counted(rest: bytes, records: int, short: int, long: int) -> None:
    found = shape(rest)
    assert (found.records, found.short, found.long) == (records, short, long)


@pytest.mark.parametrize(("rest", "cut_off"), [(b"a,1\nb", True), (b"a\nb,1\n", False), (b"a,1\n\xe9", True)])
def test_a_short_record_at_the_end_is_a_file_that_was_cut_off(rest: bytes, cut_off: bool) -> None:
    assert shape(rest).cut_off is cut_off
