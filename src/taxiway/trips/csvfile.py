"""What a CSV file of trips looks like, told by another reader than Spark's: records, ragged ones, its digest."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

_LONGEST_RECORD = 1 << 24
_TAIL = 1 << 16
# The handler of ragged records is given their text: bytes that are no UTF-8 would keep pyarrow (25) from calling it.
_ANY_BYTES = "latin-1"
# A line of them alone is no record to Spark. It passes over control characters as well: those count here, so that
# the counts differ and the file is refused.
_BLANKS = " \t\r\n\x0b\x0c"


@dataclass(frozen=True)
class CsvShape:
    """How the records of a CSV file are laid out.

    Parameters
    ----------
    records : int
        Without the header and without blank lines; a quoted line break ends none.
    quoted : bool
        Whether there is a quotation mark in the file, so that a value may hold a line break.
    widest : int
        Values of the longest record.
    short, long : int
        Records with fewer and with more values than the header has names.
    cut_off : bool
        Whether the last record is a short one, as in a file that was cut off.
    """

    records: int
    quoted: bool
    widest: int
    short: int = 0
    long: int = 0
    cut_off: bool = False


def read_header(line: bytes) -> tuple[str, ...]:
    """The names in the first line of a CSV file.

    Raises
    ------
    UnicodeDecodeError
        It is no text.
    """
    return tuple(next(csv.reader([line.decode("utf-8-sig")]), ()))


def read_shape(header: bytes, file: BinaryIO, names: Sequence[str]) -> tuple[CsvShape, int, str]:
    """Read the rest of a file whose header has been read.

    Parameters
    ----------
    header : bytes
        Its first line.
    file : binary file
        Read from where it is to its end.
    names : sequence of str
        What the header says.

    Returns
    -------
    tuple of CsvShape, int, str
        The shape, the file's length in bytes, its SHA-256.

    Raises
    ------
    pyarrow.ArrowInvalid
        A record of more than 16 MiB: a quotation mark that is opened and never closed.
    """
    import pyarrow as pa
    import pyarrow.csv as pc

    ragged = _Ragged(len(names))
    content = _Content(header, file)
    columns = [f"c{index}" for index in range(len(names))]
    whole = 0
    if content.fill():
        reader = pc.open_csv(
            pa.PythonFile(content, mode="r"),
            # In this thread: the handler of ragged records is Python's.
            pc.ReadOptions(column_names=columns, use_threads=False, block_size=_LONGEST_RECORD, encoding=_ANY_BYTES),
            pc.ParseOptions(newlines_in_values=True, invalid_row_handler=ragged.take),
            # As bytes and one column alone: it is counted, and not read.
            pc.ConvertOptions(include_columns=columns[:1], column_types=dict.fromkeys(columns, pa.binary())),
        )
        whole = sum(batch.num_rows for batch in reader)
    shape = CsvShape(
        records=whole + ragged.short + ragged.long,
        quoted=content.quoted,
        widest=max(len(names), ragged.widest),
        short=ragged.short,
        long=ragged.long,
        cut_off=ragged.ends_with_a_short_one(content.tail),
    )
    return shape, content.size, content.digest.hexdigest()


class _Ragged:
    """Counts the records that have another number of values than the header."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.short = self.long = self.widest = 0
        self._last_short = ""

    def take(self, row: Any) -> str:
        if row.text.strip(_BLANKS):
            self.widest = max(self.widest, row.actual_columns)
            if row.actual_columns < self.expected:
                self.short, self._last_short = self.short + 1, row.text
            else:
                self.long += 1
        return "skip"

    def ends_with_a_short_one(self, tail: bytes) -> bool:
        text = self._last_short.strip(_BLANKS)
        return bool(text) and tail.decode(_ANY_BYTES).strip(_BLANKS).endswith(text[-_TAIL // 8 :])


class _Content:
    """A file on its way to the parser, and what is noticed of its bytes meanwhile."""

    closed = False

    def __init__(self, header: bytes, file: BinaryIO) -> None:
        self.digest = hashlib.sha256(header)
        self.size = len(header)
        self.quoted = b'"' in header
        self.tail = b""
        self._file = file
        self._ahead = b""

    def fill(self) -> bool:
        """Look for a first record: what holds none is not for the parser, which refuses it."""
        while not self._ahead.strip():
            self._ahead = self._next(_TAIL)
            if not self._ahead:
                return False
        return True

    def read(self, size: int) -> bytes:
        """The next bytes, for the parser."""
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._next(size)

    def _next(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self.size += len(data)
        self.quoted = self.quoted or b'"' in data
        self.tail = (self.tail + data)[-_TAIL:]
        return data
