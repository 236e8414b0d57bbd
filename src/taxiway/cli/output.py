"""What people and scripts see: tables, JSON, progress bars. Nothing else in Taxiway prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


def print_json(document: Any) -> None:
    """Write one JSON document to standard output; what JSON lacks (NaN, infinity) becomes null."""
    sys.stdout.write(json.dumps(_finite(document), indent=2, default=str, allow_nan=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], mark: int | None = None) -> None:
    """Write a table to standard output; the row with index `mark` stands out."""
    say(title, style="bold")
    table = Table(header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for index, row in enumerate(rows):
        table.add_row(*(Text(format_cell(cell)) for cell in row), style="bold green" if index == mark else None)
    console().print(table)


def format_cell(cell: Any) -> str:
    """Write a value as people read it: thousands apart, four digits, a dash for nothing."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else ""
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4g}" if abs(cell) < 1e-3 or abs(cell) >= 1e5 else f"{cell:.4f}"
    return str(cell)


def say(message: str = "", style: str | None = None) -> None:
    """Write one line of data to standard output."""
    console().print(message, style=style, highlight=False, soft_wrap=True, markup=False)


def console() -> Console:
    """The console of standard output; wide when nobody looks, so that no cell is cut."""
    return Console() if sys.stdout.isatty() else Console(width=160)


@contextmanager
def waiting(task: str) -> Iterator[None]:
    """Show on a terminal that something is under way; nothing of it stays. MLflow alone takes two seconds to import."""
    with Console(stderr=True).status(task):
        yield


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Draw progress on standard error while the block runs."""
    screen = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}"),
        TimeElapsedColumn(),
    )
    drawn = Progress(*columns, console=screen, transient=False)
    try:
        yield Bars(drawn)
    finally:
        # Stopped without a task, rich writes an empty line, which would stand before an error's one line.
        if drawn.tasks:
            drawn.stop()


class Bars:
    """A `taxiway.progress.Progress` that draws on a terminal."""

    def __init__(self, drawn: Progress) -> None:
        self._drawn = drawn
        self._tasks: dict[str, TaskID] = {}
        self._units: dict[str, str] = {}

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Show a bar; beginning a task again changes its length."""
        self._units[task] = unit
        if task in self._tasks:
            self._drawn.update(self._tasks[task], total=total, amount=self._amount(task, 0, total))
        else:
            self._tasks[task] = self._drawn.add_task(task, total=total, amount="")
            self._drawn.start()

    def advance(self, task: str, by: float = 1) -> None:
        """Move a bar."""
        if task not in self._tasks:
            self.begin(task)
        self._drawn.advance(self._tasks[task], by)
        state = self._drawn.tasks[self._drawn.task_ids.index(self._tasks[task])]
        self._drawn.update(self._tasks[task], amount=self._amount(task, state.completed, state.total))

    def end(self, task: str) -> None:
        """Fill a bar."""
        if task not in self._tasks:
            return
        state = self._drawn.tasks[self._drawn.task_ids.index(self._tasks[task])]
        total = state.total if state.total is not None else max(state.completed, 1)
        self._drawn.update(self._tasks[task], total=total, completed=total)

    def note(self, message: str) -> None:
        """Write a line above the bars."""
        self._drawn.console.print(message, style="yellow", highlight=False, markup=False)

    def _amount(self, task: str, done: float, total: float | None) -> str:
        if self._units[task] == "B":
            return f"{done / 1e6:.1f}{f'/{total / 1e6:.1f}' if total else ''} MB"
        return f"{done:.0f}/{total:.0f}" if total else ""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
