"""The only reader of environment variables and setting files: one frozen object, passed down."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from taxiway import links
from taxiway.errors import NotFound, UsageError, did_you_mean
from taxiway.folders import expanded, unusable
from taxiway.stack_settings import StackSettings, read_stack

SETTINGS_FILE = "taxiway.toml"
SPARK_VARIABLE = "TAXIWAY_SPARK"
TLC_LOCATION = "https://d37ci6vzurychx.cloudfront.net/trip-data"
AZURE_LOCATION = "abfs://nyctlc@azureopendatastorage.dfs.core.windows.net"
NAMED_SOURCES: Mapping[str, str] = MappingProxyType({"tlc": TLC_LOCATION, "azure": AZURE_LOCATION})
PROFILES = ("stack",)
_OF_THE_PROFILE = "profile stack"


@dataclass(frozen=True)
class Setting:
    """One setting: its key in ``taxiway.toml``, its environment variable, and what it is for."""

    key: str
    variable: str
    help: str


SETTINGS: tuple[Setting, ...] = (
    Setting("home", "TAXIWAY_HOME", "The one folder that Taxiway keeps its data in"),
    Setting(
        "trips_source",
        "TAXIWAY_TRIPS_SOURCE",
        "Where trips come from: tlc, azure, a folder, or any base URL (https://, s3://, abfs://)",
    ),
    Setting(
        "tracking_uri",
        "MLFLOW_TRACKING_URI",
        "The MLflow server; without one, a SQLite file and a folder under the home",
    ),
    Setting(
        "mlflow_pages",
        "TAXIWAY_MLFLOW_PAGES",
        "Where a browser finds the MLflow server's pages, if not at its tracking address",
    ),
    Setting("shared", "TAXIWAY_SHARED", "On a Spark cluster: the bucket or folder that driver and executors both see"),
    Setting("profile", "TAXIWAY_PROFILE", "stack: work on the container stack, with its own account"),
    Setting("stack", "TAXIWAY_STACK", "The folder of the container stack, with its compose.yaml"),
)
SPARK_SETTING = Setting("spark", SPARK_VARIABLE, "Any spark.* configuration, spark.master included")


@dataclass(frozen=True)
class Settings:
    """What a command runs with. Built by `load_settings`, never changed afterwards.

    Parameters
    ----------
    home : Path
        The one data directory: downloads, the embedded store, locks and temporary files.
    trips_source : str
        ``tlc``, ``azure``, a directory, or a base URL that fsspec understands.
    tracking_uri : str
        MLflow's tracking and registry address.
    spark : mapping of str to str
        Spark configuration that overrides Taxiway's own choices.
    origins : mapping of str to str
        Where each value came from: ``default``, ``taxiway.toml``, a variable, an option, or the profile.
    shared : str
        The address or folder that driver and executors of a Spark cluster both see; empty for none.
    profile : str
        ``stack``, or nothing.
    stack : StackSettings, optional
        The container stack; None when no folder near by holds one.
    mlflow_pages : str
        The address of the server's pages for a browser; empty when it is the tracking address.
    """

    home: Path
    trips_source: str
    tracking_uri: str
    spark: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    shared: str = ""
    profile: str = ""
    stack: StackSettings | None = None
    mlflow_pages: str = ""

    @property
    def source_location(self) -> str:
        """The trips source with its name resolved to an address."""
        return NAMED_SOURCES.get(self.trips_source, self.trips_source)

    @property
    def embedded_store(self) -> bool:
        """Whether tracking uses the SQLite file under the home instead of a server."""
        return self.tracking_uri == embedded_uri(self.home)

    @property
    def on_stack(self) -> bool:
        """Whether tracking uses the container stack because the profile says so."""
        return self.origins.get("tracking_uri") == _OF_THE_PROFILE

    def credentials(self) -> dict[str, str]:
        """MLflow's variables that say who we are to the container stack; none for any other store.

        Raises
        ------
        NotFound
            There is no stack, or it has not been started yet.
        MachineError
            The file with the password cannot be read.
        """
        if not self.on_stack:
            return {}
        if self.stack is None:
            raise NotFound("No container stack of Taxiway is near this folder", "Name its folder with TAXIWAY_STACK")
        return {
            "MLFLOW_TRACKING_USERNAME": "taxiway",
            "MLFLOW_TRACKING_PASSWORD": self.stack.read_secret("mlflow_taxiway_password"),
        }

    def items(self) -> Iterator[tuple[str, str, str]]:
        """Yield (key, value, origin) for every setting, Spark's one by one."""
        values = {**vars(self), "stack": self.stack.folder if self.stack else ""}
        for setting in SETTINGS:
            yield setting.key, str(values[setting.key]), self.origins.get(setting.key, "default")
        for key, value in sorted(self.spark.items()):
            yield key, value, self.origins.get(key, "default")


def embedded_uri(home: Path) -> str:
    """The tracking address of the store that needs no server."""
    return f"sqlite:///{home / 'mlflow.db'}"


def load_settings(
    options: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Read the settings: defaults, then ``taxiway.toml``, then variables, then options.

    Parameters
    ----------
    options : mapping, optional
        Keys of `SETTINGS`, and ``spark`` with a mapping or a sequence of ``key=value``. None
        counts as absent.
    environment : mapping of str to str, optional
        ``os.environ`` by default.
    directory : Path, optional
        Where ``taxiway.toml`` is looked for; the working directory by default.

    Returns
    -------
    Settings

    Raises
    ------
    UsageError
        Any fault in the settings; all faults are reported together.
    """
    env = os.environ if environment is None else environment
    folder = directory or Path.cwd()
    reader = _Reader()
    reader.read_file(folder / SETTINGS_FILE)
    reader.read_environment(env)
    reader.read_options(options or {})
    values = reader.values
    home = reader.home()
    shared, source = reader.place("shared", ""), reader.place("trips_source", "tlc")
    stack = read_stack(values.get("stack"), env, folder, reader.faults)
    if reader.faults:
        raise UsageError("; ".join(reader.faults), "taxiway settings lists what can be set")
    if _profile_wins(reader.origins):
        values["tracking_uri"] = links.on_this_machine(stack.mlflow_port if stack else 5000)
        reader.origins["tracking_uri"] = _OF_THE_PROFILE
    return Settings(
        home=home,
        trips_source=source,
        tracking_uri=values.get("tracking_uri") or embedded_uri(home),
        spark=MappingProxyType(dict(reader.spark)),
        origins=MappingProxyType(reader.origins),
        shared=shared.rstrip("/"),
        profile=values.get("profile", ""),
        stack=stack,
        mlflow_pages=values.get("mlflow_pages", ""),
    )


def _profile_wins(origins: Mapping[str, str]) -> bool:
    """Whether the profile says where the store is: an address that comes from a later source stands."""
    given = [_rank(origins[key]) if key in origins else -1 for key in ("profile", "tracking_uri")]
    return given[0] > given[1]


def _rank(origin: str) -> int:
    return 0 if origin == SETTINGS_FILE else 2 if origin.startswith("--") else 1


class _Reader:
    """Collects values, where they came from and all faults; a later source wins."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.spark: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.faults: list[str] = []

    def read_file(self, file: Path) -> None:
        if not file.is_file():
            return
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            self.faults.append(f"{file} cannot be read as TOML: {error}")
            return
        known = [setting.key for setting in SETTINGS]
        for key, value in table.items():
            if key == "spark" and isinstance(value, dict):
                for name, text in _flatten(value):
                    self._set_spark(name, text, SETTINGS_FILE)
            elif key not in known:
                self.faults.append(f"{file} has an unknown setting '{key}'. {did_you_mean(key, [*known, 'spark'])}")
            elif not isinstance(value, str) or not value:
                self.faults.append(f"{file}: '{key}' must be a text that is not empty")
            else:
                self._set(key, value, SETTINGS_FILE)

    def home(self) -> Path:
        """The home folder, which has to be one that every part of Taxiway can be told of."""
        if text := self.values.get("home"):
            home = Path(self._expanded("home", text))
            elsewhere = self.values.get("tracking_uri") or self.values.get("profile")
            if sign := unusable(str(home), with_store=not elsewhere):
                self.faults.append(f"{self._origin('home')}: {home} has {sign} in it, which Spark or MLflow gets wrong")
            return home
        try:
            return expanded("~/.taxiway")
        except UsageError:
            self.faults.append("this user has no home folder (HOME is not set), so TAXIWAY_HOME has to name one")
            return Path()

    def place(self, key: str, default: str) -> str:
        """A place that is a folder, or an address, or a name that stands for one."""
        source = self.values.get(key) or default
        if not source or source in NAMED_SOURCES or "://" in source:
            return source
        return self._expanded(key, source)

    def _expanded(self, key: str, text: str) -> str:
        try:
            return str(expanded(text))
        except UsageError as error:
            self.faults.append(f"{self._origin(key)}: {error.message}")
            return text

    def _origin(self, key: str) -> str:
        return self.origins.get(key, key)

    def read_environment(self, environment: Mapping[str, str]) -> None:
        for setting in SETTINGS:
            if value := environment.get(setting.variable):
                self._set(setting.key, value, setting.variable)
        known = {setting.variable for setting in (*SETTINGS, SPARK_SETTING)} | {"TAXIWAY_TEST_TRIPS"}
        for name in sorted(environment):
            if name.startswith("TAXIWAY_") and name not in known:
                self.faults.append(f"the variable {name} is not a setting. {did_you_mean(name, known)}")
        self._read_pairs(environment.get(SPARK_VARIABLE, "").split(";"), SPARK_VARIABLE)

    def read_options(self, options: Mapping[str, Any]) -> None:
        for setting in SETTINGS:
            if (value := options.get(setting.key)) is None:
                continue
            option = f"--{setting.key.replace('_', '-')}"
            if str(value).strip():
                self._set(setting.key, str(value), option)
            else:
                # As of a script whose variable is not set: the default might be another home than the one meant.
                self.faults.append(f"{option} is empty")
        spark = options.get("spark") or ()
        if isinstance(spark, Mapping):
            spark = [f"{key}={value}" for key, value in spark.items()]
        self._read_pairs(spark, "--spark")

    def _read_pairs(self, pairs: Any, origin: str) -> None:
        for pair in pairs:
            if not pair.strip():
                continue
            key, equals, value = pair.strip().partition("=")
            if not equals:
                self.faults.append(f"{origin}: '{pair}' is not of the form spark.key=value")
            else:
                self._set_spark(key.strip(), value.strip(), origin)

    def _set(self, key: str, value: str, origin: str) -> None:
        if key == "profile" and value not in PROFILES:
            self.faults.append(f"{origin}: there is no profile '{value}'. {did_you_mean(value, PROFILES)}")
            return
        self.values[key] = value
        self.origins[key] = origin

    def _set_spark(self, key: str, value: str, origin: str) -> None:
        name = key if key.startswith("spark.") else f"spark.{key}"
        self.spark[name] = value
        self.origins[name] = origin


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value).lower() if isinstance(value, bool) else str(value)
