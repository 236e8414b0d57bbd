"""``taxiway register``: a run's model becomes a version."""

from __future__ import annotations

import click

from taxiway.cli.options import mlflow_line, same_store, with_json, with_settings
from taxiway.names import quote
from taxiway.settings import Settings


@click.command("register")
@click.argument("recipe")
@click.option("--run", metavar="ID", help="The run to register, or the beginning of its id; the best one by default.")
@click.option("--description", default="", metavar="TEXT", help="What is special about this version.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the version; may be repeated.")
@with_json
@with_settings
def command(
    settings: Settings, recipe: str, run: str | None, description: str, tags: tuple[str, ...], as_json: bool
) -> None:
    """Register the best run of RECIPE, or a named one, as a new version.

    \b
    Example:  taxiway register tip --description "first with zones" --tag owner=ana
    """
    from taxiway.cli.models import document
    from taxiway.cli.output import print_json, say, waiting
    from taxiway.registry import register
    from taxiway.ui import version_page

    with waiting("Registering"):
        version = register(recipe, settings, run=run, description=description, tags=_pairs(tags))
    if as_json:
        print_json(document(version))
        return
    if version.already_registered:
        say(f"Run {version.run_id} is registered already, as {version}, in {version.stage}.")
    else:
        say(f"{version} is registered, from run {version.run_id}.")
    if version.flagged:
        say(f"The leakage audit flagged: {', '.join(version.flagged)}.", style="yellow")
    if version.synthetic:
        say("It was trained on synthetic trips.", style="yellow")
    say(mlflow_line(settings, version_page(version.name, version.version), quote(str(version))))
    if version.stage == "None":
        say(f"Next: taxiway promote {quote(str(version))} --to staging{same_store(settings)}")


def _pairs(tags: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"'{tag}' is not of the form key=value", param_hint="--tag")
        pairs[key] = value
    return pairs
