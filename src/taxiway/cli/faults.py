"""What the outside world throws, in our words: the last resort before a user sees it."""

from __future__ import annotations

import contextlib
import errno
import json
import re

from taxiway.errors import MachineError, TaxiwayError, Unreachable
from taxiway.java_faults import DISK_REMEDY, MEMORY_REMEDY, java_fault, java_words
from taxiway.reach import without_credentials
from taxiway.sqlite import locked
from taxiway.variables import misread

_DISK = ("no space left on device", "database or disk is full")
_MEMORY = (
    "invalid_driver_memory",
    "java heap space",
    "gc overhead limit exceeded",
    "unable to acquire",
    "outofmemoryerror",
)

# How MLflow 3.17 words the end of its patience, and an answer that it does not repeat.
_GONE = re.compile(r"api request to (https?://[^/\s]+)\S* failed with exception", re.IGNORECASE)
_REFUSED = re.compile(r"\d{3} (?:Client|Server) Error: .* Response text: (.*)", re.DOTALL)


def translate(error: BaseException) -> TaxiwayError:
    """Turn any exception into one of ours.

    Parameters
    ----------
    error : BaseException
        Whatever reached the edge of the program.

    Returns
    -------
    TaxiwayError
        The cause if it can be told (disk, memory, permission, network), else a fault of Taxiway.
    """
    if isinstance(error, TaxiwayError):
        return error
    if fault := locked(error) or misread(error) or java_fault(error):
        return fault
    text = _whole_text(error).lower()
    if gone := _GONE.search(text):
        return Unreachable(
            f"The MLflow server at {without_credentials(gone[1])} stopped answering",
            "Run the command again when it is back; taxiway doctor checks it",
        )
    refused = _REFUSED.search(str(error))
    if refused or type(error).__name__ == "RestException":
        said = _said(refused[1] if refused else str(error))
        return Unreachable(f"The MLflow server refused: {said}", "Look at its log; then run the command again")
    if _is_errno(error, errno.ENOSPC, errno.EDQUOT) or any(sign in text for sign in _DISK):
        return MachineError("The disk is full", DISK_REMEDY)
    if any(sign in text for sign in _MEMORY):
        return MachineError("Spark ran out of memory", MEMORY_REMEDY)
    if isinstance(error, PermissionError) or _is_errno(error, errno.EROFS):
        name = getattr(error, "filename", None) or "a folder"
        return MachineError(f"{name} cannot be written", "Choose another folder, or change its permissions")
    if isinstance(error, ConnectionError):
        return Unreachable("A connection was lost", "Run the command again; taxiway doctor checks what it needs")
    if said := java_words(error):
        return TaxiwayError(f"Spark failed: {said}", "Run it again with --verbose to see where")
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return TaxiwayError(f"{type(error).__name__}: {first[:300]}", "Run it again with --verbose to see where")


def _said(body: str) -> str:
    """What an MLflow server says in its answer, which is a JSON document or plain text."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        body = str(json.loads(body)["message"])
    return next((line.rstrip(".") for line in body.splitlines() if line.strip()), "nothing")[:300]


def _whole_text(error: BaseException) -> str:
    parts = []
    seen: BaseException | None = error
    while seen is not None:
        parts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def _is_errno(error: BaseException, *codes: int) -> bool:
    return isinstance(error, OSError) and error.errno in codes
