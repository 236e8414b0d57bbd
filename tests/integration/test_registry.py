"""The registry's life, on an embedded store and on a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sweeps import make_sweep

from taxiway.downloads import load_model
from taxiway.errors import BadData, NotFound, Refused, UsageError
from taxiway.progress import Silent
from taxiway.references import find_version
from taxiway.registry import delete, models, plan_deletion, promote, register
from taxiway.settings import Settings
from taxiway.store import connect, experiment_id
from taxiway.versions import Version, get_model, linked_versions, stages_allowed

SCORES = {"0.1": 0.6, "0.01": 0.8, "1.0": 0.7}


def stages(settings: Settings, name: str) -> dict[int, tuple[str, tuple[str, ...]]]:
    """Version -> stage and aliases; nothing may disagree."""
    found = models(name, settings)
    assert not [version for version in found if version.disagreement]
    return {version.version: (version.stage, version.aliases) for version in found}


def interrupt(*args: object, **options: object) -> None:
    """What Ctrl-C does in the middle of a call."""
    raise KeyboardInterrupt


def register_some(settings: Settings, name: str, count: int) -> list[Version]:
    sweep = make_sweep(settings, name, {str(index): 0.5 + index / 10 for index in range(count)})
    return [register(name, settings, run=run) for run in sweep.runs]


def test_register_takes_the_best_run_of_the_latest_sweep(store: Settings, recipe: str) -> None:
    make_sweep(store, recipe, {"0.5": 0.99})
    sweep = make_sweep(store, recipe, SCORES, tags={"taxiway.leakage": "payment_type", "taxiway.synthetic": "true"})
    version = register(recipe, store, description="a first try", tags={"owner": "ana"})
    assert (str(version), version.stage, version.run_id) == (f"{recipe}/1", "None", sweep.best)
    assert version.metrics["holdout_roc_auc"] == 0.8
    assert (version.description, version.tags["owner"]) == ("a first try", "ana")
    assert version.flagged == ("payment_type",)
    assert version.synthetic
    assert not version.already_registered
    logged = connect(store).get_logged_model(version.model_id)
    assert linked_versions(logged) == [{"name": recipe, "version": 1}]


def test_the_registered_model_can_be_loaded(store: Settings, recipe: str) -> None:
    import mlflow.artifacts

    make_sweep(store, recipe, {"0.1": 0.6})
    version = register(recipe, store)
    folder = mlflow.artifacts.download_artifacts(version.uri, dst_path=str(store.home / "out"))
    assert Path(folder, "MLmodel").read_text().endswith(f"run_id: {version.run_id}\n")


def test_a_run_is_registered_once(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, {"0.1": 0.6})
    first = register(recipe, embedded)
    again = register(recipe, embedded, description="later", tags={"owner": "ben"})
    assert again.already_registered
    assert again.version == first.version == 1
    assert (again.description, again.tags["owner"]) == ("later", "ben")
    assert len(models(recipe, embedded)) == 1


def test_a_sweep_may_be_named_instead_of_a_run(embedded: Settings, recipe: str) -> None:
    older = make_sweep(embedded, recipe, {"0.1": 0.6, "0.2": 0.65})
    make_sweep(embedded, recipe, {"0.5": 0.99})
    assert register(recipe, embedded, run=older.parent).run_id == older.best
    assert register(recipe, embedded, run=older.runs[0][:8]).run_id == older.runs[0]


def test_what_did_not_finish_is_refused(embedded: Settings, recipe: str) -> None:
    failed = make_sweep(embedded, recipe, {"0.1": 0.6}, status="FAILED")
    with pytest.raises(BadData, match="no run that finished"):
        register(recipe, embedded)
    with pytest.raises(Refused, match="is FAILED"):
        register(recipe, embedded, run=failed.runs[0])
    assert get_model(connect(embedded), recipe) is None


def test_a_run_without_a_model_is_refused(embedded: Settings, recipe: str) -> None:
    make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)
    with pytest.raises(BadData, match="no complete model"):
        register(recipe, embedded)
    assert get_model(connect(embedded), recipe) is None


def test_a_model_whose_upload_was_cut_off_is_refused(embedded: Settings, recipe: str) -> None:
    sweep = make_sweep(embedded, recipe, {"0.1": 0.6}, with_model=False)
    client = connect(embedded)
    experiment = experiment_id(client, embedded, recipe)
    unfinished = client.create_logged_model(experiment, name="model", source_run_id=sweep.best)
    with pytest.raises(BadData, match="no complete model"):
        register(recipe, embedded)
    client.finalize_logged_model(unfinished.model_id, "READY")
    with pytest.raises(BadData, match=r"files of run .* are gone"):
        register(recipe, embedded)


def test_unknown_names(embedded: Settings, recipe: str) -> None:
    sweep = make_sweep(embedded, recipe, {"0.1": 0.6})
    register(recipe, embedded)
    other = make_sweep(embedded, f"{recipe}-other", {"0.1": 0.6})
    with pytest.raises(NotFound, match=f"Did you mean '{recipe}'"):
        register(recipe[:-1], embedded)
    with pytest.raises(NotFound, match="no run 'abcd'"):
        register(recipe, embedded, run="abcd")
    with pytest.raises(NotFound, match=f"no run '{other.best}'"):
        register(recipe, embedded, run=other.best)
    with pytest.raises(NotFound, match=f"Did you mean '{recipe}'"):
        promote(recipe[:-1], embedded)
    with pytest.raises(NotFound, match=f"no version {recipe}/7"):
        promote(f"{recipe}/7", embedded)
    with pytest.raises(UsageError, match="not a stage"):
        promote(recipe, embedded, to="prod")
    with pytest.raises(NotFound, match="in production"):
        find_version(recipe, embedded)
    assert sweep.best


def test_none_to_production_passes_through_staging(store: Settings, recipe: str) -> None:
    register_some(store, recipe, 1)
    done = promote(recipe, store, to="production")
    assert [str(move) for move in done.moves] == [
        f"{recipe}/1: None -> Staging",
        f"{recipe}/1: Staging -> Production",
    ]
    assert stages(store, recipe) == {1: ("Production", ("production",))}
    assert find_version(recipe, store).version == 1


def test_only_one_version_is_in_production(store: Settings, recipe: str) -> None:
    register_some(store, recipe, 3)
    promote(f"{recipe}/1", store)
    promote(f"{recipe}/2", store, to="staging")
    done = promote(recipe, store)
    assert [str(move) for move in done.moves] == [
        f"{recipe}/2: Staging -> Production",
        f"{recipe}/1: Production -> Archived",
    ]
    assert stages(store, recipe) == {1: ("Archived", ()), 2: ("Production", ("production",)), 3: ("None", ())}


def test_who_waits_in_staging_stays_while_another_passes(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    promote(f"{recipe}/1", embedded, to="staging")
    promote(f"{recipe}/2", embedded, to="production")
    assert stages(embedded, recipe) == {1: ("Staging", ("staging",)), 2: ("Production", ("production",))}


def test_staging_takes_the_newest_and_only_one(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 3)
    promote(f"{recipe}/2", embedded, to="staging")
    assert promote(recipe, embedded, to="staging").version.version == 3
    again = promote(recipe, embedded, to="staging")
    assert (again.version.version, again.moves) == (3, ())
    assert stages(embedded, recipe) == {1: ("None", ()), 2: ("Archived", ()), 3: ("Staging", ("staging",))}


def test_promotion_is_idempotent(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    first = promote(recipe, embedded)
    again = promote(recipe, embedded)
    assert first.version.version == again.version.version == 2
    assert again.moves == ()
    assert again.repairs == ()


def test_back_to_none_and_archived(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 1)
    promote(recipe, embedded)
    promote(f"{recipe}/1", embedded, to="archived")
    assert stages(embedded, recipe) == {1: ("Archived", ())}
    promote(f"{recipe}/1", embedded, to="none")
    assert stages(embedded, recipe) == {1: ("None", ())}
    with pytest.raises(UsageError, match="Which version"):
        promote(recipe, embedded, to="archived")


def test_stopped_between_stage_and_alias(store: Settings, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register_some(store, recipe, 2)
    promote(f"{recipe}/1", store)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", interrupt)
        with pytest.raises(KeyboardInterrupt):
            promote(f"{recipe}/2", store)
    assert {version.version: version.disagreement for version in models(recipe, store)} == {
        2: "is in Production without the alias 'production'",
        1: "has the alias 'production' without being in Production",
    }
    assert find_version(recipe, store).version == 2
    done = promote(f"{recipe}/2", store)
    assert done.moves == ()
    assert len(done.repairs) == 2
    assert stages(store, recipe) == {1: ("Archived", ()), 2: ("Production", ("production",))}


def test_killed_while_passing_through_staging(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 3)
    promote(f"{recipe}/1", embedded, to="staging")
    with stages_allowed():
        connect(embedded).transition_model_version_stage(recipe, "2", "Staging")
    done = promote(f"{recipe}/3", embedded, to="production")
    assert done.repairs
    assert stages(embedded, recipe) == {
        1: ("Staging", ("staging",)),
        2: ("Archived", ()),
        3: ("Production", ("production",)),
    }


def test_stages_raise_no_warning(embedded: Settings, recipe: str, recwarn: pytest.WarningsRecorder) -> None:
    register_some(embedded, recipe, 1)
    promote(recipe, embedded)
    assert not [item for item in recwarn if "stage" in str(item.message).lower()]


def test_interrupted_between_model_and_version(
    embedded: Settings, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep(embedded, recipe, {"0.1": 0.6})
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", interrupt)
        with pytest.raises(KeyboardInterrupt):
            register(recipe, embedded)
    assert get_model(connect(embedded), recipe) is None


def test_a_model_without_versions_is_listed_nowhere_and_filled_by_the_next_register(
    embedded: Settings, recipe: str
) -> None:
    make_sweep(embedded, recipe, {"0.1": 0.6})
    connect(embedded).create_registered_model(recipe)  # as a process leaves it that was killed then
    assert models(settings=embedded) == models(recipe, embedded) == ()
    with pytest.raises(NotFound, match="no version that could go to Production"):
        promote(recipe, embedded)
    assert register(recipe, embedded).version == 1


def test_two_register_at_once(embedded: Settings, recipe: str) -> None:
    sweep = make_sweep(embedded, recipe, {"0.1": 0.6, "0.2": 0.7, "0.3": 0.8})
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda run: register(recipe, embedded, run=run), sweep.runs))
    assert {version.version for version in made} == {1, 2, 3}


def test_delete_refuses_what_is_in_use(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    promote(f"{recipe}/1", embedded)
    with pytest.raises(Refused, match=f"{recipe}/1 is in Production.*--in-stage production"):
        plan_deletion(f"{recipe}/1", embedded)
    with pytest.raises(Refused):
        plan_deletion(f"{recipe}/1", embedded, in_stage=["staging"])
    with pytest.raises(Refused):
        plan_deletion(recipe, embedded)
    with pytest.raises(UsageError):
        plan_deletion(recipe, embedded, in_stage=["archived"])
    assert len(models(recipe, embedded)) == 2


def test_delete_refuses_what_an_alias_alone_uses(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 1)
    connect(embedded).set_registered_model_alias(recipe, "production", "1")
    with pytest.raises(Refused, match="is in Production"):
        plan_deletion(f"{recipe}/1", embedded)


def test_delete_refuses_what_any_other_alias_points_to(store: Settings, recipe: str) -> None:
    register_some(store, recipe, 2)
    connect(store).set_registered_model_alias(recipe, "champion", "1")
    for model in (f"{recipe}/1", recipe):
        with pytest.raises(Refused, match=r"in use: it has the alias champion.*--with-alias champion"):
            plan_deletion(model, store)
    plan = plan_deletion(f"{recipe}/1", store, with_alias=["champion"])
    assert plan.aliases == ("champion",)
    delete(plan, store)
    assert stages(store, recipe) == {2: ("None", ())}


@pytest.mark.parametrize("shown", [(), (2,)])
def test_nothing_is_deleted_because_a_search_found_less(
    store: Settings, recipe: str, shown: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    register_some(store, recipe, 2)
    promote(f"{recipe}/1", store)
    search = MlflowClient.search_model_versions

    def forgetful(*arguments: Any, **options: Any) -> Any:
        page = search(*arguments, **options)
        page[:] = [version for version in page if int(version.version) in shown]
        return page

    monkeypatch.setattr(MlflowClient, "search_model_versions", forgetful)
    plan = plan_deletion(recipe, store)
    assert (len(plan.versions), plan.whole_model) == (len(shown), True)
    with pytest.raises(Refused, match=rf"Nothing was deleted: '{recipe}' also has {recipe}/1"):
        delete(plan, store)
    monkeypatch.undo()
    assert stages(store, recipe) == {1: ("Production", ("production",)), 2: ("None", ())}


def test_a_model_stays_whose_version_was_made_before_the_error(
    store: Settings, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep(store, recipe, {"0.1": 0.6})
    create = MlflowClient.create_model_version

    def made_and_interrupted(*arguments: object, **options: object) -> None:
        create(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", made_and_interrupted)
        with pytest.raises(KeyboardInterrupt):
            register(recipe, store)
    assert register(recipe, store).already_registered


def test_archived_versions_are_promoted_by_their_number_alone(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    for number in (1, 2):
        promote(f"{recipe}/{number}", embedded, to="archived")
    with pytest.raises(NotFound, match=f"only archived versions.*promote {recipe}/2 --to production"):
        promote(recipe, embedded)
    assert promote(f"{recipe}/1", embedded).version.stage == "Production"


def test_names_that_no_model_can_have_are_not_looked_for(embedded: Settings) -> None:
    for name in ("a/b", "a:b", ".."):
        for action in (register, models):
            with pytest.raises(UsageError, match="There can be no model"):
                action(name, embedded)
    for text in ("a/b/3", "a:b/1", "a/b", "a:b", ".."):
        for action in (promote, plan_deletion, find_version):
            with pytest.raises(UsageError, match="neither a model nor a version"):
                action(text, embedded)


class Notes(Silent):
    """What a caller is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_scoring_says_when_stage_and_alias_disagree(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    promote(f"{recipe}/1", embedded)
    told = Notes()

    def look_up() -> None:
        # The files of these versions are no model: it is told before they are looked at.
        with pytest.raises(NotFound, match="cannot be had"):
            load_model(recipe, embedded, told)

    look_up()
    assert told.notes == []
    connect(embedded).set_registered_model_alias(recipe, "production", "2")
    look_up()
    assert told.notes == [
        f"{recipe}/1 is used, whose stage decides, but it is in Production without the alias 'production'; "
        f"to repair it: taxiway promote {recipe}/1 --to production"
    ]
    promote(f"{recipe}/1", embedded)
    look_up()
    assert len(told.notes) == 1


def test_an_alias_alone_is_not_production_and_that_is_said(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    connect(embedded).set_registered_model_alias(recipe, "production", "1")
    with pytest.raises(NotFound, match=rf"though {recipe}/1 has the alias 'production'.*promote {recipe}/1 --to"):
        find_version(recipe, embedded)


def test_delete_removes_a_version_and_keeps_its_run(store: Settings, recipe: str) -> None:
    first, second = register_some(store, recipe, 2)
    plan = plan_deletion(f"{recipe}/1", store)
    assert (plan.versions[0].version, plan.whole_model, plan.runs) == (1, False, (first.run_id,))
    delete(plan, store)
    assert stages(store, recipe) == {2: ("None", ())}
    client = connect(store)
    assert client.get_run(first.run_id).info.status == "FINISHED"
    assert linked_versions(client.get_logged_model(first.model_id)) == []
    assert second.version == 2


def test_delete_the_version_in_production_by_name_and_the_model_with_its_last(store: Settings, recipe: str) -> None:
    register_some(store, recipe, 1)
    promote(recipe, store)
    plan = plan_deletion(f"{recipe}/1", store, in_stage=["production"])
    assert plan.whole_model
    assert plan.aliases == ("production",)
    delete(plan, store)
    assert get_model(connect(store), recipe) is None


def test_delete_a_whole_model(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 3)
    delete(plan_deletion(recipe, embedded), embedded)
    assert get_model(connect(embedded), recipe) is None


def test_delete_refuses_what_has_changed_meanwhile(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 2)
    plan = plan_deletion(recipe, embedded)
    promote(f"{recipe}/1", embedded, to="staging")
    with pytest.raises(Refused):
        delete(plan, embedded)
    one = plan_deletion(f"{recipe}/2", embedded)
    promote(f"{recipe}/2", embedded, to="archived")
    with pytest.raises(Refused, match="has changed"):
        delete(one, embedded)
    assert len(models(recipe, embedded)) == 2


def test_a_version_number_is_not_used_twice_while_the_model_lives(embedded: Settings, recipe: str) -> None:
    register_some(embedded, recipe, 3)
    delete(plan_deletion(f"{recipe}/2", embedded), embedded)
    make_sweep(embedded, recipe, {"9": 0.9})
    assert register(recipe, embedded).version == 4


def test_a_version_outlives_its_run(embedded: Settings, recipe: str) -> None:
    version = register_some(embedded, recipe, 1)[0]
    connect(embedded).delete_run(version.run_id)
    assert models(recipe, embedded)[0].run_id == version.run_id
