"""The services of the stack while they start: a table that changes, or where nobody looks a line for each change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from taxiway.errors import Interrupted
from taxiway.stack.services import View

_WIDEST = len("building")
_STYLES = {"healthy": "green", "done": "green", "running": "green", "failed": "bold red", "stopped": "dim"}


@contextmanager
def watch_services() -> Iterator[Services]:
    """Draw services on standard error while the block runs.

    Raises
    ------
    Interrupted
        Ctrl-C, with what becomes of the stack.
    """
    services = Services(Console(stderr=True))
    try:
        yield services
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted", "What was started runs on; run it again to go on, or taxiway stack down to stop"
        ) from None
    finally:
        services.close()


class Services:
    """A `taxiway.stack.running.Watch` that draws."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._live: Live | None = None
        self._told: dict[str, str] = {}

    def show(self, views: Sequence[View]) -> None:
        """Show how the services are now."""
        if self._screen.is_terminal:
            if self._live is None:
                self._live = Live(console=self._screen, refresh_per_second=4)
                self._live.start()
            self._live.update(_table(views))
            return
        for view in views:
            # The steps of a build are for eyes: a log has enough in the fact that it builds.
            told = view.state if view.state == "building" else f"{view.state} {view.detail}".strip()
            if self._told.get(view.service) != told:
                self._told[view.service] = told
                self._write(f"{view.service:<18} {told}")

    def begin(self, task: str, total: float | None = None, unit: str = "") -> None:
        """Say what is being done beside the services."""
        self._write(task)

    def advance(self, task: str, by: float = 1) -> None:
        """Nothing is shown of it."""

    def end(self, task: str) -> None:
        """Nothing is shown of it."""

    def note(self, message: str) -> None:
        """Write a line above the services."""
        self._write(message, style="yellow")

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._screen.print()

    def _write(self, message: str, style: str = "") -> None:
        # The style is the text's own: given to `print` it would colour the table beneath it as well.
        self._screen.print(Text(message, style=style), soft_wrap=True)


def _table(views: Sequence[View]) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=max((len(view.service) for view in views), default=0))
    table.add_column(width=_WIDEST)
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for view in views:
        style = _STYLES.get(view.state, "yellow")
        table.add_row(view.service, Text(view.state, style=style), Text(view.detail))
    return table
