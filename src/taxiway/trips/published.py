"""What a file of trips is: whole or not, its columns, rows and digest, read from its ends alone where that will do."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from taxiway.errors import BadData, MachineError
from taxiway.trips.conversion import conversions, is_zone
from taxiway.trips.csvfile import CsvShape, read_header, read_shape
from taxiway.trips.kinds import TEXT, Kind, is_empty, kind_of
from taxiway.trips.months import Month
from taxiway.trips.schema import SYNTHETIC_KEY, Layout, match_columns

_MAGIC = b"PAR1"
_TAIL = 8
_BLOCK = 1 << 20
# What Spark 4.3 brings a decoder for; Arrow 25 calls Parquet's LZ4_RAW by the name LZ4.
_CODECS = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "LZ4", "LZ4_RAW"})


class NotWhole(BadData):
    """A file that was cut off or is no file of trips: another copy of it may be whole."""


@dataclass(frozen=True)
class Source:
    """A published column that a canonical one is read from.

    Parameters
    ----------
    name : str
        As the file has it.
    position : int
        Where it stands among the file's columns, from 0.
    kind : Kind
        What its values are.
    """

    name: str
    position: int
    kind: Kind


@dataclass(frozen=True)
class FileFacts:
    """What one file says about itself.

    Parameters
    ----------
    rows : int
        Trip records.
    size : int
        Bytes.
    digest : str
        Hexadecimal SHA-256 of what identifies the content.
    names : tuple of str
        Its columns, in order.
    sources : mapping of str to tuple of Source
        Canonical column to the published ones that it is read from, in the order of the file; none where the file
        lacks it or holds no value of it, several where it has more than one.
    synthetic : bool
        Whether the trips were made up.
    csv : CsvShape, optional
        How its records are laid out; None for Parquet.
    """

    rows: int
    size: int
    digest: str
    names: tuple[str, ...]
    sources: Mapping[str, tuple[Source, ...]]
    synthetic: bool
    csv: CsvShape | None = None

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Canonical column to the names that it has in this file."""
        return {column: tuple(source.name for source in found) for column, found in self.sources.items()}


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
    facts : tuple of FileFacts
        What each file says about itself, in the order of the paths.
    """

    month: Month
    paths: tuple[str, ...]
    format: str
    source: str
    rows: int
    size: int
    digest: str
    synthetic: bool
    facts: tuple[FileFacts, ...] = field(repr=False, compare=False)


def describe(month: Month, layout: Layout, paths: Sequence[Path], source: str) -> MonthFiles:
    """Read what the files of a month say about themselves.

    Raises
    ------
    BadData
        A file that is not whole, lacks required columns, differs from its neighbours, or has columns that cannot
        be read; or a month without a row.
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
        source=source,
        rows=rows,
        size=sum(fact.size for fact in facts),
        digest=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        synthetic=any(fact.synthetic for fact in facts),
        facts=tuple(facts),
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
        It is cut off, is something else, lacks required columns, or holds what cannot be read: a type that means
        nothing in its column, a compression that Spark does not know.
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
    # Arrow raises NotImplementedError for a type that it has no name for.
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        raise _broken(where, "its footer cannot be read") from error
    names = tuple(schema.names)
    leaves = _leaves(metadata, where)
    sources = {
        column: tuple(_parquet_sources(found, schema, leaves, where))
        for column, found in match_columns(layout, names, where).items()
    }
    facts = FileFacts(
        rows=metadata.num_rows,
        size=size,
        digest=hashlib.sha256(f"{size}:".encode() + footer).hexdigest(),
        names=names,
        sources=sources,
        synthetic=SYNTHETIC_KEY.encode() in (metadata.metadata or {}),
    )
    _check_meaning(facts, layout, where)
    return facts


@dataclass(frozen=True)
class _Leaf:
    """What a Parquet file says about one stored column."""

    physical: str
    codecs: frozenset[str]


def _leaves(metadata: Any, where: str) -> dict[str, _Leaf]:
    chunks = [
        [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
        for index in range(metadata.num_columns)
    ]
    try:
        return {
            metadata.schema.column(index).path: _Leaf(
                physical=str(metadata.schema.column(index).physical_type),
                codecs=frozenset(str(chunk.compression).upper() for chunk in found),
            )
            for index, found in enumerate(chunks)
        }
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise _broken(where, "its footer cannot be read") from error


def _parquet_sources(names: Sequence[str], schema: Any, leaves: Mapping[str, _Leaf], where: str) -> Iterator[Source]:
    """The columns of these names that hold a value, and what it is."""
    for name in names:
        positions = schema.get_all_field_indices(name)
        if len(positions) > 1:
            raise BadData(
                f"{where} has {len(positions)} columns that are all called '{name}', and '{name}'",
                "Give them different names, or leave one out",
            )
        kind_found = schema.field(positions[0]).type
        if is_empty(kind_found):
            continue
        leaf = leaves.get(name, _Leaf("", frozenset()))
        kind = kind_of(kind_found, leaf.physical)
        if kind is None:
            raise _meaningless(where, name, str(kind_found))
        if unknown := sorted(leaf.codecs - _CODECS):
            raise BadData(
                f"{where} is compressed with {unknown[0].lower()}, which Spark cannot read",
                "Write it again with snappy, zstd or gzip",
            )
        yield Source(name, positions[0], kind)


def _meaningless(where: str, name: str, found: str) -> BadData:
    return BadData(
        f"{where}: the column '{name}' is of type {found[:80]}, which means nothing there",
        "Write it as a number, a text or a time, or leave it out",
    )


def _check_meaning(facts: FileFacts, layout: Layout, where: str) -> None:
    """Refuse what no reader could make sense of, before anybody counts on it."""
    for column in layout.columns:
        for source in facts.sources[column.name]:
            if not conversions(column, source.kind):
                raise _meaningless(where, source.name, f"{source.kind.values} ({source.kind.spark})")
            if source.kind.zone and not is_zone(source.kind.zone):
                raise BadData(
                    f"{where}: '{source.name}' has times in '{source.kind.zone}', and there is no such time zone",
                    "Write it with the name of a zone, such as America/New_York",
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
    import pyarrow as pa

    header = file.readline(_BLOCK)
    try:
        names = read_header(header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _broken(where, "it is not a CSV file") from error
    matches = match_columns(layout, names, where)
    try:
        shape, size, digest = read_shape(header, file, names)
    except pa.ArrowInvalid as error:
        raise _broken(where, "a quotation mark in it is never closed") from error
    if shape.cut_off:
        raise _broken(where, "its last line is cut off")
    sources = {
        column: tuple(Source(names[at], at, TEXT) for at in range(len(names)) if names[at] in found)
        for column, found in matches.items()
    }
    return FileFacts(
        rows=shape.records,
        size=size,
        digest=digest,
        names=names,
        sources=sources,
        synthetic=False,
        csv=shape,
    )


def _broken(where: str, why: str) -> NotWhole:
    return NotWhole(
        f"{where} is not a whole file of trips: {why}",
        "Replace it at its source, or name another source with --trips-source",
    )
