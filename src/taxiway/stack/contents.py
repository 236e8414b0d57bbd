"""What a dump of MLflow's database says that there has to be in the bucket, and whether it is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

TABLES = ("experiments", "runs", "registered_models", "model_versions", "logged_models")
"""The tables whose rows are counted; restored, there have to be as many."""
READ_TABLES = (*TABLES, "logged_model_tags")

MLMODEL = "MLmodel"
_COPY = re.compile(r'COPY (?:\w+\.)?"?(\w+)"? \((.*)\) FROM stdin;')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_READY = "2"  # a logged model's status, as MLflow 3.17 writes it
_NOT_A_PLACE = ("dummy-source", "prompt-template")  # what MLflow writes as the source of a prompt's version
# In a flavor's section, what names files of the model.
_NAMING = ("artifact_path", "data", "model_data", "model_path", "pickled_model", "code", "env")


@dataclass(frozen=True)
class Need:
    """A version or a logged model that must have its files.

    Parameters
    ----------
    label : str
        What it is called when they are missing.
    location : str
        Where MLflow says that they are.
    logged : bool
        Whether it is a logged model, which always has a description of itself.
    """

    label: str
    location: str
    logged: bool

    @property
    def prefix(self) -> str | None:
        """What the keys of its objects begin with; None when they are not in the stack's bucket."""
        parts = urlsplit(self.location)
        return f"{unquote(parts.path).strip('/')}/" if parts.scheme == "mlflow-artifacts" else None


@dataclass(frozen=True)
class Contents:
    """What a dump holds.

    Parameters
    ----------
    counts : mapping of str to int
        Rows of each of `TABLES`.
    needs : tuple of Need
    """

    counts: Mapping[str, int]
    needs: tuple[Need, ...]


def read_contents(lines: Iterable[bytes]) -> Contents:
    """Read the tables of `READ_TABLES`, as pg_restore writes them from a dump.

    Parameters
    ----------
    lines : iterable of bytes
        SQL in which each table's rows follow a COPY.
    """
    reader = _Reader()
    for table, row in _rows(lines):
        reader.take(table, row)
    return reader.contents()


def gaps(contents: Contents, objects: Mapping[str, int], descriptions: Mapping[str, bytes]) -> tuple[str, ...]:
    """What has not all of its files, each with the reason.

    Parameters
    ----------
    contents : Contents
    objects : mapping of str to int
        The size of every object by its key.
    descriptions : mapping of str to bytes
        The content of every object named ``MLmodel``, by its key.
    """
    prefixes = {need.prefix for need in contents.needs}
    files: dict[str, dict[str, int]] = {prefix: {} for prefix in prefixes if prefix is not None}
    for key, size in objects.items():
        for cut in _slashes(key):
            if key[:cut] in files:
                files[key[:cut]][key[cut:]] = size
    found = []
    for need in contents.needs:
        prefix = need.prefix
        if prefix is None:
            found.append(f"{need.label} keeps its files at {need.location}, outside the stack")
        elif why := _fault(need, files[prefix], descriptions.get(f"{prefix}{MLMODEL}")):
            found.append(f"{need.label} {why}")
    return tuple(found)


@dataclass
class _Reader:
    counts: Counter[str] = field(default_factory=Counter)
    models: dict[str, tuple[str, str]] = field(default_factory=dict)
    versions: list[tuple[str, str]] = field(default_factory=list)
    external: set[str] = field(default_factory=set)

    def take(self, table: str, row: Mapping[str, str | None]) -> None:
        self.counts[table] += 1
        if table == "logged_models" and row["status"] == _READY and row["lifecycle_stage"] == "active":
            self.models[str(row["model_id"])] = (str(row["name"]), str(row["artifact_location"]))
        elif table == "logged_model_tags" and (row["tag_key"], row["tag_value"]) == ("mlflow.model.isExternal", "true"):
            self.external.add(str(row["model_id"]))
        elif table == "model_versions" and row["current_stage"] != "Deleted_Internal":
            location = row.get("storage_location") or row["source"] or ""
            if location not in _NOT_A_PLACE:
                self.versions.append((f"{row['name']}/{row['version']}", location))

    def contents(self) -> Contents:
        needs = [
            Need(f"the model {name} ({model_id})", location, True)
            for model_id, (name, location) in self.models.items()
            if model_id not in self.external
        ]
        for label, location in self.versions:
            _, _, model_id = location.partition("models:/")
            needs.append(Need(label, self.models.get(model_id, ("", location))[1], False))
        return Contents({table: self.counts[table] for table in TABLES}, tuple(needs))


def _fault(need: Need, files: Mapping[str, int], description: bytes | None) -> str:
    if not files:
        return "has no files in the bucket"
    if description is None:
        return f"has no file {MLMODEL} in the bucket" if need.logged else ""
    import yaml

    try:
        document = yaml.safe_load(description)
        named, least = sorted(_named(document)), int(document.get("model_size_bytes") or 0)
    except (yaml.YAMLError, AttributeError, TypeError, ValueError):
        return f"has a file {MLMODEL} that cannot be read"
    for name in named:
        if name not in files and not any(file.startswith(f"{name}/") for file in files):
            return f"lacks {name}, which its {MLMODEL} names"
    # MLflow takes the size before it writes the description and what belongs to it.
    if sum(files.values()) < least:
        return f"has {sum(files.values())} bytes of {least} in the bucket"
    return ""


def _named(document: Any) -> set[str]:
    """The files and folders that a model's description names."""
    sections = [*(document.get("flavors") or {}).values(), document.get("saved_input_example_info") or {}]
    values = [section.get(key) for section in sections if isinstance(section, dict) for key in _NAMING]
    names = [name for value in values for name in (value.values() if isinstance(value, dict) else [value])]
    return {name.strip("/") for name in names if isinstance(name, str) and name}


def _rows(lines: Iterable[bytes]) -> Iterator[tuple[str, dict[str, str | None]]]:
    table, columns = "", []
    for line in lines:
        text = line.decode().rstrip("\n")
        if not table:
            if match := _COPY.fullmatch(text):
                table, columns = match[1], [column.strip(' "') for column in match[2].split(",")]
        elif text == "\\.":
            table = ""
        else:
            yield table, dict(zip(columns, map(_value, text.split("\t")), strict=True))


def _value(text: str) -> str | None:
    if text == "\\N":
        return None
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text) if "\\" in text else text


def _slashes(key: str) -> Iterator[int]:
    """Where each folder of a key ends, its slash included."""
    cut = key.find("/")
    while cut >= 0:
        yield cut + 1
        cut = key.find("/", cut + 1)
