"""Months of trips -> files that Spark reads: found in place, or fetched once and kept, whole or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from taxiway.errors import MachineError, NotFound, UsageError
from taxiway.progress import Progress, Silent
from taxiway.settings import Settings, load_settings
from taxiway.sharing import S3_SCHEMES, is_seen, master, on_cluster
from taxiway.trips.months import Month, parse_months
from taxiway.trips.published import MonthFiles, NotWhole, describe
from taxiway.trips.schema import LAYOUTS, Layout, layout_of

if TYPE_CHECKING:
    from taxiway.trips.download import Wanted

__all__ = ["MonthFiles", "check_seen", "check_source", "fetch"]

PATIENCE = 5.0
"""Seconds that a source has to answer."""


def fetch(
    months: Sequence[Month] | str,
    settings: Settings | None = None,
    *,
    layouts: Mapping[str, Layout] = LAYOUTS,
    progress: Progress | None = None,
    jobs: int = 4,
) -> tuple[MonthFiles, ...]:
    """Find or download months of trips, and check that each file is whole.

    A folder is read in place, and so is a bucket where Spark runs on a cluster. Anything else is
    downloaded under the home, once: a month that is there already costs no request, and a download
    that was interrupted goes on where it stopped.

    Parameters
    ----------
    months : sequence of Month or str
        Months, or ranges of them: ``green:2023-01..2023-03``.
    settings : Settings, optional
        Says where trips come from and where the home is; read from the environment by default.
    layouts : mapping of str to Layout
        The data sets known.
    progress : Progress, optional
        Told the bytes downloaded.
    jobs : int
        Months downloaded at once, at least 1.

    Returns
    -------
    tuple of MonthFiles
        In the order asked, each month once.

    Raises
    ------
    UsageError
        Months that cannot be understood, an unknown colour, or an address that nothing can read.
    NotFound
        A month that is not published, or a folder that does not exist.
    BadData
        A file that is cut off, is no file of trips, lacks columns, or holds no rows.
    Unreachable
        The source does not answer.
    MachineError
        The home cannot be written, or the disk is full.
    """
    options = settings or load_settings()
    wanted = {month: layout_of(month.colour, layouts) for month in parse_months(months)}
    for month, layout in wanted.items():
        _check_published(month, layout, options)
    folder = local_folder(options.source_location)
    if folder is not None:
        return tuple(_find(month, layout, folder) for month, layout in wanted.items())
    if _in_place(options):
        from taxiway.trips.inplace import find_in_bucket

        return find_in_bucket(_requests(wanted, options), options.source_location, PATIENCE, jobs)
    return _fetch_remote(wanted, options, progress or Silent(), jobs)


def check_seen(settings: Settings) -> None:
    """Refuse trips that the executors of a cluster could not read, before any are fetched.

    Raises
    ------
    UsageError
        They are, or would be kept, in a folder that this machine has for itself.
    """
    if _in_place(settings):
        return
    folder = local_folder(settings.source_location)
    if is_seen(settings, folder or settings.home):
        return
    kept = "lie in" if folder else "are downloaded to"
    raise UsageError(
        f"Trips {kept} {folder or settings.home}, which the executors of {master(settings)} do not see",
        "Put them into a bucket and name it with --trips-source s3a://bucket, or into a folder under TAXIWAY_SHARED",
    )


def check_source(settings: Settings, *, timeout: float = PATIENCE) -> str:
    """Ask the source of trips for a sign of life.

    Parameters
    ----------
    settings : Settings
        Says where trips come from.
    timeout : float
        Seconds that it has to answer.

    Returns
    -------
    str
        One line that says what answered.

    Raises
    ------
    Unreachable
        Nothing answers in time.
    NotFound
        The folder, bucket or container does not exist.
    """
    folder = local_folder(settings.source_location)
    if folder is not None:
        _check_folder(folder)
        return f"The folder {folder} is there"
    from taxiway.trips.connecting import open_remote

    remote = open_remote(settings.source_location, timeout)
    return remote.check(timeout)


def local_folder(location: str) -> Path | None:
    """The folder that a location means; None when it is an address elsewhere."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return None if "://" in location else Path(location)


def cache_folder(settings: Settings) -> Path:
    """Where downloads from this source are kept: one folder a source, whatever its credentials."""
    from taxiway.trips.remote import shown

    address = shown(settings.source_location)
    words = re.sub(r"[^a-z0-9]+", "-", address.lower().partition("://")[2]).strip("-")
    return settings.home / "trips" / f"{words[:60]}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def file_names(layout: Layout, month: Month) -> tuple[str, ...]:
    """The names under which a month's file may be published, best first."""
    return tuple(
        name.format(month=month.label, year=f"{month.year:04d}", mm=f"{month.month:02d}", m=month.month)
        for name in layout.files
    )


def azure_folder(layout: Layout, month: Month) -> str:
    """The folder of a month as Azure Open Datasets lays it out; empty where there is none."""
    return layout.azure_folder.format(year=month.year, m=month.month, mm=f"{month.month:02d}", month=month.label)


def _in_place(settings: Settings) -> bool:
    """Whether executors read the source themselves."""
    return on_cluster(settings) and settings.source_location.partition("://")[0].lower() in S3_SCHEMES


def _check_published(month: Month, layout: Layout, settings: Settings) -> None:
    if (month.year, month.month) < layout.first:
        first = "-".join(f"{part:02d}" for part in layout.first)
        raise NotFound(
            f"{month} was never published at {settings.trips_source}", f"{month.colour} trips begin in {first}"
        )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NotFound(f"The folder of trips {folder} does not exist", "Correct --trips-source or TAXIWAY_TRIPS_SOURCE")


def _find(month: Month, layout: Layout, folder: Path) -> MonthFiles:
    names = file_names(layout, month)
    try:
        _check_folder(folder)
        paths = next((found for name in names if (found := _files_of(folder / name))), [])
        if not paths and layout.azure_folder:
            paths = sorted((folder / azure_folder(layout, month)).glob("*.parquet"))
    except PermissionError as error:
        raise MachineError(f"The folder of trips {folder} may not be read", "Change its permissions") from error
    if not paths:
        raise NotFound(f"{month} is not in the folder {folder}", f"It would be called {names[0]}; check --trips-source")
    return describe(month, layout, paths, str(folder))


def _files_of(path: Path) -> list[Path]:
    """A file, or those in a folder of its name, as Spark writes one."""
    if path.is_dir():
        return sorted(file for file in path.glob(f"*{path.suffix}") if not file.name.startswith(("_", ".")))
    return [path] if path.is_file() else []


def _requests(wanted: Mapping[Month, Layout], settings: Settings) -> list[Wanted]:
    from taxiway.trips.download import Wanted

    folder = cache_folder(settings)
    return [
        Wanted(month, layout, file_names(layout, month), azure_folder(layout, month), folder)
        for month, layout in wanted.items()
    ]


def _fetch_remote(
    wanted: Mapping[Month, Layout], settings: Settings, progress: Progress, jobs: int
) -> tuple[MonthFiles, ...]:
    from taxiway.trips.download import download
    from taxiway.trips.remote import shown

    source = shown(settings.source_location)
    requests = _requests(wanted, settings)
    found = {item.month: _cached(item, source, progress) for item in requests}
    missing = [item for item in requests if found[item.month] is None]
    if missing:
        download(missing, settings.source_location, progress, jobs)
    fetched = {item.month: item.month_files(source) for item in missing}
    return tuple(found[month] or fetched[month] for month in wanted)


def _cached(item: Wanted, source: str, progress: Progress) -> MonthFiles | None:
    """A month that was fetched before; a copy that has been damaged since is fetched again."""
    if not item.paths():
        return None
    try:
        return item.month_files(source)
    except NotWhole as error:
        progress.note(f"{error.message}; fetching it again")
        item.forget()
        return None
