"""Where the stack is found, what is chosen for it, and the profile that makes every command work on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxiway.errors import MachineError, NotFound, Refused, UsageError
from taxiway.settings import Settings, load_settings
from taxiway.stack.docker import Docker, find_stack
from taxiway.stack.lifecycle import remember
from taxiway.stack_settings import STACK_CHOICES, StackSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that holds a stack, as far as settings look at one."""
    folder = tmp_path / "checkout"
    (folder / "images").mkdir(parents=True)
    (folder / "compose.yaml").touch()
    (folder / "images" / "stack.sh").touch()
    return folder


def stack_of(folder: Path, options: dict[str, str] | None = None, **environment: str) -> StackSettings:
    found = load_settings(options, environment, folder).stack
    assert found is not None
    return found


def on_profile(folder: Path, **environment: str) -> Settings:
    return load_settings({"profile": "stack"}, environment, folder)


def test_the_working_directory_and_the_folders_above_it_are_looked_at(checkout: Path) -> None:
    below = checkout / "docs" / "how-to"
    below.mkdir(parents=True)
    assert stack_of(checkout).folder == checkout
    assert stack_of(below).folder == checkout


def test_elsewhere_it_is_the_checkout_that_taxiway_runs_from(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}\n")  # another program's
    found = stack_of(tmp_path)
    assert found.folder == ROOT
    assert found.exists


def test_a_folder_that_is_named_is_taken_and_told_to_hold_none(tmp_path: Path) -> None:
    found = stack_of(tmp_path, {"stack": str(tmp_path / "nothing")})
    assert found.folder == tmp_path / "nothing"
    assert not found.exists


def test_nothing_chosen_and_nothing_remembered(checkout: Path) -> None:
    assert stack_of(checkout) == StackSettings(checkout, checkout / ".secrets")


def test_variables_choose(checkout: Path, tmp_path: Path) -> None:
    found = stack_of(
        checkout,
        COMPOSE_PROJECT_NAME="mine",
        STACK_SECRETS=str(tmp_path / "secrets"),
        STACK_S3="minio",
        STACK_JUPYTER_PORT="9888",
        STACK_MLFLOW_PORT="5050",
        STACK_MINIO_CONSOLE_PORT="9100",
        STACK_OVERRIDE="more.yaml",
    )
    assert found == StackSettings(
        checkout, tmp_path / "secrets", "mine", "minio", 9888, 5050, 9100, override="more.yaml", last_s3=""
    )


def test_what_was_chosen_is_remembered_until_a_variable_says_otherwise(checkout: Path) -> None:
    (checkout / ".secrets").mkdir()
    remember(StackSettings(checkout, checkout / ".secrets", s3="minio", mlflow_port=5050))
    assert (checkout / ".secrets" / STACK_CHOICES).read_text() == (
        "COMPOSE_PROJECT_NAME=taxiway\n"
        "STACK_S3=minio\nSTACK_JUPYTER_PORT=8888\nSTACK_MLFLOW_PORT=5050\nSTACK_MINIO_CONSOLE_PORT=9001\n"
    )
    again = stack_of(checkout)
    assert (again.s3, again.mlflow_port, again.last_s3) == ("minio", 5050, "minio")
    changed = stack_of(checkout, STACK_S3="seaweedfs", STACK_MLFLOW_PORT="5051")
    assert (changed.s3, changed.mlflow_port, changed.last_s3) == ("seaweedfs", 5051, "minio")


def test_an_endpoint_elsewhere_is_remembered_whole(checkout: Path) -> None:
    (checkout / ".secrets").mkdir()
    place = {"STACK_S3_ENDPOINT": "https://s3.example.org", "STACK_S3_BUCKET": "my-mlflow"}
    remember(stack_of(checkout, STACK_S3="external", **place))
    assert stack_of(checkout).options == place
    assert Docker(stack_of(checkout), ("docker", "compose"), (2, 40)).environment.items() >= place.items()
    assert stack_of(checkout, STACK_S3="seaweedfs").options == {}


def test_what_the_containers_were_given_is_remembered(checkout: Path) -> None:
    (checkout / ".secrets").mkdir()
    remember(stack_of(checkout, STACK_JUPYTER_MEMORY="12g"))
    assert stack_of(checkout).choices["STACK_JUPYTER_MEMORY"] == "12g"
    assert stack_of(checkout, STACK_JUPYTER_MEMORY="6g").choices["STACK_JUPYTER_MEMORY"] == "6g"


def test_secrets_know_whose_they_are(checkout: Path, tmp_path: Path) -> None:
    own = tmp_path / "second-secrets"
    own.mkdir()
    remember(stack_of(checkout, COMPOSE_PROJECT_NAME="second", STACK_SECRETS=str(own)))
    assert stack_of(checkout, STACK_SECRETS=str(own)).project == "second"
    other = {"COMPOSE_PROJECT_NAME": "third", "STACK_SECRETS": str(own)}
    settings = load_settings({"home": tmp_path}, other, checkout)
    with pytest.raises(Refused, match="are of the stack second, and not of third"):
        find_stack(settings)


def test_faults_are_reported_together(checkout: Path) -> None:
    with pytest.raises(UsageError) as refused:
        stack_of(checkout, STACK_S3="minion", STACK_MLFLOW_PORT="70000", STACK_JUPYTER_PORT="eight")
    assert "there is no S3 server 'minion'. Did you mean 'minio'?" in str(refused.value)
    assert "STACK_MLFLOW_PORT: '70000' is not a port" in str(refused.value)
    assert "STACK_JUPYTER_PORT: 'eight' is not a port" in str(refused.value)


def test_docker_gets_every_choice_and_no_secret(checkout: Path) -> None:
    stack = stack_of(checkout, STACK_S3="minio", STACK_OVERRIDE="a.yaml:b.yaml", COMPOSE_PROJECT_NAME="mine")
    environment = Docker(stack, ("docker", "compose"), (2, 40), profiles=("cluster",)).environment
    assert environment["COMPOSE_FILE"] == "compose.yaml:compose.minio.yaml:a.yaml:b.yaml"
    assert environment["COMPOSE_PROJECT_NAME"] == "mine"
    assert environment["COMPOSE_PROFILES"] == "cluster"
    assert environment["STACK_SECRETS"] == str(checkout / ".secrets")
    assert environment["STACK_MLFLOW_PORT"] == "5000"


def test_the_profile_says_where_the_store_is(checkout: Path) -> None:
    found = on_profile(checkout, STACK_MLFLOW_PORT="5050")
    assert found.tracking_uri == "http://127.0.0.1:5050"
    assert found.on_stack
    assert ("tracking_uri", "http://127.0.0.1:5050", "profile stack") in list(found.items())


def test_the_port_is_that_of_the_last_start(checkout: Path) -> None:
    (checkout / ".secrets").mkdir()
    remember(StackSettings(checkout, checkout / ".secrets", mlflow_port=5050))
    assert on_profile(checkout).tracking_uri == "http://127.0.0.1:5050"


@pytest.mark.parametrize(
    ("toml", "environment", "options", "on_stack"),
    [
        ('profile = "stack"', {}, {}, True),
        ('profile = "stack"\ntracking_uri = "http://b:1"', {}, {}, False),
        ('profile = "stack"', {"MLFLOW_TRACKING_URI": "http://b:1"}, {}, False),
        ('tracking_uri = "http://b:1"', {"TAXIWAY_PROFILE": "stack"}, {}, True),
        ("", {"TAXIWAY_PROFILE": "stack", "MLFLOW_TRACKING_URI": "http://b:1"}, {}, False),
        ("", {"MLFLOW_TRACKING_URI": "http://b:1"}, {"profile": "stack"}, True),
        ("", {"TAXIWAY_PROFILE": "stack"}, {"tracking_uri": "http://b:1"}, False),
    ],
)
def test_an_address_from_the_same_place_or_a_later_one_stands(
    toml: str, environment: dict[str, str], options: dict[str, str], on_stack: bool, checkout: Path
) -> None:
    (checkout / "taxiway.toml").write_text(toml)
    found = load_settings(options, environment, checkout)
    assert found.on_stack is on_stack
    assert found.tracking_uri == ("http://127.0.0.1:5000" if on_stack else "http://b:1")


def test_who_we_are_comes_from_the_secrets_and_goes_nowhere_else(checkout: Path) -> None:
    secrets = checkout / ".secrets"
    secrets.mkdir()
    (secrets / "mlflow_taxiway_password").write_text("s3cret")
    assert on_profile(checkout).credentials() == {
        "MLFLOW_TRACKING_USERNAME": "taxiway",
        "MLFLOW_TRACKING_PASSWORD": "s3cret",
    }
    elsewhere = load_settings({"tracking_uri": "http://b:1"}, {"TAXIWAY_PROFILE": "stack"}, checkout)
    assert elsewhere.credentials() == {}
    assert load_settings({}, {}, checkout).credentials() == {}


def test_a_stack_that_was_never_started_is_one_line(checkout: Path) -> None:
    with pytest.raises(NotFound, match=r"has no secret .*mlflow_taxiway_password\. Start it once: taxiway stack up"):
        on_profile(checkout).credentials()


def test_a_secret_that_cannot_be_read_is_one_line(checkout: Path) -> None:
    (checkout / ".secrets" / "mlflow_taxiway_password").mkdir(parents=True)
    with pytest.raises(MachineError, match=r"mlflow_taxiway_password cannot be read: Is a directory\. Run this as"):
        on_profile(checkout).credentials()


def test_no_stack_near_by_is_one_line(tmp_path: Path) -> None:
    found = Settings(tmp_path, "tlc", "http://127.0.0.1:5000", origins={"tracking_uri": "profile stack"})
    with pytest.raises(NotFound, match="No container stack of Taxiway is near this folder"):
        found.credentials()
