"""The command line: quick to start, helpful, and one line for every error."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reference import command_names, context_of, help_of, module_of
from taxiway.cli import COMMANDS, main
from taxiway.cli.options import same_store
from taxiway.cli.output import Bars, format_cell, print_json, print_table, progress_bars
from taxiway.errors import MachineError, TaxiwayError
from taxiway.settings import SETTINGS, SPARK_SETTING, load_settings

HEAVY = ("pyspark", "mlflow", "pandas", "numpy", "pyarrow", "matplotlib", "fsspec", "optuna", "sqlglot", "sklearn")
MOST_SECONDS = 0.3
NAMES = command_names()


@pytest.fixture(autouse=True)
def terminate_as_before() -> Iterator[None]:
    """`main` answers SIGTERM in its own way, which must not outlive a test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["settings", "--help"], ["settings", "--json"], ["--version"], ["stack", "--help"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from taxiway.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as left:\n"
        "    assert left.code == 0, left.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_imports_neither_spark_nor_mlflow(name: str) -> None:
    program = f"import sys\nimport {module_of(name)}\nprint([name for name in {HEAVY!r} if name in sys.modules])\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_takes_less_than_0_3_seconds(taxiway_command: str) -> None:
    # Processor time, the best of five: the wall clock of a busy machine says nothing about us.
    assert min(_processor_time(taxiway_command, "--help") for _ in range(5)) < MOST_SECONDS


def _processor_time(*command: str) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_help_lists_every_command_in_the_order_of_a_models_life() -> None:
    listed = [line.split()[0] for line in help_of().partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    text = help_of(name)
    assert text.startswith(f"Usage: taxiway {name}")
    assert f"Example:  taxiway {name}" in text or f" taxiway {name}" in text.partition("Example:")[2]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    for option in _command(name).params:
        if isinstance(option, click.Option):
            assert option.help, f"taxiway {name} {option.opts[0]}"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_the_settings_and_names_their_variables(name: str) -> None:
    options = {option: parameter for parameter in _command(name).params for option in parameter.opts}
    for setting in (*SETTINGS, SPARK_SETTING):
        option = options[f"--{setting.key.replace('_', '-')}"]
        assert isinstance(option, click.Option)
        assert setting.variable in str(option.help)
    assert "--verbose" in options


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_prints_a_table_takes_json(name: str) -> None:
    source = inspect.getsource(importlib.import_module(module_of(name)))
    options = {option for parameter in _command(name).params for option in parameter.opts}
    if "print_table" in source or "print_json" in source:
        assert "--json" in options


def test_every_module_of_the_commands_is_a_command_or_a_part_of_the_frame() -> None:
    import taxiway.cli

    frame = {"__init__", "faults", "live", "options", "output", "process", "stack"}
    modules = {f"taxiway.cli.{file.stem}" for file in Path(str(taxiway.cli.__file__)).parent.glob("*.py")}
    assert modules - {f"taxiway.cli.{name}" for name in frame} == set(map(module_of, NAMES))


def _command(name: str) -> click.Command:
    return context_of(name).command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "There is no command 'trian'. Did you mean 'train'?"),
        (["stack", "upp"], "There is no command 'stack upp'. Did you mean 'up'?"),
        (["stack", "up", "--s3", "minion"], "'minion' is not one of"),
        (["settings", "--nonsense"], "No such option"),
        (["settings", "--spark", "nonsense"], "not of the form spark.key=value"),
        (["promote", "tip", "--to", "moon"], "'moon' is not one of"),
        (["register"], "Missing argument 'RECIPE'"),
    ],
)
def test_what_is_mistyped_gets_one_line_and_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert shown.err.startswith("taxiway: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (MachineError("The disk\nis full", "Free  some space"), "taxiway: The disk is full. Free some space.\n", 6),
        (TaxiwayError("No 'tpi'", "Did you mean 'tip'?"), "taxiway: No 'tpi'. Did you mean 'tip'?\n", 1),
        (KeyboardInterrupt(), "taxiway: Interrupted. What had begun is undone or marked as killed.\n", 130),
        (ZeroDivisionError("by zero"), "taxiway: ZeroDivisionError: by zero. Run it again with --verbose", 1),
    ],
)
def test_every_error_becomes_one_line_and_its_code(
    error: BaseException, line: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("taxiway.cli.options.load_settings", fail)
    assert ended("settings") == code
    # After Ctrl-C, click first ends the line that the terminal wrote ^C on.
    shown = capsys.readouterr().err.removeprefix("\n")
    assert shown.startswith(line)
    assert shown.count("\n") == 1


def test_verbose_shows_the_traceback_before_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXIWAY_HOM", "x")
    assert ended("settings", "--verbose") == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.splitlines()[-1].startswith("taxiway: the variable TAXIWAY_HOM is not a setting")


def test_settings_are_shown_with_where_they_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXIWAY_HOME", "/srv/taxiway")
    assert ended("settings", "--json", "--trips-source", "azure", "--spark", "spark.master=local[1]") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["setting"], row["value"], row["origin"]) for row in rows} == {
        ("home", "/srv/taxiway", "TAXIWAY_HOME"),
        ("trips_source", "azure", "--trips-source"),
        ("tracking_uri", "sqlite:////srv/taxiway/mlflow.db", "default"),
        ("mlflow_pages", "", "default"),
        ("shared", "", "default"),
        ("profile", "", "default"),
        ("stack", str(Path(__file__).parents[2]), "default"),
        ("spark.master", "local[1]", "--spark"),
    }


def test_the_next_command_has_the_options_that_name_the_store(tmp_path: Path) -> None:
    stack = tmp_path / "a stack"
    environment = {"TAXIWAY_HOME": str(tmp_path)}
    assert same_store(load_settings({}, environment, tmp_path)) == ""
    given = {"home": str(tmp_path), "profile": "stack", "stack": str(stack), "trips_source": "azure"}
    options = f" --home {tmp_path} --profile stack --stack '{stack}'"
    assert same_store(load_settings(given, environment, tmp_path)) == options
    given = {"tracking_uri": "http://127.0.0.1:5000"}
    assert same_store(load_settings(given, environment, tmp_path)) == " --tracking-uri http://127.0.0.1:5000"


def test_json_has_null_for_what_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({1: float("nan"), "b": (float("inf"), 0.5), "c": [{"d": float("-inf")}]})
    assert json.loads(capsys.readouterr().out) == {"1": None, "b": [None, 0.5], "c": [{"d": None}]}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((None, "-"), (True, "yes"), (False, ""), (1234567, "1,234,567"), ("text", "text"), (0.5, "0.5000")),
        *((0.000012345, "1.234e-05"), (123456.789, "1.235e+05"), (0, "0"), (-3, "-3")),
    ],
)
def test_cells_read_as_people_write(value: object, shown: str) -> None:
    assert format_cell(value) == shown


def test_a_table_is_never_cut_when_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    run = "0123456789abcdef" * 2
    print_table("Runs", ("run", "auc"), [(run, 0.5), (run[::-1], None)], mark=0)
    shown = capsys.readouterr().out
    assert run in shown
    assert "0.5000" in shown


def test_progress_is_drawn_on_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as bars:
        assert isinstance(bars, Bars)
        bars.begin("download", 2_000_000, "B")
        bars.advance("download", 1_000_000)
        bars.advance("unheard of")
        bars.end("download")
        bars.end("never begun")
        bars.note("something that matters")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "something that matters" in shown.err
    assert "download" in shown.err
