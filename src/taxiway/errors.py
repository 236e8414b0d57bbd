"""Everything that can go wrong, in one family: the wording, the remedy, the exit code.

::

    TaxiwayError            1   a fault of Taxiway itself
    ├── UsageError          2   what was typed, or a setting
    ├── NotFound            3   a month, recipe, run, model, version or stack that is not there
    ├── BadData             4   trips that cannot be read or used
    ├── Unreachable         5   a source of trips or a server that does not answer
    ├── MachineError        6   Java, Docker, memory, disk, permissions
    ├── Refused             7   what would harm something in use, or load foreign files as a model
    └── RecipeError         8   a recipe that cannot be run
    Interrupted           130   Ctrl-C, or a request to terminate

The command line prints one line, ``message. remedy``, and leaves with ``exit_code``;
the traceback is shown with ``--verbose`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class TaxiwayError(Exception):
    """Something went wrong inside Taxiway; run again with --verbose and report what it prints."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        if not self.remedy:
            return self.message
        return f"{self.message}{'' if self.message.endswith(('?', '!', '.')) else '.'} {self.remedy}"


class UsageError(TaxiwayError):
    """An option, a range of months or a setting cannot be understood."""

    exit_code = 2


class NotFound(TaxiwayError):
    """A month, recipe, run, model or version does not exist where it was looked for."""

    exit_code = 3


class BadData(TaxiwayError):
    """A file cannot be read, lacks columns, or holds nothing that a model can learn from."""

    exit_code = 4


class Unreachable(TaxiwayError):
    """A source of trips, a tracking server or a service of the stack does not answer."""

    exit_code = 5


class MachineError(TaxiwayError):
    """This machine lacks Java, Docker, memory, disk space or the permission that is needed."""

    exit_code = 6


class Refused(TaxiwayError):
    """The request would harm something that is in use, or load a model with foreign files."""

    exit_code = 7


class RecipeError(TaxiwayError):
    """A recipe has a syntax error, an unknown column or a function that engines disagree on."""

    exit_code = 8


class Interrupted(TaxiwayError):
    """The command was interrupted; what it had begun is undone or marked as killed."""

    exit_code = 130


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt name: the closest known one, or all of them.

    Parameters
    ----------
    name : str
        What was typed.
    known : iterable of str
        What would have been accepted.

    Returns
    -------
    str
        One sentence without a full stop.
    """
    choices = list(known)
    lowered = {choice.lower(): choice for choice in choices}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"Did you mean '{lowered[close[0]]}'?"
    if not choices:
        return "There is none yet"
    return f"Known: {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"
