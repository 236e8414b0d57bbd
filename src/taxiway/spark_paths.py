"""Paths as Spark takes them: always with a scheme, and never a pattern by accident."""

from __future__ import annotations

import re
from pathlib import Path


def spark_path(place: str | Path, *, reading: bool = False) -> str:
    r"""The one way in which a place becomes a path that is handed to Spark.

    Without a scheme Spark resolves a path against ``fs.defaultFS``, which may be a store elsewhere; and what it
    reads, a path with brackets or a star in it is a pattern to it, which may match another folder.

    Parameters
    ----------
    place : str or Path
        An absolute path of this machine, or an address with a scheme.
    reading : bool
        Whether Spark is to read there. A path to write to is no pattern to Spark (seen in 4.3), and has to be
        left as it is.

    Returns
    -------
    str
        With a scheme. Not encoded as a URI: Hadoop takes ``%20`` for three characters of the name.

    Examples
    --------
    >>> spark_path(Path("/data/trips[12]"), reading=True)
    'file:///data/trips\\[12\\]'
    >>> spark_path("s3a://trips/green")
    's3a://trips/green'
    """
    text = str(place)
    address = text if re.match(r"[A-Za-z][\w+.-]*://", text) else f"file://{text}"
    return re.sub(r"([\\\[\]{}*?])", r"\\\1", address) if reading else address
