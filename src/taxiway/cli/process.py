"""The process that a command runs in: it speaks UTF-8, has a home, and asks this machine without a proxy."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

from taxiway.proxies import spare_loopback


def prepare(verbose: bool) -> None:
    """Set this process up, once, before anything is read or printed.

    Parameters
    ----------
    verbose : bool
        Whether libraries may write their own warnings to standard error.
    """
    _speak_utf8()
    for stream in (sys.stdout, sys.stderr):
        # A sign that a terminal cannot show is no reason to end without an answer.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    if not verbose:
        # py4j writes tracebacks to the root logger, which prints what nobody has asked to handle.
        logging.getLogger().addHandler(logging.NullHandler())
    spare_loopback()


def _speak_utf8() -> None:
    """Begin again in UTF-8 mode, where the locale would have file names in another encoding than Spark's Java."""
    if sys.getfilesystemencoding() == "utf-8":
        return
    # Python cannot change it while it runs. In UTF-8 mode the condition above holds, so that this happens once.
    os.execve(  # noqa: S606  # no shell: the same program with the same arguments
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"}
    )


def lend_home(home: Path) -> None:
    """Give a user whom the system does not know a home folder and a name, which libraries ask for."""
    from taxiway.launch import nameless, user_name

    if os.environ.get("HOME") and os.environ.get("USER"):
        return
    if user_name():
        return
    if not os.environ.get("HOME"):
        os.environ["HOME"] = str(home)
    if not any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        os.environ["USER"] = nameless()
