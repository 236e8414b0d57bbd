"""What the outside world throws, in our words: the last resort before a user sees it."""

from __future__ import annotations

import errno

from taxiway.errors import MachineError, TaxiwayError, Unreachable

_DISK = ("no space left on device", "database or disk is full")
_MEMORY = (
    "invalid_driver_memory",
    "java heap space",
    "gc overhead limit exceeded",
    "unable to acquire",
    "outofmemoryerror",
)


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
    text = _whole_text(error).lower()
    if _is_errno(error, errno.ENOSPC, errno.EDQUOT) or any(sign in text for sign in _DISK):
        return MachineError("The disk is full", "Free some space, or point TAXIWAY_HOME and --out elsewhere")
    if any(sign in text for sign in _MEMORY):
        return MachineError(
            "Spark ran out of memory", "Give it more with --spark spark.driver.memory=8g, or use fewer months"
        )
    if isinstance(error, PermissionError) or _is_errno(error, errno.EROFS):
        name = getattr(error, "filename", None) or "a folder"
        return MachineError(f"{name} cannot be written", "Choose another folder, or change its permissions")
    if isinstance(error, ConnectionError):
        return Unreachable("A connection was lost", "Run the command again; taxiway doctor checks what it needs")
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return TaxiwayError(f"{type(error).__name__}: {first[:300]}", "Run it again with --verbose to see where")


def _whole_text(error: BaseException) -> str:
    parts = []
    seen: BaseException | None = error
    while seen is not None:
        parts.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)


def _is_errno(error: BaseException, *codes: int) -> bool:
    return isinstance(error, OSError) and error.errno in codes
