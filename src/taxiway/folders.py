"""Names of folders as people type them: the home folder's sign, and characters that no part of Taxiway gets wrong."""

from __future__ import annotations

from pathlib import Path

from taxiway.errors import UsageError

# Spark's list of folders is parted by commas (4.3).
_UNUSABLE = {",": "a comma", "\\": "a backslash"}
# What follows them in the address of a SQLite file is taken for something else.
_UNUSABLE_IN_ADDRESS = {"?": "a question mark", "%": "a percent sign"}


def expanded(text: str | Path) -> Path:
    """An absolute path, with ``~`` for a home folder.

    Raises
    ------
    UsageError
        The system knows no such home folder.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(
            f"{text} is in a home folder that this system does not know", "Write the whole path, or set HOME"
        ) from error


def unusable(path: str, *, with_store: bool = True) -> str:
    """What stands in the name of a folder that Taxiway keeps its data in, and must not; empty for nothing.

    Parameters
    ----------
    path : str
    with_store : bool
        Whether the folder holds MLflow's store, whose address its name becomes a part of.

    Examples
    --------
    >>> unusable("/data/a,b"), unusable("/data/são paulo"), unusable("/data/100%", with_store=False)
    ('a comma', '', '')
    """
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in path):
        return "a control character"
    signs = _UNUSABLE | (_UNUSABLE_IN_ADDRESS if with_store else {})
    return next((name for sign, name in signs.items() if sign in path), "")
