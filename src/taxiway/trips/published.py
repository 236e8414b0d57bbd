"""What a file of trips is: whole or not, its columns, rows and digest, read from its ends alone where that will do."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from taxiway.errors import BadData, MachineError
from taxiway.trips.months import Month
from taxiway.trips.schema import SYNTHETIC_KEY, Layout, match_columns

_MAGIC = b"PAR1"
_TAIL = 8
_BLOCK = 1 << 20


class NotWhole(BadData):
    """A file that was cut off or is no file of trips: another copy of it may be whole."""


@dataclass(frozen=True)
class MonthFiles:
    """The files of one month of trips, whole and readable.

    Parameters
    ----------
    month : Month
        What they hold.
    paths : tuple of str
        Where Spark reads them: on this machine, or in a bucket as ``s3a://…``.
    format : str
        ``parquet`` or ``csv``.
    columns : mapping of str to str or None
        Canonical column to the name it has in these files; None where they lack it.
    source : str
        Address that they came from, without credentials.
    rows : int
        Trip records, at least 1.
    size : int
        Bytes.
    digest : str
        Hexadecimal SHA-256 of what identifies the content, wherever it lies: sizes and Parquet
        footers, or a CSV file's bytes.
    synthetic : bool
        Whether the trips were made up.
    schemas : tuple of pyarrow.Schema
        What is in each Parquet file, in the order of the paths; None for CSV.
    """

    month: Month
    paths: tuple[str, ...]
    format: str
    columns: Mapping[str, str | None]
    source: str
    rows: int
    size: int
    digest: str
    synthetic: bool
    schemas: tuple[Any, ...] = field(repr=False, compare=False)


@dataclass(frozen=True)
class FileFacts:
    """What one file says about itself."""

    rows: int
    size: int
    digest: str
    names: tuple[str, ...]
    columns: Mapping[str, str | None]
    synthetic: bool
    schema: Any = None


def describe(month: Month, layout: Layout, paths: Sequence[Path], source: str) -> MonthFiles:
    """Read what the files of a month say about themselves.

    Raises
    ------
    BadData
        A file that is not whole, lacks required columns, or differs from its neighbours; or a
        month without a row.
    MachineError
        A file that may not be read.
    """
    facts = [read_facts(path, layout, str(path)) for path in paths]
    return combine(month, [str(path) for path in paths], facts, source)


def combine(month: Month, paths: Sequence[str], facts: Sequence[FileFacts], source: str) -> MonthFiles:
    """Put together what the files of a month said about themselves.

    Raises
    ------
    BadData
        They differ from one another, or hold no row.
    """
    rows = sum(fact.rows for fact in facts)
    if not rows:
        raise BadData(
            f"{paths[0] if len(paths) == 1 else paths[0].rpartition('/')[0]} holds no trips at all",
            "Name another month",
        )
    odd = next((index for index, fact in enumerate(facts) if fact.columns != facts[0].columns), None)
    if odd is not None:
        raise BadData(
            f"{paths[odd]} and {paths[0].rpartition('/')[2]} have different columns",
            "Keep files of one layout in a month's folder",
        )
    digests = sorted(fact.digest for fact in facts)
    return MonthFiles(
        month=month,
        paths=tuple(paths),
        format="csv" if paths[0].lower().endswith(".csv") else "parquet",
        columns=facts[0].columns,
        source=source,
        rows=rows,
        size=sum(fact.size for fact in facts),
        digest=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        synthetic=any(fact.synthetic for fact in facts),
        schemas=tuple(fact.schema for fact in facts),
    )


def read_facts(path: Path, layout: Layout, where: str, kind: str = "") -> FileFacts:
    """Check one file and read what it says about itself, without reading its trips.

    Parameters
    ----------
    path : Path
        The file.
    layout : Layout
        The columns that it must have.
    where : str
        How messages name the file.
    kind : str, optional
        Its format as a suffix, ``.csv`` or ``.parquet``, where `path` ends otherwise.

    Raises
    ------
    BadData
        It is cut off, is something else, or lacks required columns.
    MachineError
        It may not be read.
    """
    try:
        with path.open("rb") as file:
            return facts_of(file, layout, where, kind or path.suffix)
    except PermissionError as error:
        raise MachineError(f"{where} may not be read", "Change its permissions") from error


def facts_of(file: BinaryIO, layout: Layout, where: str, kind: str) -> FileFacts:
    """As `read_facts`, of an open file, wherever it lies."""
    return (_csv_facts if kind.lower() == ".csv" else _parquet_facts)(file, layout, where)


def _parquet_facts(file: BinaryIO, layout: Layout, where: str) -> FileFacts:
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer, size = _footer(file, where)
    try:
        # Its trips are left out: a footer is all that a Parquet file is opened by.
        with pq.ParquetFile(BytesIO(_MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC)) as described:
            metadata, schema = described.metadata, described.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _broken(where, "its footer cannot be read") from error
    names = tuple(schema.names)
    return FileFacts(
        rows=metadata.num_rows,
        size=size,
        digest=hashlib.sha256(f"{size}:".encode() + footer).hexdigest(),
        names=names,
        columns=match_columns(layout, names, where),
        synthetic=SYNTHETIC_KEY.encode() in (metadata.metadata or {}),
        schema=schema,
    )


def _footer(file: BinaryIO, where: str) -> tuple[bytes, int]:
    """The bytes that describe a Parquet file, which stand at its end, and its whole length."""
    size = file.seek(0, 2)
    file.seek(0)
    if size < len(_MAGIC) + _TAIL or file.read(len(_MAGIC)) != _MAGIC:
        raise _broken(where, "it is empty" if not size else "it is not a Parquet file")
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - _TAIL - len(_MAGIC):
        raise _broken(where, "it is cut off")
    file.seek(size - _TAIL - length)
    return file.read(length), size


def _csv_facts(file: BinaryIO, layout: Layout, where: str) -> FileFacts:
    digest, size, lines, last = hashlib.sha256(), 0, 0, b""
    header = file.readline(_BLOCK)
    names = _header(header, where)
    columns = match_columns(layout, names, where)
    digest.update(header)
    size += len(header)
    for line in file:
        digest.update(line)
        size += len(line)
        if line.strip():
            lines, last = lines + 1, line
    # The last line is where a file that was cut off shows it; years with more values than
    # names exist (green, 2013), with fewer they do not.
    if lines and last.count(b",") < header.count(b","):
        raise _broken(where, "its last line is cut off")
    return FileFacts(rows=lines, size=size, digest=digest.hexdigest(), names=names, columns=columns, synthetic=False)


def _header(line: bytes, where: str) -> tuple[str, ...]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _broken(where, "it is not a CSV file") from error
    return tuple(next(csv.reader([text]), ()))


def _broken(where: str, why: str) -> NotWhole:
    return NotWhole(
        f"{where} is not a whole file of trips: {why}",
        "Replace it at its source, or name another source with --trips-source",
    )
