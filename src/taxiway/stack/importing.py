"""``taxiway stack import``: what an embedded store holds, added to the stack; what is there already stays."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from taxiway.errors import Refused
from taxiway.progress import Progress, Silent
from taxiway.scratch import private_folder
from taxiway.settings import Settings
from taxiway.stack.embedded import Store, open_embedded_store
from taxiway.stack.imported_runs import RunImport
from taxiway.stack.imported_versions import VersionImport
from taxiway.stack.ledger import ADDED, DIFFERENT, KINDS, LEFT_OUT, PRESENT, Ledger
from taxiway.stack.running import changing
from taxiway.store import address, connect, registry_lock


@dataclass(frozen=True)
class Row:
    """What became of one kind of thing.

    Parameters
    ----------
    kind : str
        ``experiments``, ``runs``, ``logged models``, ``registered models``, ``versions`` or ``files``.
    added, present, different, left_out : int
        Added now; there already; of those, how many differ from the original and stay as they are;
        not imported.
    """

    kind: str
    added: int
    present: int
    different: int
    left_out: int


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Parameters
    ----------
    source : Path
        The home whose store was imported.
    target : str
        The address of the stack's MLflow.
    rows : tuple of Row
    notes : tuple of str
        What stayed as it was or was left out, and why, one sentence each without a full stop.
    refused : tuple of str
        Versions that are not there now although they should be: their numbers are taken.
    seconds : float
    """

    source: Path
    target: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    refused: tuple[str, ...]
    seconds: float


def import_store(home: Settings, stack: Settings, progress: Progress | None = None) -> Imported:
    """Add everything that an embedded store holds to another one.

    Experiments, runs with their parameters, metrics, tags, inputs and files, logged models, registered
    models and versions with their numbers, stages, aliases, tags and descriptions. What was imported
    before is found again by its tag `taxiway.imported_from`. Runs that have not ended are left for the
    next import; deleted experiments, traces, prompts and evaluation data sets are not imported.

    Parameters
    ----------
    home : Settings
        Its home's embedded store is read, and not changed.
    stack : Settings
        Its tracking address is written to.
    progress : Progress, optional

    Returns
    -------
    Imported

    Raises
    ------
    NotFound
        There is no embedded store under the home.
    Unreachable
        The stack's MLflow does not answer, or does not let us in.
    Refused
        The account may not write there, or another command is changing the stack.
    """
    from mlflow.exceptions import MlflowException

    began = time.monotonic()
    watch, ledger = progress or Silent(), Ledger()
    source = open_embedded_store(home)
    # Second, since MLflow's own functions use the store that was opened last.
    target = Store(connect(stack))
    try:
        with changing(stack), private_folder(home) as scratch:
            RunImport(source, target, ledger, watch, scratch).run()
            with registry_lock(stack):
                VersionImport(source, target, ledger, watch).run()
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        raise Refused(
            f"The account may not write to {address(stack)}", "Import as the account taxiway or admin"
        ) from error
    rows = tuple(
        Row(kind, *(ledger.counts[kind, what] for what in (ADDED, PRESENT, DIFFERENT, LEFT_OUT))) for kind in KINDS
    )
    return Imported(
        home.home, address(stack), rows, tuple(ledger.notes), tuple(ledger.refused), time.monotonic() - began
    )
