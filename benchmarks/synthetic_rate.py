"""How fast synthetic trips are made, against the plain way with NumPy and pandas.

The peer draws the columns that any generator needs from NumPy's named distributions in the same
TLC columns and types, a month in one frame, and writes it with ``DataFrame.to_parquet``. It is vectorised
and has no dirt, no zones of unequal popularity and no dependence beyond distance, time, fare and
tip: less work than Taxiway does. Both run alternately in one process.

Run it with ``python benchmarks/synthetic_rate.py [rows]``; 3,000,000 rows by default.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import pandas as pd

from taxiway.trips.synthetic import synthesize

REPEATS = 3
MONTH = "yellow:2018-05"
TARGET = 1_000_000


def plain_way(rows: int, path: Path) -> None:
    rng = np.random.default_rng(0)
    pickup = np.datetime64("2018-05-01", "us") + rng.integers(0, 31 * 86_400, rows) * np.timedelta64(1_000_000, "us")
    miles = rng.lognormal(0.6, 0.9, rows).round(2)
    seconds = (miles * 300 * rng.lognormal(0, 0.3, rows) + 60).astype(np.int64)
    fare = (2.5 + 1.8 * miles + 0.37 * seconds / 60).round(1)
    payment = rng.choice([1, 2, 3, 4], rows, p=[0.705, 0.288, 0.005, 0.002])
    tip = np.where((payment == 1) & (rng.random(rows) < 0.954), (fare * rng.normal(0.2, 0.05, rows)).round(2), 0.0)
    tolls = np.where(rng.random(rows) < 0.056, 5.76, 0.0)
    extra = rng.choice([0.0, 0.5, 1.0], rows)
    trips = pd.DataFrame(
        {
            "VendorID": rng.choice([1, 2], rows),
            "tpep_pickup_datetime": pickup,
            "tpep_dropoff_datetime": pickup + seconds * np.timedelta64(1_000_000, "us"),
            "passenger_count": rng.choice([1.0, 2.0, 3.0, 5.0], rows, p=[0.72, 0.16, 0.06, 0.06]),
            "trip_distance": miles,
            "RatecodeID": rng.choice([1.0, 2.0], rows, p=[0.97, 0.03]),
            "store_and_fwd_flag": rng.choice(["N", "Y"], rows, p=[0.995, 0.005]),
            "PULocationID": rng.integers(1, 266, rows),
            "DOLocationID": rng.integers(1, 266, rows),
            "payment_type": payment,
            "fare_amount": fare,
            "extra": extra,
            "mta_tax": 0.5,
            "tip_amount": tip,
            "tolls_amount": tolls,
            "improvement_surcharge": 0.3,
            "total_amount": (fare + extra + tip + tolls + 0.8).round(2),
            "congestion_surcharge": np.nan,
            "airport_fee": np.nan,
        }
    )
    trips.to_parquet(path, index=False)


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processor time over all threads."""
    began, busy = perf_counter(), process_time()
    work()
    return perf_counter() - began, process_time() - busy


def main() -> None:
    rows = int(sys.argv[1].replace("_", "")) if len(sys.argv) > 1 else 3_000_000
    with TemporaryDirectory() as folder:
        out = Path(folder)
        peer = out / "plain.parquet"
        synthesize(MONTH, 1_000, out)  # imports and first use, for both sides
        plain_way(1_000, peer)
        ours, theirs = [], []
        for _ in range(REPEATS):
            ours.append(seconds_of(lambda: synthesize(MONTH, rows, out)))
            theirs.append(seconds_of(lambda: plain_way(rows, peer)))
    print(f"{rows:,} yellow trips of one month to Parquet, median of {REPEATS}")
    rates = [_report("taxiway synth", rows, ours), _report("NumPy and to_parquet", rows, theirs)]
    print(f"  {'ratio':22}{rates[0] / rates[1]:>12.1f} x")
    print(f"  target of {TARGET:,} rows/s: {'met' if rates[0] >= TARGET else 'MISSED'}")


def _report(name: str, rows: int, times: list[tuple[float, float]]) -> float:
    clock, busy = (median(time[which] for time in times) for which in (0, 1))
    print(f"  {name:22}{rows / clock:>12,.0f} rows/s   {clock:.2f} s, {busy:.2f} s of processor time")
    return rows / clock


if __name__ == "__main__":
    main()
