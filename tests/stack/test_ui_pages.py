"""MLflow's pages by `taxiway ui`, in a real browser: in which view they open, what greets, and whom they tell."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.server
import pytest
from object_stores import free_ports
from sweeps import make_sweep

from pictures import is_drawn
from taxiway import links
from taxiway.registry import promote, register
from taxiway.settings import Settings, load_settings

Drive = Callable[..., dict[str, Any]]

VALUES = [0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1]
NAMES = [f"regParam={value}" for value in VALUES]
NOWHERE = ("beacon", "fetch", "font", "image", "shared", "worker")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A store with two sweeps of ten, and a version in production."""
    home = tmp_path_factory.mktemp("ui")
    found = load_settings({"home": home}, {}, home)
    make_sweep(found, "tip", {str(value): 0.7 for value in VALUES}, with_model=False)
    newest = make_sweep(found, "tip", {str(value): 0.9 - value / 100 for value in VALUES})
    promote(str(register("tip", found, run=newest.best)), found, to="production")
    return found


@pytest.fixture(scope="module")
def shown(store: Settings, taxiway_command: str) -> Iterator[dict[str, str]]:
    """The link that `taxiway ui` prints, and others to the same server, which runs as long as the tests."""
    (port,) = free_ports(1)
    command = [taxiway_command, "ui", "tip", "--port", str(port), "--home", str(store.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as ui:
        try:
            assert ui.stdout is not None
            server = links.on_this_machine(port)
            yield {
                "sweep": ui.stdout.readline().strip(),
                "experiments": links.experiments(server),
                "model": links.model(server, "tip"),
                "version": links.version(server, "tip", 1),
                # Nobody prints these two; people type them, or come by them from the others.
                "home": server,
                "models": f"{server}/#/models",
            }
        finally:
            ui.send_signal(signal.SIGINT)
        assert ui.wait(30) == 0


def test_every_page_is_of_model_training_and_nothing_greets(drive: Drive, shown: dict[str, str]) -> None:
    texts = {"home": "Recent Experiments", "sweep": NAMES[-1], "version": "Version 1"}
    opened = {name: {"link": link, "shows": texts.get(name, "tip")} for name, link in shown.items()}
    seen = drive("visit", links=opened)["pages"]
    assert {name: (page["training"], page["greetings"]) for name, page in seen.items()} == dict.fromkeys(
        shown, (True, [])
    )


def test_the_other_view_would_be_noticed(drive: Drive, shown: dict[str, str]) -> None:
    link = shown["experiments"].replace("machine_learning", "genai")
    seen = drive("visit", links={"genai": {"link": link, "shows": "tip"}})["pages"]
    assert not seen["genai"]["training"]


def test_the_link_shows_the_newest_sweep_the_best_first_and_it_can_be_compared(
    drive: Drive, shown: dict[str, str], tmp_path: Path
) -> None:
    seen = drive("runs", link=shown["sweep"], names=NAMES, screenshots=str(tmp_path))
    assert [row.split("\n")[-1] for row in seen["listed"][1:]] == NAMES
    assert seen["compared"] == NAMES
    assert is_drawn(tmp_path / "mlflow-sweep.png")
    assert is_drawn(tmp_path / "mlflow-compare.png")


def test_no_picture_is_taken_while_the_plot_is_on_its_way(drive: Drive, shown: dict[str, str], tmp_path: Path) -> None:
    early = tmp_path / "mlflow-compare.png"
    wish = {"link": shown["sweep"].replace("CHART", "TABLE"), "names": NAMES, "screenshots": str(tmp_path)}
    with pytest.raises(pytest.fail.Exception, match="parcoords"):
        drive("runs", **wish, hold=f"**/{plotting_script()}", patience=15_000, failure=str(early))
    assert not is_drawn(early)


def test_whatever_a_page_sends_elsewhere_is_noticed(drive: Drive, shown: dict[str, str]) -> None:
    drive("call", url=shown["home"], hosts=[f"{name}.invalid" for name in NOWHERE])


def plotting_script() -> str:
    """The file of MLflow's pages that draws plots: the one with all of Plotly in it."""
    scripts = Path(mlflow.server.__file__).parent.glob("js/build/static/js/*.chunk.js")
    return max(
        (file for file in scripts if b"parcoords" in file.read_bytes()), key=lambda file: file.stat().st_size
    ).name
