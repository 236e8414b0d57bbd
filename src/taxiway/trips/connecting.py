"""Opening a source of trips elsewhere, by the scheme of its address."""

from __future__ import annotations

import multiprocessing

from taxiway.errors import UsageError
from taxiway.trips.remote import MARGIN, Remote, first_line, shown, silent, within


def open_remote(location: str, timeout: float) -> Remote:
    """Open a location, without asking whether it answers.

    Raises
    ------
    UsageError
        No part of fsspec reads such addresses, or the address is malformed.
    Unreachable
        What identifies us could not be found in time.
    """
    try:
        return within(timeout * MARGIN, lambda: _make(location))
    except (ValueError, ImportError) as error:
        raise UsageError(
            f"Trips cannot be read from {shown(location)} ({first_line(error)})",
            "Use tlc, azure, a folder, or an https://, s3:// or abfs:// address",
        ) from error
    except multiprocessing.TimeoutError as error:
        raise silent(shown(location)) from error


def _make(location: str) -> Remote:
    """Choose by the scheme; only the client that is needed is imported."""
    if location.lower().startswith(("http://", "https://")):
        from taxiway.trips.web import WebRemote

        return WebRemote(location)
    from taxiway.trips.store import StoreRemote

    return StoreRemote(location)
