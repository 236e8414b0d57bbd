"""Months and ranges of months, as people write them and as they mistype them."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxiway.errors import NotFound, UsageError
from taxiway.trips.months import Month, describe_months, parse_months

TODAY = date(2025, 6, 15)
MONTHS = st.builds(Month, st.sampled_from(["yellow", "green", "bikes-2"]), st.integers(2009, 2024), st.integers(1, 12))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("yellow:2018-05", ["yellow:2018-05"]),
        ("green:2022-11..2023-02", ["green:2022-11", "green:2022-12", "green:2023-01", "green:2023-02"]),
        ("yellow:2018-05..2018-05", ["yellow:2018-05"]),
        ("yellow:2018-02, green:2018-01", ["yellow:2018-02", "green:2018-01"]),
        ("yellow:2018-01..2018-03,yellow:2018-02..2018-04", [f"yellow:2018-0{n}" for n in (1, 2, 3, 4)]),
        ("my-own_data:1999-12", ["my-own_data:1999-12"]),
        ("yellow:2025-06", ["yellow:2025-06"]),
    ],
)
def test_months_are_read_in_the_order_given_each_once(text: str, found: list[str]) -> None:
    assert [str(month) for month in parse_months(text, TODAY)] == found


def test_a_sequence_of_texts_or_of_months_is_read_too() -> None:
    months = parse_months(["yellow:2018-01..2018-02", "green:2018-01"], TODAY)
    assert parse_months(months, TODAY) == months
    assert parse_months([str(month) for month in months], TODAY) == months


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "yellow", "yellow:", ":2018-05", "2018-05", "Yellow:2018-05", "yellow 2018-05"),
        *("yellow:2018", "yellow:2018-5", "yellow:18-05", "yellow:2018/05", "yellow:2018-05-01", "yellow:201805"),
        *("yellow:2018-05..", "yellow:..2018-05", "yellow:2018-05...2018-06", "yellow:2018-05.2018-06"),
        *("yellow:2018-05..yellow:2018-06", "yellow:2018-05-2018-06", "yellow:2018-05,", "yellow:-018-05"),
        *("yellow:2018-05..2018-06 x", "yellow:*", "../yellow:2018-05", "yellow:٢٠١٨-٠٥"),
    ],
)
def test_a_malformed_range_is_quoted_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a month or a range of months") as refused:
        parse_months(text, TODAY)
    assert "yellow:2018-05" in refused.value.remedy


@pytest.mark.parametrize("text", ["yellow:2018-00", "yellow:2018-13", "yellow:0000-01", "yellow:2018-05..2018-99"])
def test_a_month_that_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no calendar has"):
        parse_months(text, TODAY)


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'yellow:2018-06\.\.2018-05' ends before it starts"):
        parse_months("yellow:2018-06..2018-05", TODAY)


@pytest.mark.parametrize("text", ["yellow:2025-07", "yellow:2025-05..2025-07", "green:2026-01", "yellow:9999-12"])
def test_a_month_in_the_future_is_refused_and_the_newest_possible_named(text: str) -> None:
    with pytest.raises(NotFound, match="lies in the future") as refused:
        parse_months(text, TODAY)
    assert "2025-06" in refused.value.remedy


def test_a_month_knows_its_first_moment_and_the_first_after_it() -> None:
    december = Month("yellow", 2018, 12)
    assert (december.start, december.end) == (datetime(2018, 12, 1), datetime(2019, 1, 1))
    assert december.label == "2018-12"
    assert december < Month("yellow", 2019, 1)


@given(st.sets(MONTHS, min_size=1, max_size=30))
def test_writing_months_as_ranges_and_reading_them_gives_the_same_months(months: set[Month]) -> None:
    text = describe_months(months)
    assert set(parse_months(text, TODAY)) == months
    # Ranges are as long as they can be: no range begins where one of its colour ends.
    ends = {(part[-1].colour, part[-1].end) for part in map(parse_months, text.split(","))}
    assert not any((part[0].colour, part[0].start) in ends for part in map(parse_months, text.split(",")))
