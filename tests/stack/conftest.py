"""The stack of all tests: started as a user starts it, on images that `base.sh` made, and cleared at the end.

Processes of pytest that run side by side have a stack each. The first one builds the images and starts alone, so
that what is measured then is what a user waits for.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import HERE, QUICK, ROOT, SERVICES, WORK, Stack, docker, images, inside, memory, run
from filelock import FileLock
from object_stores import free_ports
from xdist.workermanage import WorkerController

from services import missing

PROJECT = "taxiway-test"
BROWSER = HERE / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Drive = Callable[..., dict[str, Any]]
FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stack")
    group.addoption("--s3", choices=("seaweedfs", "minio"), default="seaweedfs", help="the S3 server of the stack")
    group.addoption("--compose", choices=("v2", "1.29"), default="v2", help="which Compose starts it")
    group.addoption("--keep", action="store_true", help="leave the stack running, and use the one that runs")
    group.addoption("--screenshots", type=Path, help="folder for pictures of the pages")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what one of several processes has measured to the one that prints it."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["figures"] = session.config.stash[FIGURES]


def pytest_testnodedown(node: WorkerController) -> None:
    """Take what a process has measured; one that crashed has nothing to say."""
    node.config.stash[FIGURES].update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for all images to be built."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(2400))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured."""
    if config.stash[FIGURES]:
        terminalreporter.section(f"figures of the stack on {config.getoption('--s3')}")
        for name, value in config.stash[FIGURES].items():
            terminalreporter.write_line(f"{name:<44} {value}")


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker engine that answers, or the reason why not."""
    if shutil.which("docker") is None or docker("info", check=False).returncode:
        missing("Docker: install and start it; on Debian, bash tests/stack/base.sh does")


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest,
    docker_engine: None,
    java_home: str,
    taxiway_command: str,
    tmp_path_factory: pytest.TempPathFactory,
    worker_id: str,
) -> Iterator[Stack]:
    """The whole stack, healthy."""
    project = PROJECT if worker_id == "master" else f"{PROJECT}-{worker_id}"
    keep = request.config.getoption("--keep")
    s3 = request.config.getoption("--s3")
    go = images().get("STACK_GO")
    if s3 == "minio" and go and docker("image", "inspect", go, check=False).returncode:
        missing("MinIO is built from its source with Go: bash tests/stack/base.sh ready minio")
    folder = ROOT / "build" / project if keep else tmp_path_factory.mktemp("stack")
    found = Stack(
        project=project,
        secrets=folder / "secrets",
        home=folder / "home",
        s3=s3,
        **_ports(folder / "secrets" / "stack.env"),
        taxiway_command=taxiway_command,
        variables=_compose_variables(request.config.getoption("--compose"), tmp_path_factory),
    )
    if not keep:
        found.shell("clear")
    if not found.runs():
        together = _together(tmp_path_factory, worker_id)
        with FileLock(together / "first-start.lock"):
            figures = _start(found)
            if not (measured := together / "measured").exists():
                request.config.stash[FIGURES].update(figures)
                measured.touch()
    yield found
    if not keep:
        found.shell("clear")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The program that drives the browser, with what it needs installed beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("Node.js with npm, which drives the browser")
    # Processes that run side by side share it.
    with FileLock(_together(tmp_path_factory, worker_id) / "browser.lock"):
        if not (BROWSER / "node_modules" / ".package-lock.json").is_file():
            run(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=BROWSER)
    return BROWSER / "drive.mjs"


@pytest.fixture(scope="session")
def drive(driver: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Let the browser do one task; what it saw.

    No page may end with an error, or send anything to another host than this machine's loopback address.
    """
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        missing("a browser: install Chromium")
    pictures: Path | None = request.config.getoption("--screenshots")
    failures = tmp_path_factory.mktemp("pages")
    # Chromium keeps its profile there, and Crashpad its own files.
    environment = {**os.environ, "HOME": str(tmp_path_factory.mktemp("browser"))}

    def task(name: str, *, hosts: Collection[str] = (), **wish: Any) -> dict[str, Any]:
        wish = {"browser": browser, "failure": str(failures / f"{name}.png"), **wish}
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            wish.setdefault("screenshots", str(pictures.resolve()))
        command = ("node", str(driver), name)
        done = run(*command, env=environment, input=json.dumps(wish), timeout=1200, check=False)
        if done.returncode:
            pytest.fail(f"{name}: {done.stderr[-4000:]}\nThe page as it was: {wish['failure']}", pytrace=False)
        seen: dict[str, Any] = json.loads(done.stdout)
        assert seen.pop("errors") == []
        assert set(seen.pop("hosts")) == {"127.0.0.1", *hosts}
        return seen

    return task


@pytest.fixture(scope="session")
def trips_in_work(stack: Stack, real_trips: Path) -> str:
    """Real trips in the folder that users see in JupyterLab, and the setting that names them beside the notebooks."""
    stack.put("jupyterlab_spark", f"{WORK}/trips", {file.name: file for file in sorted(real_trips.glob("*.parquet"))})
    stack.put("jupyterlab_spark", WORK, {"taxiway.toml": f'trips_source = "{WORK}/trips"\n'.encode()})
    return f"{WORK}/trips"


@pytest.fixture(scope="session")
def in_production(stack: Stack, trips_in_work: str) -> None:
    """A version of the recipe `quick` in production, and candidates to spare, of which no version was made."""
    stack.put("jupyterlab_spark", WORK, {"quick.py": inside("quick.py").encode()})
    grid = ("--grid", "regParam=0.01,0.1", "--grid", "elasticNetParam=0,0.5")
    for words in (
        (*QUICK, *grid, "--trips-source", trips_in_work),
        ("register", "quick"),
        ("promote", "quick", "--to", "staging"),
        ("promote", "quick", "--to", "production"),
    ):
        stack.exec("jupyterlab_spark", "taxiway", *words)


def _together(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for all processes of one run."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


def _start(stack: Stack) -> dict[str, str]:
    """Build, start and measure."""
    begun = time.monotonic()
    stack.compose("build", timeout=1800)
    built = time.monotonic()
    stack.shell("start")
    healthy = time.monotonic()
    stack.rest.update(memory(stack.container(service) for service in SERVICES))
    return {
        "images built in": f"{built - begun:.0f} s",
        "make start, images built, to all healthy": f"{healthy - built:.1f} s",
        **{f"memory at rest, {name}": f"{amount:.0f} MiB" for name, amount in sorted(stack.rest.items())},
        "memory at rest, whole stack": f"{sum(stack.rest.values()):.0f} MiB",
    }


def _ports(remembered: Path) -> dict[str, int]:
    """The ports of the stack that is kept, or free ones."""
    names = {"STACK_JUPYTER_PORT": "jupyter_port", "STACK_MLFLOW_PORT": "mlflow_port"}
    names["STACK_MINIO_CONSOLE_PORT"] = "console_port"
    if remembered.is_file():
        lines = dict(line.split("=", 1) for line in remembered.read_text(encoding="utf-8").split())
        return {key: int(lines[name]) for name, key in names.items()}
    return dict(zip(names.values(), free_ports(len(names)), strict=True))


def _compose_variables(version: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Hide the plugin from Docker, so that Debian's Compose 1.29 is all there is."""
    if version == "v2":
        return {}
    if shutil.which("docker-compose") is None:
        missing("Compose 1.29: install Debian's package docker-compose")
    hidden = {"DOCKER_CONFIG": str(tmp_path_factory.mktemp("docker"))}
    said = run("docker-compose", "--version").stdout
    if " 1.29" not in said:
        missing(f"Compose 1.29: this machine's docker-compose is another one ({said.strip()})")
    return hidden
