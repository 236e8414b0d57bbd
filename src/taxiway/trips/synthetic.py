"""Seeded synthetic trips in the TLC's files: for offline use and for tests of scale.

Every file says in its metadata that it is synthetic (`taxiway.trips.schema.SYNTHETIC_KEY`), and
none ever takes the place of a real one.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from taxiway.errors import MachineError, Refused, UsageError, did_you_mean
from taxiway.progress import Progress, Silent
from taxiway.trips.months import Month, parse_months
from taxiway.trips.schema import SYNTHETIC_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

_BLOCKS_A_GROUP = 8
_THREADS = 2
# The first files whose columns are those of today: older ones hold coordinates instead of zones.
_FIRST = {"yellow": (2011, 1), "green": (2014, 1)}


@dataclass(frozen=True)
class SyntheticMonth:
    """One month of synthetic trips on disk.

    Parameters
    ----------
    month : Month
    path : Path
        The Parquet file.
    rows : int
        Trips in it.
    seed : int
        What they were drawn with.
    """

    month: Month
    path: Path
    rows: int
    seed: int


def synthesize(
    months: Sequence[Month] | str, rows: int, out: Path, *, seed: int = 0, progress: Progress | None = None
) -> tuple[SyntheticMonth, ...]:
    """Make months of synthetic trips, one file each, under the names and with the columns of the TLC.

    A file appears under its name when it is whole. The same month, rows and seed give the same
    file, whatever else is made beside it and by however many threads (with the same versions of
    NumPy and Arrow). Memory does not grow with the rows.

    Parameters
    ----------
    months : sequence of Month or str
        Months of yellow or green trips, ``green:2023-01..2023-02``.
    rows : int
        Trips in each month, 1 or more.
    out : Path
        Folder, made if need be.
    seed : int, default 0
        0 or more.
    progress : Progress, optional
        Advances in rows.

    Returns
    -------
    tuple of SyntheticMonth
        In the order of the months.

    Raises
    ------
    UsageError
        Fewer than one row, a negative seed, or months for which there are no such files.
    Refused
        A file in the way is not synthetic. Nothing is written then.
    MachineError
        The folder cannot be written, or the disk is full.
    """
    chosen = parse_months(months)
    if rows < 1:
        raise UsageError(f"{rows} is not a number of trips", "Ask for 1 or more a month")
    if seed < 0:
        raise UsageError(f"{seed} is not a seed", "Choose 0 or a positive whole number")
    for month in chosen:
        _check_published(month)
    if out.exists() and not out.is_dir():
        raise MachineError(f"{out} is not a folder", "Choose another one with --out")
    paths = [out / f"{month.colour}_tripdata_{month.label}.parquet" for month in chosen]
    for path in paths:
        _check_replaceable(path)
    watch = progress or Silent()
    for month, path in zip(chosen, paths, strict=True):
        with _disk(path):
            _write_month(month, rows, path, seed, watch)
    return tuple(SyntheticMonth(month, path, rows, seed) for month, path in zip(chosen, paths, strict=True))


def tlc_schema(month: Month) -> pa.Schema:
    """The columns of the TLC's file of a month, in order, with their Arrow types.

    Parameters
    ----------
    month : Month
        ``yellow`` or ``green``.

    Returns
    -------
    pyarrow.Schema
        Without metadata. Numbers got narrower types from 2023-02 on.
    """
    import pyarrow as pa

    newer = month.start >= datetime(2023, 2, 1)
    columns = _yellow_columns(newer) if month.colour == "yellow" else _green_columns(newer)
    if month.year >= 2025:
        columns.append(("cbd_congestion_fee", pa.float64()))
    return pa.schema(columns)


def _yellow_columns(newer: bool) -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    ids, real, time = pa.int32() if newer else pa.int64(), pa.float64(), pa.timestamp("us")
    codes = pa.int64() if newer else real
    return [
        ("VendorID", ids), ("tpep_pickup_datetime", time), ("tpep_dropoff_datetime", time),
        ("passenger_count", codes), ("trip_distance", real), ("RatecodeID", codes),
        ("store_and_fwd_flag", pa.string()), ("PULocationID", ids), ("DOLocationID", ids),
        ("payment_type", pa.int64()), ("fare_amount", real), ("extra", real), ("mta_tax", real),
        ("tip_amount", real), ("tolls_amount", real), ("improvement_surcharge", real), ("total_amount", real),
        ("congestion_surcharge", real), ("Airport_fee" if newer else "airport_fee", real),
    ]  # fmt: skip


def _green_columns(newer: bool) -> list[tuple[str, pa.DataType]]:
    import pyarrow as pa

    ids, real, time = pa.int32() if newer else pa.int64(), pa.float64(), pa.timestamp("us")
    return [
        ("VendorID", ids), ("lpep_pickup_datetime", time), ("lpep_dropoff_datetime", time),
        ("store_and_fwd_flag", pa.string()), ("RatecodeID", real), ("PULocationID", ids), ("DOLocationID", ids),
        ("passenger_count", real), ("trip_distance", real), ("fare_amount", real), ("extra", real),
        ("mta_tax", real), ("tip_amount", real), ("tolls_amount", real), ("ehail_fee", real if newer else pa.null()),
        ("improvement_surcharge", real), ("total_amount", real), ("payment_type", real), ("trip_type", real),
        ("congestion_surcharge", real),
    ]  # fmt: skip


def _check_published(month: Month) -> None:
    if month.colour not in _FIRST:
        raise UsageError(f"There are no synthetic '{month.colour}' trips", did_you_mean(month.colour, _FIRST))
    first = _FIRST[month.colour]
    if (month.year, month.month) < first:
        raise UsageError(
            f"{month} is older than the columns of synthetic trips",
            f"The first {month.colour} month is {first[0]}-{first[1]:02d}",
        )


def _check_replaceable(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {} if path.exists() else {SYNTHETIC_KEY.encode(): b""}
    except (pa.ArrowInvalid, OSError):
        metadata = {}
    if SYNTHETIC_KEY.encode() not in metadata:
        raise Refused(f"{path} holds trips that are not synthetic", "Choose another folder with --out")


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Say in our words what a disk refuses."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{path} cannot be written: {error.strerror or error}", "Free some space, or choose another folder"
        ) from error


def _write_month(month: Month, rows: int, path: Path, seed: int, progress: Progress) -> None:
    import pyarrow.parquet as pq

    schema = tlc_schema(month)
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    task = f"synth {month}"
    progress.begin(task, rows)
    try:
        # Dictionaries leave little to compress: 8 % of the bytes for 40 % more time. Without Arrow's
        # own copy of the schema the file has what any reader of Parquet sees.
        with pq.ParquetWriter(
            part, schema, compression="none", store_schema=False, use_dictionary=_repetitive(schema)
        ) as writer:
            writer.add_key_value_metadata({SYNTHETIC_KEY: str(seed)})
            for group in _groups(_blocks(month, schema, rows, seed)):
                writer.write_table(group, row_group_size=group.num_rows)
                progress.advance(task, group.num_rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    progress.end(task)


def _repetitive(schema: pa.Schema) -> list[str]:
    """The columns worth a dictionary: all but the times, which hardly repeat."""
    return [name for name in schema.names if not name.endswith("datetime")]


def _groups(blocks: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    for block in blocks:
        batches.append(block)
        if len(batches) == _BLOCKS_A_GROUP:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _blocks(month: Month, schema: pa.Schema, rows: int, seed: int) -> Iterator[pa.RecordBatch]:
    """Make blocks in order, a few ahead of the writer, whatever their number."""
    from taxiway.trips.synthetic_rows import BLOCK, make_block
    from taxiway.trips.synthetic_tables import build_tables

    tables = build_tables(month)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="synth")
    ahead: deque[Future[pa.RecordBatch]] = deque()
    try:
        for block, first in enumerate(range(0, rows, BLOCK)):
            size = min(BLOCK, rows - first)
            ahead.append(pool.submit(make_block, tables, schema, seed, block, size))
            if len(ahead) > _BLOCKS_A_GROUP:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
