"""The command line: each command parses, makes one library call and prints."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import click

from taxiway import __version__
from taxiway.cli.process import prepare
from taxiway.errors import Interrupted, TaxiwayError, UsageError, did_you_mean

# Name -> one line of help. A command's module is imported when the command is invoked, so that
# `taxiway --help` stays far from Spark and MLflow.
COMMANDS: dict[str, str] = {
    "demo": "Run the whole main job once, from raw trips to a scored production model.",
    "fetch": "Download months of trips and check that each file is whole.",
    "trips": "Show what is in the trips: rows, valid, rejected by which rule, when and how far.",
    "synth": "Make synthetic trips, for offline use and for tests of scale.",
    "recipes": "List what can be predicted, or show one recipe.",
    "train": "Train and evaluate a sweep of candidates, and audit it for leakage.",
    "compare": "Show an experiment's runs side by side, the best one marked.",
    "register": "Register a run's model as a new version.",
    "promote": "Move a version to Staging or Production.",
    "models": "List registered versions, their stages, metrics and runs.",
    "delete": "Delete a version, unless it is in use.",
    "evaluate": "Judge a model on months of trips, alone or beside another one.",
    "score": "Score months of trips with the version in production, or another one.",
    "ui": "Open MLflow's pages on the same store.",
    "doctor": "Check everything that Taxiway needs, one line each.",
    "warmup": "Let every later start of Spark be a quick one.",
    "stack": "Start, stop and look after the container stack.",
    "settings": "Show every setting and where it came from.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, imported on first use.

    Parameters
    ----------
    table : mapping of str to str
        Name of a command -> one line of help, in the order to list them.
    prefix : str
        What a command's name is the end of, to be its module's.
    """

    def __init__(self, *arguments: Any, table: Mapping[str, str], prefix: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.table = table
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in self.table:
            return None
        command: click.Command = importlib.import_module(f"{self.prefix}{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the closest command when there is none of that name."""
        if args[0] not in self.table and not args[0].startswith("-"):
            words = [*ctx.command_path.split()[1:], args[0]]
            raise UsageError(f"There is no command '{' '.join(words)}'", did_you_mean(args[0], self.table))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    prefix="taxiway.cli.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="taxiway")
def taxiway() -> None:
    """Take a Spark ML model from raw New York taxi trips to production and back.

    \b
    Example:  taxiway demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with a documented exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in argv
    prepare(verbose)
    signal.signal(signal.SIGTERM, _interrupt)
    code = _run(argv, verbose)
    sys.stdout.flush()
    sys.exit(code)


def _run(argv: list[str], verbose: bool) -> int:
    try:
        result: Any = taxiway.main(args=argv, prog_name="taxiway", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        # A group by itself is a question, not a mistake.
        click.echo(error.format_message())
        return 0
    except click.exceptions.Abort:
        return _fail(Interrupted("Interrupted", "What had begun is undone or marked as killed"), verbose)
    except click.ClickException as error:
        return _fail_usage(error)
    except TaxiwayError as error:
        return _fail(error, verbose)
    except KeyboardInterrupt:
        return _fail(Interrupted("Interrupted", "What had begun is undone or marked as killed"), verbose)
    except BrokenPipeError:
        # Whoever read our output has left (`taxiway models | head -1`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  # the outermost frame: users see one line, and --verbose the traceback
        from taxiway.cli.faults import translate

        return _fail(translate(error), verbose)


def _fail_usage(error: click.ClickException) -> int:
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" Try '{error.ctx.command_path} --help'."
    click.echo(f"taxiway: {error.format_message()}{hint}", err=True)
    return 2


def _fail(error: TaxiwayError, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    line = " ".join(str(error).split())
    click.echo(f"taxiway: {line}{'' if line.endswith(('?', '.', '!')) else '.'}", err=True)
    return error.exit_code


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
