"""An embedded store taken into a real MLflow server, as `taxiway stack import` takes it into the stack."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, Metric, Run, ViewType
from sweeps import MadeSweep, log_model, make_sweep

from taxiway.cli import taxiway
from taxiway.errors import NotFound, Refused
from taxiway.registry import promote, register
from taxiway.settings import Settings
from taxiway.stack.importing import Imported, import_store
from taxiway.store import connect, experiment_id
from taxiway.versions import linked_versions, models, stages_allowed

SCORES = {"0.1": 0.6, "0.01": 0.8, "1.0": 0.7}
NOTHING = dict.fromkeys(("experiments", "runs", "logged models", "registered models", "versions", "files"), 0)


def client_of(settings: Settings) -> MlflowClient:
    """A client of its own; `connect` would make it the one that MLflow's own functions use."""
    return MlflowClient(settings.tracking_uri, settings.tracking_uri)


def added(done: Imported) -> dict[str, int]:
    return {row.kind: row.added for row in done.rows}


def runs_of(settings: Settings, experiment: str, view: int = ViewType.ALL) -> dict[str, Run]:
    """Runs by their names."""
    client = client_of(settings)
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id], run_view_type=view)}


def imported_runs(settings: Settings, experiment: str) -> dict[str, Run]:
    """Runs by the ids that they had before."""
    return {run.data.tags["taxiway.imported_from"]: run for run in runs_of(settings, experiment).values()}


def download(settings: Settings, uri: str, folder: Path) -> dict[str, bytes]:
    """The files of a run or a model, by their paths."""
    connect(settings)  # whose store MLflow's own functions use from then on
    place = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    files = {file.relative_to(place).as_posix(): file.read_bytes() for file in place.rglob("*") if file.is_file()}
    files.pop("registered_model_meta", None)  # MLflow writes it when it downloads a version
    return files


@pytest.fixture
def sweep(embedded: Settings, recipe: str) -> MadeSweep:
    """A sweep of three candidates with models, the best of them named by its parent."""
    return make_sweep(embedded, recipe, SCORES, tags={"taxiway.leakage": "payment_type"})


def test_runs_arrive_with_all_that_they_recorded(
    embedded: Settings, server: Settings, recipe: str, sweep: MadeSweep, tmp_path: Path
) -> None:
    client = connect(embedded)
    run = sweep.runs[0]
    points = [("loss", 0.5, 1000, 0), ("loss", 0.25, 1001, 1), ("loss", math.nan, 1002, 2), ("up", math.inf, 1003, 0)]
    client.log_batch(run, metrics=[Metric(*point) for point in points])
    data = Dataset("yellow:2018-05", "0" * 32, "local", '{"uri": "x"}', schema="{}", profile='{"rows": 3}')
    client.log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    client.log_text(run, "{}", "deep/leakage.json")
    client.set_tag(run, "mlflow.note.content", f"the child of {sweep.parent}")
    client.set_terminated(run, "FAILED", end_time=1_700_000_000_000)

    done = import_store(embedded, server)

    assert (done.notes, done.refused) == ((), ())
    assert added(done) == {**NOTHING, "experiments": 1, "runs": 4, "logged models": 3, "files": 4}
    assert {row.kind: row.present for row in done.rows if row.present} == {"experiments": 1}  # MLflow's own
    there = imported_runs(server, recipe)
    before, after = client_of(embedded).get_run(run), there[run]
    assert after.data.params == before.data.params
    assert after.info.run_name == before.info.run_name
    assert after.info.user_id == before.info.user_id
    for time in ("status", "start_time", "end_time"):
        assert getattr(after.info, time) == getattr(before.info, time)
    for key in before.data.metrics:
        assert history(server, after, key) == history(embedded, before, key)
    assert [item.to_dictionary() for item in after.inputs.dataset_inputs] == [
        item.to_dictionary() for item in before.inputs.dataset_inputs
    ]
    parent = there[sweep.parent].info.run_id
    assert after.data.tags["mlflow.parentRunId"] == parent
    assert after.data.tags["mlflow.note.content"] == f"the child of {parent}"
    assert after.data.tags["taxiway.leakage"] == "payment_type"
    assert there[sweep.parent].data.tags["taxiway.best_run_id"] == there[sweep.best].info.run_id
    assert download(server, f"runs:/{after.info.run_id}/deep", tmp_path / "files") == {"leakage.json": b"{}"}


def history(settings: Settings, run: Run, key: str) -> list[tuple[str, int, int]]:
    """All points of a metric; a NaN equals nothing, and so they are compared as texts."""
    found = client_of(settings).get_metric_history(run.info.run_id, key)
    return sorted((repr(point.value), point.timestamp, point.step) for point in found)


def test_models_arrive_byte_for_byte_and_name_their_new_run(
    embedded: Settings, server: Settings, recipe: str, sweep: MadeSweep, tmp_path: Path
) -> None:
    client = connect(embedded)
    experiment = experiment_id(client, embedded, recipe)
    logged = client.create_logged_model(
        experiment, "other", source_run_id=sweep.best, params={"depth": "3"}, tags={"mine": "yes"}, model_type="spark"
    )
    folder = tmp_path / "model"
    (folder / "sparkml").mkdir(parents=True)
    (folder / "sparkml" / "part-0").write_bytes(bytes(range(256)) * 1000)
    description = f"artifact_path: {logged.artifact_location}\nmodel_id: {logged.model_id}\nrun_id: {sweep.best}\n"
    (folder / "MLmodel").write_text(description)
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    # A metric of a model that another run took.
    client.log_batch(sweep.parent, metrics=[Metric("auc", 0.9, 5, 0, model_id=logged.model_id)])
    client.log_inputs(sweep.parent, models=[LoggedModelInput(logged.model_id)])

    import_store(embedded, server)

    there = imported_runs(server, recipe)
    target = client_of(server)
    place = target.get_experiment_by_name(recipe).experiment_id
    found = next(model for model in target.search_logged_models([place]) if model.name == "other")
    assert (found.params, found.tags["mine"], found.model_type) == ({"depth": "3"}, "yes", "spark")
    assert (str(found.status), found.tags["taxiway.imported_from"]) == ("READY", logged.model_id)
    assert found.source_run_id == there[sweep.best].info.run_id
    files = download(server, f"models:/{found.model_id}", tmp_path / "files")
    assert files == {
        "sparkml/part-0": bytes(range(256)) * 1000,
        "MLmodel": f"artifact_path: {found.artifact_location}\nmodel_id: {found.model_id}\n"
        f"run_id: {found.source_run_id}\n".encode(),
    }
    parent = target.get_run(there[sweep.parent].info.run_id)
    assert [item.model_id for item in parent.inputs.model_inputs] == [found.model_id]
    assert [(point.key, point.value, point.run_id) for point in target.get_logged_model(found.model_id).metrics] == [
        ("auc", 0.9, parent.info.run_id)
    ]
    best = target.get_run(there[sweep.best].info.run_id)
    assert len(best.outputs.model_outputs) == 1


@pytest.fixture
def registered(embedded: Settings, recipe: str, sweep: MadeSweep) -> MadeSweep:
    """Versions 1 and 3, the second of them in production; number 2 was deleted."""
    for run in sweep.runs:
        register(recipe, embedded, run=run, description=f"of {run}", tags={"owner": "ana"})
    promote(f"{recipe}/1", embedded, to="staging")
    promote(f"{recipe}/3", embedded)
    client = connect(embedded)
    client.set_registered_model_alias(recipe, "champion", "3")
    client.update_registered_model(recipe, "will the rider tip?")
    client.set_registered_model_tag(recipe, "team", "night")
    client.delete_model_version(recipe, "2")
    return sweep


def test_versions_keep_their_numbers_stages_and_aliases(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep, tmp_path: Path
) -> None:
    done = import_store(embedded, server)

    assert (done.notes, done.refused) == ((), ())
    assert added(done)["versions"] == 2
    there = imported_runs(server, recipe)
    assert [(v.version, v.stage, v.aliases, v.disagreement) for v in models(recipe, server)] == [
        (3, "Production", ("champion", "production"), ""),
        (1, "Staging", ("staging",), ""),
    ]
    version = models(recipe, server)[0]
    assert version.run_id == there[registered.runs[2]].info.run_id
    assert version.description == f"of {registered.runs[2]}"
    assert version.tags["owner"] == "ana"
    assert version.tags["taxiway.first_registered"] == models(recipe, embedded)[0].created.isoformat(timespec="seconds")
    client = client_of(server)
    model = client.get_registered_model(recipe)
    assert (model.description, model.tags["team"]) == ("will the rider tip?", "night")
    assert linked_versions(client.get_logged_model(version.model_id)) == [{"name": recipe, "version": 3}]
    files = download(server, version.uri, tmp_path / "files")
    assert f"run_id: {version.run_id}".encode() in files["MLmodel"]


def test_a_version_may_be_of_files_of_a_run(embedded: Settings, server: Settings, recipe: str) -> None:
    sweep = make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)
    client = connect(embedded)
    client.log_text(sweep.best, "flavors: {}\n", "old/model/MLmodel")
    client.create_registered_model(recipe)
    root = client.get_run(sweep.best).info.artifact_uri
    client.create_model_version(recipe, f"{root}/old/model", run_id=sweep.best)

    assert import_store(embedded, server).notes == ()

    version = models(recipe, server)[0]
    assert version.source == f"{client_of(server).get_run(version.run_id).info.artifact_uri}/old/model"
    assert download(server, version.uri, server.home / "files") == {"MLmodel": b"flavors: {}\n"}


def test_a_second_import_adds_only_what_is_missing(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    import_store(embedded, server)
    assert added(import_store(embedded, server)) == NOTHING
    before = models(recipe, server)

    make_sweep(embedded, recipe, {"0.5": 0.9})
    register(recipe, embedded)
    connect(embedded).set_tag(registered.best, "reviewed", "yes")
    done = import_store(embedded, server)

    assert (done.notes, done.refused) == ((), ())
    assert added(done) == {**NOTHING, "runs": 2, "logged models": 1, "versions": 1, "files": 1}
    assert models(recipe, server)[1:] == before
    assert models(recipe, server)[0].version == 4
    assert imported_runs(server, recipe)[registered.best].data.tags["reviewed"] == "yes"


@pytest.mark.parametrize("call", ["log_artifact", "log_model_artifact", "log_outputs", "set_tag"])
def test_one_that_was_interrupted_is_taken_up_again(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    connect(embedded).log_text(registered.best, "{}", "leakage.json")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_store(embedded, server)
    assert "RUNNING" not in {run.info.status for run in runs_of(server, recipe).values()}

    done = import_store(embedded, server)

    assert (done.notes, done.refused) == ((), ())
    there = imported_runs(server, recipe)
    assert {old: run.info.status for old, run in there.items()} == dict.fromkeys(
        (registered.parent, *registered.runs), "FINISHED"
    )
    assert len(runs_of(server, recipe)) == 4
    outputs = [len(client_of(server).get_run(there[run].info.run_id).outputs.model_outputs) for run in registered.runs]
    assert outputs == [1, 1, 1]
    assert [version.version for version in models(recipe, server)] == [3, 1]


def interrupt(*args: object, **options: object) -> None:
    """What Ctrl-C does in the middle of a call."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["transition_model_version_stage", "set_registered_model_alias"])
def test_a_version_without_its_stage_or_alias_gets_it_later(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_store(embedded, server)

    import_store(embedded, server)

    assert [(v.version, v.stage, v.disagreement) for v in models(recipe, server)] == [
        (3, "Production", ""),
        (1, "Staging", ""),
    ]


def test_what_differs_in_the_stack_stays(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    import_store(embedded, server)
    client = client_of(server)
    promote(f"{recipe}/3", server, to="archived")
    client.update_model_version(recipe, "1", "looked at again")
    client.set_tag(imported_runs(server, recipe)[registered.best].info.run_id, "taxiway.leakage", "none")

    done = import_store(embedded, server)

    assert added(done) == NOTHING
    assert {row.kind: row.different for row in done.rows if row.different} == {"runs": 1, "versions": 2}
    assert len(done.notes) == 3
    assert any("has stage 'Archived' in the stack, not 'Production', and keeps it" in note for note in done.notes)
    assert models(recipe, server)[0].stage == "Archived"
    assert models(recipe, server)[1].description == "looked at again"


def test_a_stage_and_an_alias_are_not_taken_from_another_version(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    import_store(embedded, server)
    make_sweep(embedded, recipe, {"0.5": 0.9})
    register(recipe, embedded)
    promote(f"{recipe}/4", embedded)

    done = import_store(embedded, server)

    assert f"{recipe}/4 stays in None: {recipe}/3 is in Production in the stack" in done.notes
    assert f"{recipe}/4 goes without the alias 'production', which {recipe}/3 has" in done.notes
    assert [(v.version, v.stage) for v in models(recipe, server)] == [(4, "None"), (3, "Production"), (1, "Staging")]


def test_a_number_that_another_version_has_is_not_taken(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    make_sweep(server, recipe, {"0.7": 0.5})
    own = register(recipe, server)

    done = import_store(embedded, server)

    assert done.refused == (f"{recipe}/1 is another version in the stack",)
    assert [(v.version, v.run_id == own.run_id) for v in models(recipe, server)] == [(3, False), (1, True)]
    assert models(recipe, server)[0].stage == "Production"
    # And not the next time either.
    assert added(import_store(embedded, server)) == NOTHING


def test_what_was_deleted_in_the_stack_stays_deleted(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    import_store(embedded, server)
    client = client_of(server)
    client.delete_model_version(recipe, "3")
    client.delete_run(imported_runs(server, recipe)[registered.runs[1]].info.run_id)

    done = import_store(embedded, server)

    assert added(done) == NOTHING
    assert done.notes == (f"{recipe}/3 is not imported: it was deleted in the stack",)
    assert [version.version for version in models(recipe, server)] == [1]
    deleted = runs_of(server, recipe, ViewType.DELETED_ONLY).values()
    assert [run.data.tags["taxiway.imported_from"] for run in deleted] == [registered.runs[1]]


def test_a_deleted_run_arrives_deleted(embedded: Settings, server: Settings, recipe: str, sweep: MadeSweep) -> None:
    register(recipe, embedded, run=sweep.best)
    connect(embedded).delete_run(sweep.best)
    import_store(embedded, server)
    assert imported_runs(server, recipe)[sweep.best].info.lifecycle_stage == "deleted"
    assert models(recipe, server)[0].metrics["holdout_roc_auc"] == 0.8
    assert added(import_store(embedded, server)) == NOTHING


def test_no_version_arrives_without_its_files(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    version = models(recipe, embedded)[0]
    shutil.rmtree(
        Path(client_of(embedded).get_logged_model(version.model_id).artifact_location.removeprefix("file://"))
    )

    done = import_store(embedded, server)

    assert f"{recipe}/3 is not imported: its files are gone" in done.notes
    assert f"Model {version.model_id} of run {registered.runs[2]} has no files" in done.notes
    assert [found.version for found in models(recipe, server)] == [1]


def test_runs_that_have_not_ended_wait_for_the_next_import(embedded: Settings, server: Settings, recipe: str) -> None:
    client = connect(embedded)
    experiment = experiment_id(client, embedded, recipe)
    parent = client.create_run(experiment, run_name="sweep").info.run_id
    child = client.create_run(experiment, run_name="candidate", tags={"mlflow.parentRunId": parent}).info.run_id
    log_model(client, experiment, child)
    client.set_terminated(child)

    first = import_store(embedded, server)
    assert first.notes == (f"Run {parent} has not ended (RUNNING); import again when it has",)
    assert set(imported_runs(server, recipe)) == {child}

    client.set_terminated(parent, "KILLED")
    assert added(import_store(embedded, server))["runs"] == 1
    there = imported_runs(server, recipe)
    assert there[parent].info.status == "KILLED"
    assert there[child].data.tags["mlflow.parentRunId"] == there[parent].info.run_id


def test_a_home_that_was_moved(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep, tmp_path: Path
) -> None:
    moved = tmp_path / "another place"
    embedded.home.rename(moved)
    done = import_store(replace(embedded, home=moved), server)
    assert done.notes == ()
    assert added(done)["versions"] == 2


def test_a_home_without_a_store(settings: Settings, server: Settings) -> None:
    with pytest.raises(NotFound, match=r"There is no embedded store under .*--home"):
        import_store(settings, server)
    assert not settings.home.exists()


@pytest.fixture
def as_stack(server_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server in the place of the container stack's, which asks for no password."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mlflow_taxiway_password").write_text("unused")
    monkeypatch.setenv("TAXIWAY_STACK", str(Path(__file__).parents[2]))
    monkeypatch.setenv("STACK_SECRETS", str(secrets))
    monkeypatch.setenv("STACK_MLFLOW_PORT", server_address.rpartition(":")[2])
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def command(*options: str) -> Any:
    return CliRunner().invoke(taxiway, ["stack", "import", *options], standalone_mode=False)


@pytest.mark.usefixtures("as_stack")
def test_the_command_shows_what_became_of_everything(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    home = ("--home", str(embedded.home))
    shown = command(*home, "--json")
    assert shown.exception is None
    document = json.loads(shown.stdout)
    assert document["counts"]["versions"] == {"added": 2, "present": 0, "different": 0, "left_out": 0}
    assert document["target"] == server.tracking_uri
    promote(f"{recipe}/3", server, to="none")
    shown = command(*home)
    assert shown.exception is None
    assert "there already" in shown.stdout
    assert "has stage 'None' in the stack" in shown.stdout


@pytest.mark.usefixtures("as_stack")
def test_the_command_fails_when_a_number_was_taken(
    embedded: Settings, server: Settings, recipe: str, registered: MadeSweep
) -> None:
    make_sweep(server, recipe, {"0.7": 0.5})
    register(recipe, server)
    shown = command("--home", str(embedded.home))
    assert isinstance(shown.exception, Refused)
    assert f"Not everything was imported: {recipe}/1 is another version in the stack" in str(shown.exception)


def test_stages_raise_no_warning(
    embedded: Settings, server: Settings, registered: MadeSweep, recwarn: pytest.WarningsRecorder
) -> None:
    with stages_allowed():
        import_store(embedded, server)
    assert not [item for item in recwarn if "stage" in str(item.message).lower()]
