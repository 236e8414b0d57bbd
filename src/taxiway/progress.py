"""How the library tells what it is doing: it never prints, it reports to one of these."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a caller passes in to watch long work; the command line draws bars from it."""

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Start a task; `total` is None while its length is unknown, `unit` is ``B`` for bytes."""

    def advance(self, task: str, by: float = 1) -> None:
        """Say that `by` more units of a task are done."""

    def end(self, task: str) -> None:
        """Say that a task is finished."""

    def note(self, message: str) -> None:
        """Tell the user something that matters now, in one sentence."""


class Silent:
    """The progress that nobody watches."""

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Ignore it."""

    def advance(self, task: str, by: float = 1) -> None:
        """Ignore it."""

    def end(self, task: str) -> None:
        """Ignore it."""

    def note(self, message: str) -> None:
        """Ignore it."""
