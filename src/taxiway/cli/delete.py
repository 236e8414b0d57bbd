"""``taxiway delete``: say what would go, ask, and really remove it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.registry import Deletion


@click.command("delete")
@click.argument("model", metavar="MODEL[/VERSION]")
@click.option(
    "--in-stage",
    multiple=True,
    type=click.Choice(["staging", "production"], case_sensitive=False),
    help="Delete although it is in use in this very stage; may be repeated.",
)
@click.option(
    "--with-alias",
    multiple=True,
    metavar="ALIAS",
    help="Delete although this other alias points to it, which goes too; may be repeated.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_json
@with_settings
def command(
    settings: Settings, model: str, in_stage: tuple[str, ...], with_alias: tuple[str, ...], yes: bool, as_json: bool
) -> None:
    """Delete a version, or a model with all its versions, unless it is in use, in a stage or by an alias.

    Says what would go and asks. Runs, their metrics and the files of their models stay.

    \b
    Example:  taxiway delete tip/3
              taxiway delete tip/4 --in-stage production --yes
    """
    from taxiway.cli.output import print_json, say, waiting
    from taxiway.errors import Interrupted
    from taxiway.registry import delete, plan_deletion

    with waiting("Reading the registry"):
        plan = plan_deletion(model, settings, in_stage=in_stage, with_alias=with_alias)
    for line in _lines(plan):
        click.echo(line, err=True)
    if not yes and not _confirmed(model):
        raise Interrupted("Nothing was deleted", "You did not say yes")
    with waiting("Deleting"):
        done = delete(plan, settings)
    if as_json:
        print_json(_document(done))
    else:
        say(f"Deleted {_names(done)}.")


def _confirmed(model: str) -> bool:
    from taxiway.errors import Refused

    if not sys.stdin.isatty():
        raise Refused("Deleting asks first, and there is no terminal to ask on", "Add --yes")
    return click.confirm(f"Delete {model}?", err=True)


def _lines(plan: Deletion) -> list[str]:
    lines = []
    for version in plan.versions:
        aliases = f", alias {', '.join(version.aliases)}" if version.aliases else ""
        lines.append(f"goes:   {version} (stage {version.stage}{aliases})")
    if plan.whole_model:
        lines.append(f"goes:   the registered model '{plan.name}', which has no other version")
    lines += [f"stays:  run {run}, its metrics and its model's files" for run in plan.runs]
    return lines


def _names(plan: Deletion) -> str:
    names = ", ".join(str(version) for version in plan.versions)
    model = f"the registered model '{plan.name}'" if plan.whole_model else ""
    return " and ".join(part for part in (names, model) if part)


def _document(plan: Deletion) -> dict[str, Any]:
    return {
        "name": plan.name,
        "versions": [
            {"version": version.version, "stage": version.stage, "aliases": list(version.aliases)}
            for version in plan.versions
        ],
        "registered_model": plan.whole_model,
        "aliases": list(plan.aliases),
        "runs_kept": list(plan.runs),
    }
