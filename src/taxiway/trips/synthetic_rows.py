"""Synthetic trips, a block of rows at a time: NumPy arrays in, one Arrow record batch out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from taxiway.trips.synthetic_figures import FIGURES, KINDS
from taxiway.trips.synthetic_tables import DRAWS, TIP_OFFSET, Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Column = NDArray[Any]

BLOCK = 1 << 16
"""Rows drawn at once: few enough for the arrays to stay in the processor's cache."""

NEAR, CITY, AIRPORT, JFK, NEWARK, FAR, NEGOTIATED, UNRECORDED = range(len(KINDS))
_EPOCH = np.datetime64(0, "s")


class Draws:
    """Random bits of one block; the same block of the same month and seed always gets the same ones."""

    def __init__(self, seed: int, tables: Tables, block: int) -> None:
        month = tables.start.year * 12 + tables.start.month
        words = (seed, list(FIGURES).index(tables.colour), month, block)
        self._generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))

    def bits(self, count: int) -> NDArray[np.uint16]:
        """16 random bits a row."""
        whole = self._generator.integers(0, 1 << 64, -(-count // 4), np.uint64)
        return whole.view(np.uint16)[:count]

    def some(self, rows: int, share: float) -> NDArray[np.int64]:
        """Positions of a random share of the rows, possibly none."""
        return np.unique(self._generator.integers(0, rows, self._generator.binomial(rows, share)))

    def between(self, low: int, high: int, count: int) -> NDArray[np.int64]:
        """Whole numbers from `low` up to, not including, `high`."""
        return self._generator.integers(low, high, count)


def make_block(tables: Tables, schema: pa.Schema, seed: int, block: int, rows: int) -> pa.RecordBatch:
    """Make one block of a month's trips.

    Parameters
    ----------
    tables : Tables
        The month's.
    schema : pyarrow.Schema
        Columns to fill, under their published names.
    seed, block : int
        Which random numbers to use.
    rows : int
        At most `BLOCK`.

    Returns
    -------
    pyarrow.RecordBatch
    """
    draws = Draws(seed, tables, block)
    trips = _begin(tables, draws, rows)
    _place(tables, draws, trips)
    _drive(tables, draws, trips)
    _charge(tables, draws, trips)
    _pay(tables, draws, trips)
    _soil(tables, draws, trips)
    _refund(tables, draws, trips)
    return _arrow(tables, schema, trips)


def _begin(tables: Tables, draws: Draws, rows: int) -> dict[str, Column]:
    kind = tables.kind[draws.bits(rows)]
    hour = tables.hour[draws.bits(rows)]
    second = (draws.bits(rows).astype(np.int32) * 3600) >> 16
    cab = tables.cab[draws.bits(rows)]
    return {
        "kind": kind,
        "hour": tables.hour_of_week[hour],
        "pickup": hour.astype(np.int64) * 3600 + second,
        "vendor": tables.cab_vendor[cab],
        "passengers": tables.cab_passengers[cab],
        "flag": tables.cab_flag[cab],
        "rate": tables.rate[kind],
    }


def _place(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    kind = trips["kind"]
    origin = tables.origin[draws.bits(len(kind))]
    destination = tables.destination[draws.bits(len(kind))]
    np.copyto(destination, origin, where=kind == NEAR)
    for which, (starts, stops) in ((AIRPORT, tables.airport_ends), (JFK, tables.jfk_ends)):
        rows = np.flatnonzero(kind == which)
        drawn = draws.bits(len(rows))
        origin[rows] = np.where(starts[drawn], starts[drawn], origin[rows])
        destination[rows] = np.where(stops[drawn], stops[drawn], destination[rows])
    destination[kind == NEWARK] = 1
    trips.update(origin=origin, destination=destination)


def _drive(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    kind = trips["kind"]
    miles = tables.miles[(kind.astype(np.int32) << 16) + draws.bits(len(kind))]
    # The first vendor's meters record tenths of a mile.
    miles = np.where(trips["vendor"] == 1, (miles + 5) // 10 * 10, miles)
    seconds = tables.seconds[miles] * tables.pace[trips["hour"]] * tables.spread[draws.bits(len(kind))]
    trips.update(miles=miles, seconds=seconds.astype(np.int32) + 1)


def _charge(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    tariff, kind, miles = tables.tariff, trips["kind"], trips["miles"]
    rows = len(kind)
    metered = miles * np.float32(tariff.per_mile / 100) + trips["seconds"] * np.float32(tariff.per_minute / 60)
    metered += tables.normal[draws.bits(rows)] * np.float32(30) + np.float32(tariff.start - tariff.base)
    steps = np.maximum(np.rint(metered * np.float32(1 / tariff.step)), 0).astype(np.int32)
    fare = steps * np.int32(tariff.step) + np.int32(tariff.base)
    extra = tables.extra[trips["hour"]]
    tax = np.full(rows, 50, np.int32)
    tolls = np.where(draws.bits(rows) < tables.toll[miles], tables.toll_value[draws.bits(rows)], 0)
    surcharged = tables.surcharged[trips["origin"]] | tables.surcharged[trips["destination"]]
    trips.update(
        fare=fare, extra=extra, tax=tax, tolls=tolls, congestion=surcharged * np.int32(tables.congestion),
        improvement=np.full(rows, tariff.improvement, np.int32),
    )  # fmt: skip
    _charge_unmetered(tables, draws, trips)


def _charge_unmetered(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    kind, fare, tolls, tariff = trips["kind"], trips["fare"], trips["tolls"], tables.tariff
    rows = np.flatnonzero(kind >= AIRPORT)
    which = {number: rows[kind[rows] == number] for number in range(AIRPORT, len(KINDS))}
    fare[which[JFK]] = tariff.flat
    fare[which[NEWARK]] += tariff.newark
    for number in (FAR, NEGOTIATED):
        fare[which[number]] = tables.fares[KINDS[number]][draws.bits(len(which[number]))]
    # Trips whose payment was not recorded have fares agreed by an application, to the cent.
    fare[which[UNRECORDED]] += draws.between(0, 400, len(which[UNRECORDED]))
    trips["extra"][which[JFK]] = tables.extra_flat[trips["hour"][which[JFK]]]
    for number in (NEWARK, NEGOTIATED, UNRECORDED):
        trips["extra"][which[number]] = 0
        trips["tax"][which[number]] = 0
    trips["congestion"][which[UNRECORDED]] = 0
    at_airports = which[AIRPORT]
    limits = {AIRPORT: tables.toll_at_airports[trips["miles"][at_airports]], JFK: 51118, NEWARK: 59500}
    for number, limit in limits.items():
        drawn = draws.bits(len(which[number]))
        paid = draws.bits(len(which[number])) < limit
        tolls[which[number]] = np.where(paid, tables.toll_value[drawn], 0)


def _pay(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    kind, miles = trips["kind"], trips["miles"]
    rows = len(kind)
    card = draws.bits(rows) < tables.card[miles]
    payment = np.where(card, np.uint8(1), tables.not_card[draws.bits(rows)])
    odds = tables.tip_origin[trips["origin"]] + tables.tip_destination[trips["destination"]]
    odds += tables.tip_hour[trips["hour"]]
    odds += tables.tip_miles[miles]
    odds += tables.tip_vendor[trips["vendor"]]
    odds[kind == NEGOTIATED] += tables.figures.tip_negotiated
    odds += TIP_OFFSET
    tips = card & (draws.bits(rows) < tables.tip_chance[odds]) & (kind != UNRECORDED)
    payment[kind == UNRECORDED] = 0
    bill = _sum(trips, ("fare", "extra", "tax", "tolls", "improvement", "congestion"))
    drawn = draws.bits(rows)
    tip = np.rint(bill * tables.tip_share[drawn]).astype(np.int32)
    whole = drawn < round(tables.figures.whole_tips * DRAWS)
    tip = np.where(whole, np.maximum((tip + 50) // 100 * 100, 100), np.maximum(tip, 1))
    trips.update(payment=payment, tip=tip * tips)


def _soil(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    """Put in the faults that concern one trip each."""
    dirt, rows = tables.figures.dirt, len(trips["kind"])
    zero = draws.some(rows, dirt.zero_miles)
    stood = zero[draws.bits(len(zero)) < dirt.stood_still * DRAWS]
    trips["miles"] = trips["miles"].astype(np.int32)
    trips["miles"][zero] = 0
    trips["seconds"][stood] = draws.between(0, 60, len(stood))
    trips["destination"][stood] = trips["origin"][stood]
    agreed = np.flatnonzero(trips["kind"] == NEGOTIATED)
    trips["miles"][agreed[draws.bits(len(agreed)) < 0.36 * DRAWS]] = 0
    trips["miles"][draws.some(rows, dirt.absurd_miles)] = 1_200_000 + draws.between(0, 10_000_000, 1)
    free = draws.some(rows, dirt.zero_fare)
    for name in ("fare", "tip"):
        trips[name][free] = 0
    not_after = draws.some(rows, dirt.not_after)
    trips["seconds"][not_after] = -60 * (draws.bits(len(not_after)) < 900).astype(np.int32)
    long = draws.some(rows, dirt.day_long)
    trips["seconds"][long] = 86_400 - np.minimum(draws.between(0, 14_400, len(long)) ** 2 // 14_400, 14_399)
    odd = draws.some(rows, dirt.odd_rate)
    trips["rate"][odd[trips["kind"][odd] != UNRECORDED]] = 99
    outside = draws.some(rows, dirt.outside)
    earlier = -draws.between(1, 1_800, len(outside))
    years = int((np.datetime64("2009-01-01", "s") - np.datetime64(tables.start, "s")) / np.timedelta64(1, "s"))
    trips["pickup"][outside] = np.where(draws.bits(len(outside)) < 16_384, years + 73_287, earlier)


def _refund(tables: Tables, draws: Draws, trips: dict[str, Column]) -> None:
    """Add up what each trip cost, then turn some rows into refunds of the row before."""
    rows = len(trips["kind"])
    first = draws.some(rows // 2, tables.figures.dirt.refund * 2) * 2 if rows > 1 else np.empty(0, np.int64)
    first = first[trips["kind"][first] != UNRECORDED]
    trips["payment"][first] = 3 + (draws.bits(len(first)) < 20_000)
    trips["tip"][first] = 0
    money = ["fare", "extra", "tax", "tip", "tolls", "improvement", "congestion"]
    if tables.airport_fee is not None:
        trips["airport"] = tables.airport_fee[trips["origin"]]
        money.append("airport")
    if tables.start.year >= 2025:
        trips["cbd"] = np.maximum(tables.cbd_fee[trips["origin"]], tables.cbd_fee[trips["destination"]])
        money.append("cbd")
    trips["total"] = _sum(trips, money)
    # The first vendor reports the congestion surcharge within `extra` as well, and in green cabs
    # of the newer tariff the improvement surcharge within `mta_tax`; the total counts both once.
    first_vendor = trips["vendor"] == 1
    trips["extra"] = trips["extra"] + trips["congestion"] * first_vendor
    if tables.colour == "green" and tables.tariff.improvement == 100:
        trips["tax"] = trips["tax"] + trips["improvement"] * first_vendor
    for values in trips.values():
        values[first + 1] = values[first]
    for name in (*money, "total"):
        trips[name][first + 1] *= -1


def _sum(trips: dict[str, Column], names: Sequence[str]) -> Column:
    total = trips[names[0]].copy()
    for name in names[1:]:
        total += trips[name]
    return total


_MONEY = {
    "fare_amount": "fare", "extra": "extra", "mta_tax": "tax", "tip_amount": "tip", "tolls_amount": "tolls",
    "improvement_surcharge": "improvement", "total_amount": "total", "congestion_surcharge": "congestion",
    "airport_fee": "airport", "cbd_congestion_fee": "cbd", "trip_distance": "miles",
}  # fmt: skip
_CODES = {
    "vendorid": "vendor", "pulocationid": "origin", "dolocationid": "destination", "passenger_count": "passengers",
    "ratecodeid": "rate", "payment_type": "payment", "trip_type": "type",
}  # fmt: skip
_UNRECORDED_COLUMNS = frozenset({"passenger_count", "ratecodeid", "store_and_fwd_flag", "congestion_surcharge"})


def _arrow(tables: Tables, schema: pa.Schema, trips: dict[str, Column]) -> pa.RecordBatch:
    rows = len(trips["kind"])
    trips["type"] = 1 + (trips["rate"] == 5)
    known = trips["kind"] != UNRECORDED
    validity = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    nullable = set(_UNRECORDED_COLUMNS)
    if tables.colour == "green":  # yellow files write 0 for a payment that was not recorded
        nullable |= {"payment_type", "trip_type"}
    arrays = []
    for field in schema:
        name = field.name.lower()
        values = _values(tables, name, trips)
        if values is None or (name == "congestion_surcharge" and not tables.congestion):
            arrays.append(pa.nulls(rows, field.type))
            continue
        buffers = [validity if name in nullable else None]
        kind = np.dtype(np.int64 if name.endswith("datetime") else np.uint8)
        if pa.types.is_string(field.type):  # one letter a row
            buffers.append(_buffer(np.arange(rows + 1), np.dtype(np.int32)))
        elif not name.endswith("datetime"):
            kind = np.dtype(field.type.to_pandas_dtype())
        buffers.append(_buffer(values, kind, 100 if name in _MONEY else 1))
        arrays.append(pa.Array.from_buffers(field.type, rows, buffers))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _buffer(values: Column, kind: np.dtype[Any], parts: int = 1) -> pa.Buffer:
    """Copy values, divided by `parts`, to memory of Arrow's own, which it uses again without asking the system."""
    buffer = pa.allocate_buffer(len(values) * kind.itemsize)
    target = np.frombuffer(buffer, kind)
    if parts == 1:
        np.copyto(target, values, casting="unsafe")
    else:
        np.divide(values, float(parts), out=target)
    return buffer


def _values(tables: Tables, name: str, trips: dict[str, Column]) -> Column | None:
    if name in _MONEY:
        return trips.get(_MONEY[name])
    if name == "store_and_fwd_flag":
        return trips["flag"]
    if name.endswith("datetime"):
        moment = trips["pickup"] if "pickup" in name else trips["pickup"] + trips["seconds"]
        start = int((np.datetime64(tables.start, "s") - _EPOCH) / np.timedelta64(1, "s"))
        return (moment + start) * 1_000_000
    return trips[_CODES[name]] if name in _CODES else None
