"""What all tests share: a clean environment, the one Spark session, the real trips, the installed command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_socket import disable_socket, enable_socket

from services import missing
from taxiway.settings import SETTINGS, SPARK_SETTING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from taxiway.settings import Settings

TESTS = Path(__file__).parent
TEST_TRIPS = "TAXIWAY_TEST_TRIPS"
SPARK = {
    # One small shuffle partition: test frames are small, and tasks cost more than their rows.
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "2",
    # The suite runs beside MLflow servers on machines of 4 GB.
    "spark.driver.memory": "1500m",
}

# Where `make test` may keep a Java of its own, if this machine has none: read before tests clean the environment.
DEVELOPERS_HOME = {name: value for name, value in os.environ.items() if name == "TAXIWAY_HOME"}

# A worker of pytest-xdist is a program without a file, which PySpark 4.3 takes for its own doctests and ends.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__

Taxiway = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the folder that it lives in: unit, spark, integration or acceptance."""
    for item in items:
        kind = item.path.relative_to(TESTS).parts[0]
        item.add_marker(getattr(pytest.mark, kind))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's own machine reaches a test, and no test writes into their home."""
    names = [setting.variable for setting in (*SETTINGS, SPARK_SETTING)]
    names += [name for name in os.environ if name.startswith("TAXIWAY_") and name != TEST_TRIPS]
    for name in (*names, "MLFLOW_REGISTRY_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAXIWAY_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def no_sockets_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """A unit test that opens a connection fails; asyncio's own socket pairs are let through."""
    if "unit" not in request.node.keywords:
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of the test's own and the embedded store."""
    from taxiway.settings import load_settings

    return load_settings({"home": tmp_path / "home"}, {}, tmp_path)


@pytest.fixture(scope="session")
def java_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Java of all tests, found or installed by the product itself, once and not into a test's home."""
    from taxiway.java import ensure_java
    from taxiway.settings import load_settings

    found = str(ensure_java(load_settings({}, DEVELOPERS_HOME, tmp_path_factory.mktemp("java"))).home)
    os.environ["JAVA_HOME"] = found
    return found


@pytest.fixture(scope="session")
def _shared_spark(java_home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    from taxiway.settings import load_settings
    from taxiway.spark import spark_session

    home = tmp_path_factory.mktemp("spark-home")
    session = spark_session(load_settings({"home": home, "spark": SPARK}, {}, home))
    yield session
    session.stop()


@pytest.fixture
def spark(_shared_spark: SparkSession) -> Iterator[SparkSession]:
    """The Spark session of all tests, started by the first that asks; caches and views end with the test."""
    yield _shared_spark
    _shared_spark.catalog.clearCache()
    for table in _shared_spark.catalog.listTables():
        if table.isTemporary:
            _shared_spark.catalog.dropTempView(table.name)


@pytest.fixture(scope="session")
def real_trips() -> Path:
    """The folder of real TLC trips that TAXIWAY_TEST_TRIPS names."""
    folder = os.environ.get(TEST_TRIPS)
    if not folder:
        missing(f"real trips: set {TEST_TRIPS} to a folder of TLC files")
    if not Path(folder).is_dir():
        missing(f"real trips: {TEST_TRIPS} names {folder}, which is no folder")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def taxiway_command() -> str:
    """The path of the installed command, beside the interpreter that runs the tests."""
    command = shutil.which("taxiway", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.fail("the command taxiway is not installed in this environment: make test installs it")
    return command


@pytest.fixture
def run_taxiway(taxiway_command: str, java_home: str, tmp_path: Path) -> Taxiway:
    """Run the installed command in a subprocess, in an empty folder with a home of its own.

    Called as ``run_taxiway("train", "tip", …, env={…}, cwd=…, timeout=…)``; the environment is the
    test's own with `env` on top. Returns the completed process with its output as text.
    """

    def run(
        *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        folder = cwd or tmp_path / "work"
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "TAXIWAY_HOME": str(tmp_path / "home"), **(env or {})}
        return subprocess.run(
            [taxiway_command, *map(str, arguments)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run
