"""``taxiway promote``: a version moves to a stage, its alias with it."""

from __future__ import annotations

from dataclasses import asdict

import click

from taxiway.cli.options import mlflow_line, same_store, with_json, with_settings
from taxiway.names import quote
from taxiway.settings import Settings


@click.command("promote")
@click.argument("model", metavar="MODEL[/VERSION]")
@click.option(
    "--to",
    type=click.Choice(["staging", "production", "none", "archived"], case_sensitive=False),
    default="production",
    show_default=True,
    help="The stage to move to.",
)
@with_json
@with_settings
def command(settings: Settings, model: str, to: str, as_json: bool) -> None:
    """Move a version to a stage; MLflow's alias of the same name goes with it.

    Without a version, Staging takes the newest one in None, and Production takes the one in
    Staging, else the newest. Whoever was in the stage is archived. A version in None passes
    through Staging on its way to Production.

    \b
    Example:  taxiway promote tip --to staging
              taxiway promote tip/3 --to production
    """
    from taxiway.cli.models import document
    from taxiway.cli.output import print_json, say, waiting
    from taxiway.registry import promote
    from taxiway.ui import version_page
    from taxiway.versions import PRODUCTION

    with waiting("Promoting"):
        done = promote(model, settings, to=to)
    if as_json:
        moves = [asdict(move) for move in done.moves]
        print_json({**document(done.version), "moves": moves, "repairs": list(done.repairs)})
        return
    for repair in done.repairs:
        say(f"Repaired: {repair}.", style="yellow")
    for move in done.moves:
        say(str(move))
    if not done.moves:
        say(f"{done.version} is in {done.version.stage} already.")
    say(mlflow_line(settings, version_page(done.version.name, done.version.version), quote(str(done.version))))
    if done.version.stage == PRODUCTION:
        say(f"Next: taxiway score {quote(done.version.name)} --months … --out predictions/{same_store(settings)}")
