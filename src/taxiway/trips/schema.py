"""The canonical columns of a trip, and the one table that maps every published layout to them.

A published name is compared without case and underscores, so that ``PULocationID``,
``puLocationId`` and ``pu_location_id`` are one entry of the table. Sources: the TLC's data
dictionaries for yellow and green trip records (2009 to 2025) and the schema that Azure Open
Datasets documents for its copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from taxiway.errors import BadData, UsageError, did_you_mean

SYNTHETIC_KEY = "taxiway.synthetic"
"""Key of a Parquet file's metadata that marks synthetic trips; its value is the seed."""

COLOUR = "colour"
MONTH = "month"
PROVENANCE: Mapping[str, str] = MappingProxyType({COLOUR: "string", MONTH: "string"})
"""Columns that say which month's file a row came from; rules may read them, features may not."""


@dataclass(frozen=True)
class Column:
    """One canonical column.

    Parameters
    ----------
    name : str
        The canonical name.
    type : str
        Spark SQL type: ``int``, ``double``, ``string`` or ``timestamp_ntz``.
    published_as : tuple of str
        The names under which it has been published, besides its own.
    required : bool
        Whether a file without it is refused; otherwise the column is null.
    codes : mapping of str to str
        Texts that stand for a code, lower case: ``{"cash": "2"}``. An empty code is a known text that has none: null.
    """

    name: str
    type: str
    published_as: tuple[str, ...] = ()
    required: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The files and columns of one family of monthly data files.

    Parameters
    ----------
    colour : str
        The name used in ranges of months: ``yellow:2018-05``.
    columns : tuple of Column
        The canonical columns, in order.
    files : tuple of str
        File names, best first; ``{month}`` stands for ``2018-05``, ``{year}`` and ``{mm}`` for
        its parts. Names that end in ``.csv`` are read as CSV with a header.
    azure_folder : str
        Folder of a month in the layout of Azure Open Datasets; empty where there is none.
    first : tuple of int
        Year and month of the first file ever published.
    time : str
        The column that says when the row happened; the split into training and holdout uses it.
    """

    colour: str
    columns: tuple[Column, ...]
    files: tuple[str, ...]
    azure_folder: str = ""
    first: tuple[int, int] = (1, 1)
    time: str = "pickup_at"

    def column_names(self) -> tuple[str, ...]:
        """The canonical names, in order."""
        return tuple(column.name for column in self.columns)


_PAYMENT = MappingProxyType(
    {
        **dict.fromkeys(("credit", "credit card", "crd", "cre", "card"), "1"),
        **dict.fromkeys(("cash", "csh", "cas"), "2"),
        **dict.fromkeys(("no charge", "no", "noc"), "3"),
        **dict.fromkeys(("dispute", "dis"), "4"),
        **dict.fromkeys(("unknown", "unk"), "5"),
        **dict.fromkeys(("voided trip", "void"), "6"),
    }
)
# DDS, the third vendor of 2009 and 2010, never got a code of the TLC.
_VENDOR = MappingProxyType({"cmt": "1", "vts": "2", "dds": ""})

TRIP_COLUMNS: tuple[Column, ...] = (
    Column("vendor_id", "int", ("VendorID", "vendor_name"), codes=_VENDOR),
    Column(
        "pickup_at",
        "timestamp_ntz",
        ("tpep_pickup_datetime", "lpep_pickup_datetime", "Trip_Pickup_DateTime", "pickup_datetime"),
        required=True,
    ),
    Column(
        "dropoff_at",
        "timestamp_ntz",
        ("tpep_dropoff_datetime", "lpep_dropoff_datetime", "Trip_Dropoff_DateTime", "dropoff_datetime"),
        required=True,
    ),
    Column("passenger_count", "int", required=True),
    Column("trip_distance", "double", required=True),
    Column("rate_code_id", "int", ("RatecodeID", "Rate_Code"), required=True),
    Column("store_and_fwd_flag", "string", ("store_and_forward",)),
    Column("pickup_zone_id", "int", ("PULocationID", "pickup_location_id")),
    Column("dropoff_zone_id", "int", ("DOLocationID", "dropoff_location_id")),
    Column("pickup_longitude", "double", ("Start_Lon",)),
    Column("pickup_latitude", "double", ("Start_Lat",)),
    Column("dropoff_longitude", "double", ("End_Lon",)),
    Column("dropoff_latitude", "double", ("End_Lat",)),
    Column("payment_type", "int", required=True, codes=_PAYMENT),
    Column("fare_amount", "double", ("Fare_Amt",), required=True),
    Column("extra", "double", ("surcharge",)),
    Column("mta_tax", "double"),
    Column("tip_amount", "double", ("Tip_Amt",), required=True),
    Column("tolls_amount", "double", ("Tolls_Amt",)),
    Column("improvement_surcharge", "double"),
    Column("total_amount", "double", ("Total_Amt",)),
    Column("congestion_surcharge", "double"),
    Column("airport_fee", "double"),
    Column("cbd_congestion_fee", "double"),
    Column("ehail_fee", "double"),
    Column("trip_type", "int"),
)
"""Distances in miles, money in US dollars, times in New York local time without a zone."""


def _tlc(colour: str, first: tuple[int, int]) -> Layout:
    return Layout(
        colour=colour,
        columns=TRIP_COLUMNS,
        files=(
            f"{colour}_tripdata_{{month}}.parquet",
            f"{colour}_tripdata_{{month}}.csv",
            f"{colour}_tripdata_sample_{{month}}.csv",
        ),
        azure_folder=f"{colour}/puYear={{year}}/puMonth={{m}}",
        first=first,
    )


YELLOW = _tlc("yellow", (2009, 1))
GREEN = _tlc("green", (2013, 8))
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What stands between the values of CSV files that are none; what it is called."""

LAYOUTS: Mapping[str, Layout] = MappingProxyType({"yellow": YELLOW, "green": GREEN})


def match_columns(layout: Layout, published: Iterable[str], where: str) -> dict[str, tuple[str, ...]]:
    """Find the published names of every canonical column.

    Parameters
    ----------
    layout : Layout
        The canonical columns and their published names.
    published : iterable of str
        The names that a file has.
    where : str
        The file, for the message.

    Returns
    -------
    dict of str to tuple of str
        Canonical name to published names, in the order of the file; none where the file has no such column, and
        several where it has more than one for it.

    Raises
    ------
    BadData
        A required column is missing; names it and the closest match among the file's columns. Or the file is a CSV
        file with something else than commas between its values.
    """
    names = list(published)
    keys = {column.name: {_key(alias) for alias in (column.name, *column.published_as)} for column in layout.columns}
    matches = {column: tuple(name for name in names if _key(name) in accepted) for column, accepted in keys.items()}
    missing = [column for column in layout.columns if column.required and not matches[column.name]]
    if missing and len(names) == 1:
        for sign, called in _SEPARATORS.items():
            if sign in names[0]:
                raise BadData(f"{where} has {called} between its values", "Save it with commas between them")
    if missing:
        taken = {name for found in matches.values() for name in found}
        free = [name for name in names if name not in taken]
        listed = ", ".join(f"{column.name} ({_closest(column, free)})" for column in missing)
        raise BadData(f"{where} lacks the columns {listed}", f"It has {', '.join(names) or 'no columns'}")
    return matches


def _closest(column: Column, free: list[str]) -> str:
    for name in (*column.published_as, column.name):
        hint = did_you_mean(name, free)
        if hint.startswith("Did you mean"):
            return f"closest: {hint.split(chr(39))[1]}"
    return "nothing close to it"


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def layout_of(colour: str, layouts: Mapping[str, Layout]) -> Layout:
    """The layout of a colour.

    Raises
    ------
    UsageError
        Unknown colour, with the closest known one.
    """
    if colour not in layouts:
        raise UsageError(
            f"There are no '{colour}' trips",
            f"{did_you_mean(colour, layouts)} Data of your own need their recipe: --recipe FILE",
        )
    return layouts[colour]
