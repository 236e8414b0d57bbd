"""The figures of synthetic trips as look-up tables: 16 random bits choose an entry.

A table of 65,536 entries is the inverse of a cumulative distribution: drawing from any
distribution is then one look-up, and nothing in a row is computed with more than a few bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from taxiway.trips.synthetic_figures import (
    CONGESTION_ZONES,
    FARE_LEVELS,
    FIGURES,
    KINDS,
    KNOTS,
    LAST_ZONE,
    LEVELS,
    RATE_CODES,
    TIP_LEVELS,
    UPTOWN_ZONES,
    Figures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from taxiway.trips.months import Month

    Array = NDArray[Any]

DRAWS = 1 << 16
LONGEST = 6000
"""Hundredths of a mile that tables by distance reach to."""

_LEVEL = (np.arange(DRAWS) + 0.5) / DRAWS
_NEW_TARIFF = datetime(2022, 12, 19)
_AIRPORTS = (1, 132, 138)
# Crossing toll by E-ZPass (US dollars) from a date on, as the crossings' operator published it.
_TOLLS = ((datetime(2009, 1, 1), 5.76), (datetime(2019, 3, 31), 6.12), (datetime(2021, 4, 11), 6.55))
_LATEST_TOLL = (datetime(2023, 8, 6), 6.94)
# Yellow files leave payment, passengers and rate out of some trips from this month on. The share
# is assumed: the files measured are older.
_YELLOW_UNRECORDED = (datetime(2019, 7, 1), 0.01)


@dataclass(frozen=True)
class Tariff:
    """What the TLC lets a meter charge, in cents, and how fares follow distance and time.

    Parameters
    ----------
    base, step, flat, newark, improvement, night, rush, rush_flat : int
        Cents: first unit, each further one, JFK's flat rate, Newark's surcharge, improvement
        surcharge, extra at night, on weekday afternoons, and then on the flat rate.
    start, per_mile, per_minute : float
        Fare in cents, fitted on metered trips: a unit is charged by distance or by time,
        whichever runs faster, so that neither shows alone.
    """

    base: int
    step: int
    flat: int
    newark: int
    improvement: int
    night: int
    rush: int
    rush_flat: int
    start: float
    per_mile: float
    per_minute: float


_OLD = Tariff(250, 50, 5200, 1750, 30, 50, 100, 450, 202, 184, 37)
_NEW = Tariff(300, 70, 7000, 2000, 100, 100, 250, 500, 231, 270, 48)


@dataclass(frozen=True)
class Tables:
    """Everything one month's trips are looked up in. Money is in cents, distance in hundredths of a mile."""

    figures: Figures
    tariff: Tariff
    colour: str
    start: datetime
    hour: Array
    hour_of_week: Array
    kind: Array
    rate: Array
    origin: Array
    destination: Array
    airport_ends: tuple[Array, Array]
    jfk_ends: tuple[Array, Array]
    miles: Array
    seconds: Array
    pace: Array
    normal: Array
    spread: Array
    extra: Array
    extra_flat: Array
    toll: Array
    toll_at_airports: Array
    toll_value: Array
    surcharged: Array
    congestion: int
    airport_fee: Array | None
    cbd_fee: Array
    cab: Array
    cab_vendor: Array
    cab_passengers: Array
    cab_flag: Array
    card: Array
    not_card: Array
    fares: dict[str, Array]
    tip_origin: Array
    tip_destination: Array
    tip_hour: Array
    tip_miles: Array
    tip_vendor: Array
    tip_chance: Array
    tip_share: Array


TIP_OFFSET = 1200
"""Log odds (x 100) that stand at the first entry of the table of chances."""


def build_tables(month: Month) -> Tables:
    """Build the tables of one month.

    Parameters
    ----------
    month : Month
        ``yellow`` or ``green``.

    Returns
    -------
    Tables
    """
    figures = FIGURES[month.colour]
    start = month.start
    # A month has the tariff of its first day.
    tariff = _NEW if start >= _NEW_TARIFF else _OLD
    hours = int((month.end - start).total_seconds()) // 3600
    of_week = (start.weekday() * 24 + np.arange(hours)) % 168
    normal = _normal()
    return Tables(
        figures=figures,
        tariff=tariff,
        colour=month.colour,
        start=start,
        hour=choose(np.array(figures.hours).reshape(-1)[of_week]).astype(np.uint16),
        hour_of_week=of_week.astype(np.uint8),
        kind=choose(_kind_shares(month)).astype(np.uint8),
        rate=np.array(RATE_CODES, np.int8),
        **_places(figures),
        miles=np.concatenate([_miles(figures, kind) for kind in KINDS]),
        seconds=_by_miles(figures.seconds, log=True).astype(np.float32),
        pace=np.array([figures.pace[hour >= 120][hour % 24] / 100 for hour in range(168)], np.float32),
        normal=normal,
        spread=np.exp(figures.spread * normal).astype(np.float32),
        **_surcharges(month, tariff),
        toll=_share(_by_miles(figures.toll)),
        toll_at_airports=_share(_by_miles(figures.toll_at_airports)),
        toll_value=_toll_values(start),
        **_cabs(figures),
        card=_share(_by_miles(figures.card)),
        not_card=(choose(figures.not_card) + 2).astype(np.uint8),
        fares={kind: (_quantiles(FARE_LEVELS, fares) * 100).astype(np.int32) for kind, fares in figures.fares.items()},
        **_tips(figures),
    )


def choose(weights: ArrayLike) -> Array:
    """The table that draws an index with these weights."""
    total = np.cumsum(np.asarray(weights, float))
    found: Array = np.searchsorted(total / total[-1], _LEVEL)
    return found


def _quantiles(levels: Sequence[float], values: Sequence[float]) -> NDArray[np.float64]:
    return np.exp(np.interp(_LEVEL, levels, np.log(np.maximum(values, 1e-3))))


def _by_miles(values: Sequence[float], log: bool = False) -> NDArray[np.float64]:
    at = np.log(np.maximum(np.arange(LONGEST + 1), 1) / 100)
    known = np.log(values) if log else np.asarray(values, float)
    found = np.interp(at, np.log(KNOTS), known)
    if log:  # beyond the knots a duration goes on growing with the distance
        found += np.maximum(at - np.log(KNOTS[-1]), 0) + np.minimum(at - np.log(KNOTS[0]), 0)
    return np.exp(found) if log else found


def _share(shares: NDArray[np.float64]) -> Array:
    return np.minimum(np.rint(shares * DRAWS), DRAWS - 1).astype(np.uint16)


def _normal() -> NDArray[np.float32]:
    # 4,096 quantiles of the normal distribution, each entered 16 times.
    levels = (np.arange(4096) + 0.5) / 4096
    inverse = NormalDist().inv_cdf
    return np.repeat(np.array([inverse(level) for level in levels], np.float32), DRAWS // 4096)


def _kind_shares(month: Month) -> NDArray[np.float64]:
    shares = np.array(FIGURES[month.colour].kinds)
    since, share = _YELLOW_UNRECORDED
    if month.colour == "yellow" and month.start >= since:
        shares[-1] = share
    return shares


def _miles(figures: Figures, kind: str) -> Array:
    levels = figures.miles.get(kind, figures.miles["city"])
    return np.rint(_quantiles(LEVELS, levels) * 100).astype(np.int16)


def _places(figures: Figures) -> dict[str, Any]:
    origins, destinations = np.zeros(LAST_ZONE + 1), np.zeros(LAST_ZONE + 1)
    # Zones that are not listed share what is left: a trip in ten thousand every few of them.
    origins[1:], destinations[1:] = 0.7, 1.5
    for number, zone in figures.zones.items():
        origins[number], destinations[number] = zone.origin, zone.destination
    for airport in _AIRPORTS:
        origins[airport] = destinations[airport] = 0
    return {
        "origin": choose(origins).astype(np.uint16),
        "destination": choose(destinations).astype(np.uint16),
        "airport_ends": _ends(figures.airport_ends),
        "jfk_ends": _ends(figures.jfk_ends),
    }


def _ends(text: str) -> tuple[Array, Array]:
    words = text.split()
    pairs = [word.replace("*", "0").split(">") for word in words[::2]]
    drawn = choose([float(weight) for weight in words[1::2]])
    origins = np.array([int(pair[0]) for pair in pairs], np.uint16)
    destinations = np.array([int(pair[1]) for pair in pairs], np.uint16)
    return origins[drawn], destinations[drawn]


def _cabs(figures: Figures) -> dict[str, Any]:
    cabs = [word.replace(":", "/").split("/") for word in figures.cabs.split()]
    return {
        "cab": choose([float(cab[3]) for cab in cabs]).astype(np.uint8),
        "cab_vendor": np.array([int(cab[0]) for cab in cabs], np.uint8),
        "cab_passengers": np.array([int(cab[1]) for cab in cabs], np.uint8),
        "cab_flag": np.array([ord(cab[2]) for cab in cabs], np.uint8),
    }


def _surcharges(month: Month, tariff: Tariff) -> dict[str, Any]:
    night = [hour % 24 >= 20 or hour % 24 < 6 for hour in range(168)]
    rush = [16 <= hour % 24 < 20 and hour < 120 for hour in range(168)]
    zones = np.zeros(LAST_ZONE + 1, bool)
    zones[np.array(CONGESTION_ZONES, int)] = True
    downtown = zones.copy()
    downtown[list(UPTOWN_ZONES)] = False
    airports = np.zeros(LAST_ZONE + 1, np.int32)
    airports[[132, 138]] = 175 if month.start >= _NEW_TARIFF else 125
    yellow = month.colour == "yellow"
    return {
        "extra": np.where(night, tariff.night, np.where(rush, tariff.rush, 0)).astype(np.int32),
        "extra_flat": np.where(rush, tariff.rush_flat, 0).astype(np.int32),
        "surcharged": zones,
        "congestion": (250 if yellow else 275) if month.start >= datetime(2019, 2, 1) else 0,
        "airport_fee": airports if yellow and month.start >= datetime(2021, 4, 1) else None,
        "cbd_fee": downtown * np.int32(75),
    }


def _toll_values(start: datetime) -> Array:
    usual = [toll for since, toll in (*_TOLLS, _LATEST_TOLL) if since <= start][-1]
    values = np.array([usual, 3.0, 10.5, 12.5, 17.5, usual * 2])
    cents: Array = np.rint(values * 100).astype(np.int32)[choose((0.94, 0.015, 0.015, 0.012, 0.006, 0.012))]
    return cents


def _tips(figures: Figures) -> dict[str, Any]:
    origin, destination = (np.full(LAST_ZONE + 1, effect, np.int16) for effect in figures.elsewhere)
    for number, zone in figures.zones.items():
        origin[number], destination[number] = zone.tip_origin, zone.tip_destination
    vendors = np.zeros(7, np.int16)
    vendors[list(figures.tip_by_vendor)] = list(figures.tip_by_vendor.values())
    whole = round(DRAWS * figures.whole_tips)
    # The first entries are tips in whole dollars, the others shares of the bill.
    parts = (
        _quantiles(LEVELS, figures.whole_tip_share)[np.linspace(0, DRAWS - 1, whole).astype(int)],
        _quantiles(TIP_LEVELS, figures.tip_share)[np.linspace(0, DRAWS - 1, DRAWS - whole).astype(int)],
    )
    odds = (np.arange(2 * TIP_OFFSET) - TIP_OFFSET + figures.tip_at_all) / 100
    return {
        "tip_origin": origin,
        "tip_destination": destination,
        "tip_hour": np.tile(np.array(figures.tip_by_hour, np.int16), 7),
        "tip_miles": np.rint(_by_miles(figures.tip_by_miles)).astype(np.int16),
        "tip_vendor": vendors,
        "tip_chance": _share(1 / (1 + np.exp(-odds))),
        "tip_share": (np.concatenate(parts) / 1000).astype(np.float32),
    }
