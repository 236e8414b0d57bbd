"""Names of all kinds through a model's life, each beside models that a careless query takes for it."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.artifacts
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from sweeps import make_sweep

from taxiway.comparison import compare
from taxiway.errors import NotFound
from taxiway.names import unusable
from taxiway.references import find_version
from taxiway.registry import delete, models, plan_deletion, promote, register
from taxiway.settings import Settings, load_settings
from taxiway.stack.embedded import Store
from taxiway.store import connect
from taxiway.versions import parse_model, stages_allowed

AWKWARD = "'\"%_\\"
NAMES = st.text(f"{AWKWARD}aB 日é#;`{{}}()=,.-", min_size=1, max_size=10)
_COUNT = itertools.count()

# A server answers in milliseconds, a life asks it a hundred times. The fixtures hold a store that all examples share.
MANY = hypothesis_settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

FEW = hypothesis_settings(MANY, max_examples=3)


@dataclass
class Decoys:
    """Models that are not meant, each with a version in Production."""

    client: MlflowClient
    model_id: str
    names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.client.create_registered_model(name)
        self.client.create_model_version(name, f"models:/{self.model_id}", model_id=self.model_id)
        with stages_allowed():
            self.client.transition_model_version_stage(name, "1", "Production")
        self.client.set_registered_model_alias(name, "production", "1")
        self.names.append(name)

    def check(self) -> None:
        for name in self.names:
            version = self.client.get_model_version(name, "1")
            assert (version.name, version.current_stage) == (name, "Production")
            aliases = self.client.get_registered_model(name).aliases
            assert {alias: int(number) for alias, number in aliases.items()} == {"production": 1}


def mistaken_for(name: str) -> set[str]:
    """Names that one is taken for when its quotes are dropped or doubled, or when it is read as a pattern."""
    found = {
        name.translate(dict.fromkeys(map(ord, "'\""))),
        name.translate(dict.fromkeys(map(ord, AWKWARD), "x")),
        name.replace("'", "''").replace('"', '""'),
        name.swapcase(),
    }
    return {other for other in found - {name} if not unusable(other)}


def live(store: Settings, text: str) -> None:
    """A model's whole life under a name that holds a text; nothing of it touches any other model."""
    name = f"{text}{next(_COUNT)}x{os.getpid()}"
    if unusable(name):
        return
    client = connect(store)
    sweep = make_sweep(store, name, {"0.1": 0.6, "0.2": 0.7})
    decoys = Decoys(client, register(name, store, run=sweep.runs[0]).model_id)
    for other in mistaken_for(name):
        decoys.add(other)
    assert compare(name, store).recipe == name
    assert register(name, store).version == 2
    assert parse_model(f"{name}/2") == (name, 2)
    promote(f"{name}/1", store)
    promote(name, store)
    assert [(version.name, version.version, version.stage) for version in models(name, store)] == [
        (name, 2, "Production"),
        (name, 1, "Archived"),
    ]
    found = find_version(name, store)
    assert (found.name, found.version, found.run_id) == (name, 2, sweep.best)
    with TemporaryDirectory() as folder:
        files = mlflow.artifacts.download_artifacts(artifact_uri=found.uri, dst_path=folder)
        assert f"run_id: {sweep.best}" in Path(files, "MLmodel").read_text(encoding="utf-8")
    assert [int(version.version) for version in Store(client).versions(name)] == [1, 2]
    delete(plan_deletion(f"{name}/1", store), store)
    delete(plan_deletion(name, store, in_stage=["production"]), store)
    with pytest.raises(NotFound):
        models(name, store)
    decoys.check()


@MANY
@given(text=NAMES)
@example(text="o'hare")
@example(text='the "o\'hare" model')
@example(text="a%b_c\\")
def test_any_name_on_sqlite(embedded: Settings, text: str) -> None:
    live(embedded, text)


@FEW
@given(text=NAMES)
@example(text="o'hare")
@example(text='the "o\'hare" model')
@example(text="a%b_c\\")
def test_any_name_on_a_server_with_postgresql(postgresql_server: Settings, text: str) -> None:
    live(postgresql_server, text)


def test_a_life_on_postgresql_without_a_server(
    settings: Settings, postgresql_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow puts the files of models then
    live(load_settings({"home": settings.home, "tracking_uri": postgresql_address}, {}, tmp_path), "o'hare")
