"""Months in a bucket, read where they lie: the executors of a cluster fetch their own share of each file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from taxiway.errors import NotFound, Unreachable
from taxiway.parallel import side_by_side
from taxiway.trips.connecting import open_remote
from taxiway.trips.published import MonthFiles, combine, facts_of
from taxiway.trips.remote import Broken, Missing
from taxiway.trips.store import StoreRemote

if TYPE_CHECKING:
    from taxiway.trips.download import Wanted


def find_in_bucket(wanted: Sequence[Wanted], location: str, patience: float, jobs: int) -> tuple[MonthFiles, ...]:
    """Find months in a bucket, and check from the ends of their files that each is whole.

    Parameters
    ----------
    wanted : sequence of Wanted
    location : str
        ``s3a://bucket/folder``.
    patience : float
        Seconds that the store has to answer.
    jobs : int
        Months looked up at once, at least 1.

    Returns
    -------
    tuple of MonthFiles
        In the order asked. Their paths are addresses that Spark reads.

    Raises
    ------
    NotFound
        A month that is not there, or no such bucket.
    BadData
        A file that is cut off, is no file of trips, lacks columns, or holds no rows.
    Unreachable
        The store does not answer.
    """
    # Addresses of buckets are a store's.
    remote = cast(StoreRemote, open_remote(location, patience))
    remote.check(patience)
    return tuple(side_by_side(lambda item: _find(remote, item), wanted, jobs))


def _find(remote: StoreRemote, item: Wanted) -> MonthFiles:
    try:
        for name in item.names:
            try:
                return _describe(remote, item, [name])
            except Missing:
                continue
        parts: list[str] = next(filter(None, map(remote.names_in, item.folders)), [])
        if not parts:
            raise NotFound(
                f"{item.month} is not in {remote.shown}", f"It would be called {item.names[0]}; check --trips-source"
            )
        return _describe(remote, item, parts)
    except Missing as error:
        raise Unreachable(f"{item.month} vanished from {remote.shown} meanwhile", "Run the command again") from error
    except Broken as error:
        raise Unreachable(
            f"{remote.shown} breaks off at {item.month} ({error})", "Check the network, and run the command again"
        ) from error


def _describe(remote: StoreRemote, item: Wanted, names: Sequence[str]) -> MonthFiles:
    facts = []
    for name in names:
        with remote.reading(name) as file:
            facts.append(facts_of(file, item.layout, f"{remote.shown}/{name}", f".{name.rpartition('.')[2]}"))
    return combine(item.month, [remote.address(name) for name in names], facts, remote.shown)
