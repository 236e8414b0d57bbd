"""Settings: which source wins, where each value came from, and all faults in one go."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from taxiway.errors import UsageError
from taxiway.settings import AZURE_LOCATION, SETTINGS, TLC_LOCATION, Settings, load_settings

TOML = """
home = "/from/toml"
trips_source = "azure"
tracking_uri = "http://toml:5000"
mlflow_pages = "http://toml:5050"
shared = "/from/toml"
profile = "stack"
stack = "/from/toml"

[spark]
"spark.master" = "local[1]"
sql.shuffle.partitions = 3
ui.enabled = false
"""


def read(
    folder: Path, *, toml: str = "", env: dict[str, str] | None = None, options: dict[str, object] | None = None
) -> Settings:
    if toml:
        (folder / "taxiway.toml").write_text(toml)
    return load_settings(options, env or {}, folder)


@pytest.mark.parametrize("sign", [",", "\n", "?", "%", "\\"])
def test_a_home_that_spark_or_mlflow_gets_wrong(sign: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which Spark or MLflow gets wrong") as caught:
        read(tmp_path, env={"TAXIWAY_HOME": f"/data/a{sign}b", "TAXIWAY_TRIPS_SOURCE": "~no-such-user/trips"})
    assert "TAXIWAY_HOME: " in caught.value.message
    assert "TAXIWAY_TRIPS_SOURCE: ~no-such-user/trips is in a home folder" in caught.value.message


def test_a_home_beside_a_server_need_not_be_part_of_an_address(tmp_path: Path) -> None:
    server = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
    assert read(tmp_path, env={"TAXIWAY_HOME": "/data/100%", **server}).home == Path("/data/100%")


def test_a_user_without_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(UsageError, match="TAXIWAY_HOME has to name one"):
        read(tmp_path)


def test_nothing_set_gives_the_embedded_store_and_the_tlc(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.home == Path("~/.taxiway").expanduser()
    assert found.source_location == TLC_LOCATION
    assert found.tracking_uri == f"sqlite:///{found.home}/mlflow.db"
    assert found.embedded_store
    assert {origin for _, _, origin in found.items()} == {"default"}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_the_file_gives_way_to_variables_and_they_to_options(setting, tmp_path: Path) -> None:
    def origin(**sources: object) -> tuple[str, str]:
        found = read(tmp_path, toml=TOML, **sources)
        return next((value, origin) for key, value, origin in found.items() if key == setting.key)

    variable, option = ("stack", "stack") if setting.key == "profile" else ("/from/variable", "/from/option")
    assert origin()[1] == "taxiway.toml"
    assert origin(env={setting.variable: variable}) == (variable, setting.variable)
    both = origin(env={setting.variable: variable}, options={setting.key: option})
    assert both == (option, f"--{setting.key.replace('_', '-')}")


def test_spark_settings_are_merged_key_by_key(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        toml=TOML,
        env={"TAXIWAY_SPARK": "spark.master=local[2]; spark.executor.memory=2g;"},
        options={"spark": ("master=spark://one:7077",)},
    )
    assert dict(found.spark) == {
        "spark.master": "spark://one:7077",
        "spark.executor.memory": "2g",
        "spark.sql.shuffle.partitions": "3",
        "spark.ui.enabled": "false",
    }
    origins = {key: origin for key, _, origin in found.items()}
    assert origins["spark.master"] == "--spark"
    assert origins["spark.executor.memory"] == "TAXIWAY_SPARK"
    assert origins["spark.ui.enabled"] == "taxiway.toml"


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    found = read(tmp_path, options={"spark": {"spark.driver.extraJavaOptions": "-Dkey=value"}})
    assert found.spark["spark.driver.extraJavaOptions"] == "-Dkey=value"


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        read(
            tmp_path,
            toml='hom = "/x"\ntrips_source = ""\ntracking_uri = 5000\n',
            env={"TAXIWAY_TRIP_SOURCE": "azure", "TAXIWAY_SPARK": "no pair", "TAXIWAY_PROFILE": "stak"},
            options={"spark": ("another",)},
        )
    message = str(refused.value)
    assert "unknown setting 'hom'. Did you mean 'home'?" in message
    assert "'trips_source' must be a text that is not empty" in message
    assert "'tracking_uri' must be a text that is not empty" in message
    assert "TAXIWAY_TRIP_SOURCE is not a setting. Did you mean 'TAXIWAY_TRIPS_SOURCE'?" in message
    assert "TAXIWAY_SPARK: 'no pair' is not of the form spark.key=value" in message
    assert "--spark: 'another' is not of the form spark.key=value" in message
    assert "TAXIWAY_PROFILE: there is no profile 'stak'. Did you mean 'stack'?" in message
    assert "\n" not in message


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"taxiway\.toml cannot be read as TOML.*line 1"):
        read(tmp_path, toml="home = \n")


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    found = read(tmp_path, toml=TOML, env={"TAXIWAY_HOME": "", "MLFLOW_TRACKING_URI": "", "TAXIWAY_SPARK": ""})
    assert found.home == Path("/from/toml")
    assert found.tracking_uri == "http://toml:5000"


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    read(tmp_path, env={"MLFLOW_EXPERIMENT_NAME": "x", "AWS_PROFILE": "y", "TAXIWAYS": "z", "TAXIWAY_TEST_TRIPS": "w"})


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("tlc", TLC_LOCATION),
        ("azure", AZURE_LOCATION),
        ("s3://bucket/trips", "s3://bucket/trips"),
        ("https://example.org/trips", "https://example.org/trips"),
        ("/srv/trips", "/srv/trips"),
    ],
)
def test_a_source_is_a_name_an_address_or_a_folder(given: str, location: str, tmp_path: Path) -> None:
    assert read(tmp_path, options={"trips_source": given}).source_location == location


def test_folders_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(tmp_path, options={"home": "data", "trips_source": "trips"})
    assert found.home == tmp_path / "data"
    assert found.source_location == str(tmp_path / "trips")


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    found = read(tmp_path, toml=TOML)
    with pytest.raises(FrozenInstanceError):
        found.home = tmp_path
    with pytest.raises(TypeError):
        found.spark["spark.master"] = "local"


def test_the_embedded_store_follows_the_home(tmp_path: Path) -> None:
    assert read(tmp_path, options={"home": tmp_path}).tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert not read(tmp_path, env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}).embedded_store


@pytest.mark.parametrize("key", ["home", "trips_source", "tracking_uri", "mlflow_pages", "shared", "profile", "stack"])
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_option_is_a_fault_and_no_default(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"^--{key.replace('_', '-')} is empty"):
        load_settings({key: text}, {"TAXIWAY_HOME": str(tmp_path)}, tmp_path)
