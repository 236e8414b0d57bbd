"""Small months of made-up yellow trips in the TLC's layout, for tests that need no real ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1_500


def write_month(folder: Path, label: str, seed: int = 0, rows: int = ROWS, tips: bool = True) -> Path:
    """Write one month: card riders tip more on long trips, cash riders never; a few trips are dirty.

    Parameters
    ----------
    folder : Path
        Where ``yellow_tripdata_{label}.parquet`` goes.
    label : str
        ``2018-05``.
    seed : int
        The same seed and month give the same trips.
    rows : int
        Trips, 0 or more.
    tips : bool
        Whether anybody tips.
    """
    draw = np.random.default_rng([seed, *(int(part) for part in label.split("-"))])
    pickup = np.datetime64(datetime.fromisoformat(f"{label}-01"), "us") + np.sort(
        draw.integers(0, 27 * 86_400, rows)
    ).astype("timedelta64[s]")
    miles = draw.gamma(1.5, 2.0, rows).round(2)
    lasts = (180 + 240 * miles * draw.uniform(0.7, 1.3, rows)).astype(int)
    fare = (2.5 + 2.5 * miles + lasts / 120).round(1)
    card = draw.random(rows) < 0.7
    # A weak signal beside the strong one, so that no model is perfect.
    tipped = card & (draw.random(rows) < 1 / (1 + np.exp(-2.2 - 0.4 * (miles - 3)))) & tips
    passengers = draw.integers(0, 7, rows).astype(float)
    passengers[draw.random(rows) < 0.02] = np.nan
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"yellow_tripdata_{label}.parquet"
    pq.write_table(
        pa.table(
            {
                "VendorID": draw.integers(1, 3, rows),
                "tpep_pickup_datetime": pickup,
                "tpep_dropoff_datetime": pickup + lasts.astype("timedelta64[s]"),
                "passenger_count": passengers,
                "trip_distance": miles,
                "RatecodeID": np.where(draw.random(rows) < 0.01, 99, 1),
                "PULocationID": draw.integers(1, 40, rows),
                "DOLocationID": draw.integers(1, 40, rows),
                "payment_type": np.where(card, 1, 2),
                "fare_amount": fare,
                "extra": draw.choice([0.0, 0.5, 1.0], rows),
                "tip_amount": np.where(tipped, (0.2 * fare).round(2), 0.0),
                "tolls_amount": np.where(draw.random(rows) < 0.05, 5.76, 0.0),
                "total_amount": fare + 1.3,
            }
        ),
        file,
    )
    return file
