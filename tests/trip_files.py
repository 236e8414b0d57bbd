"""Months of plausible trips on disk, as the TLC publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def green_trips(rows: int, month: str, seed: int) -> dict[str, Any]:
    """Plausible green trips under the TLC's column names: by card the longer trips are tipped more often."""
    draw = np.random.default_rng(seed)
    start = np.datetime64(f"{month}-01T00:00:00", "us")
    pickup = start + draw.integers(0, 27 * 86_400, rows).astype("timedelta64[s]")
    miles = draw.gamma(2.0, 1.6, rows).round(2) + 0.1
    seconds = (miles * 220 * draw.lognormal(0, 0.3, rows)).astype(int) + 60
    fare = (3 + 2.6 * miles + seconds / 120).round(1)
    card = draw.random(rows) < 0.6
    tipped = card & (draw.random(rows) < 1 / (1 + np.exp(1 - miles / 2)))
    tip = np.where(tipped, (fare * 0.2).round(2), 0.0)
    return {
        "VendorID": draw.integers(1, 3, rows),
        "lpep_pickup_datetime": pickup,
        "lpep_dropoff_datetime": pickup + seconds.astype("timedelta64[s]"),
        "store_and_fwd_flag": ["N"] * rows,
        "RatecodeID": np.ones(rows),
        "PULocationID": draw.integers(40, 50, rows),
        "DOLocationID": draw.integers(40, 50, rows),
        "passenger_count": draw.integers(1, 6, rows).astype(float),
        "trip_distance": miles,
        "fare_amount": fare,
        "extra": draw.choice([0.0, 0.5, 1.0], rows),
        "mta_tax": np.full(rows, 0.5),
        "tip_amount": tip,
        "tolls_amount": np.zeros(rows),
        "improvement_surcharge": np.ones(rows),
        "total_amount": fare + tip + 1.5,
        "payment_type": np.where(card, 1.0, 2.0),
        "trip_type": np.ones(rows),
        "congestion_surcharge": np.zeros(rows),
    }


def write_trips(folder: Path, month: str, columns: Mapping[str, Any]) -> Path:
    """Write a month (``green:2023-01``) as the TLC publishes it."""
    colour, label = month.split(":")
    file = folder / f"{colour}_tripdata_{label}.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), file)
    return file
