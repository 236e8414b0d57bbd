"""``taxiway stack passwords``: where they lie, and how to change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings

if TYPE_CHECKING:
    from taxiway.stack.passwords import Secret


@click.command("passwords")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--rotate", "change", is_flag=True, help="Change them and restart what uses them.")
@click.option("--show", metavar="NAME", help="Print the value of one secret, and nothing else.")
@with_json
@with_settings
def command(settings: Settings, names: tuple[str, ...], change: bool, show: str | None, as_json: bool) -> None:
    """Show where passwords and keys lie, all or each NAME, or change them.

    A change loses nothing that is stored. It restarts the services that use what is changed:
    kernels that run in JupyterLab end with its token, its account or its key. If it is broken off,
    run it again, or taxiway stack up.

    \b
    Example:  taxiway stack passwords
              taxiway stack passwords --show mlflow_admin_password
              taxiway stack passwords --rotate
              taxiway stack passwords --rotate jupyter_token
    """
    from taxiway.cli.output import print_json, print_table, say
    from taxiway.errors import UsageError
    from taxiway.stack.passwords import list_secrets, reveal

    if show:
        if change or names:
            raise UsageError("--show goes alone", "Name one secret: --show mlflow_admin_password")
        say(reveal(settings, show))
        return
    changed, services = _rotate(settings, names) if change else ((), ())
    found = list_secrets(settings, changed or names)
    if as_json:
        print_json([_document(secret) for secret in found])
        return
    title = f"{'Changed' if change else 'Secrets'}: files of {found[0].file.parent}"
    print_table(title, ("file", "opens", "changed", "used by"), [_row(secret) for secret in found])
    if services:
        say(f"Restarted with what is new: {', '.join(services)}.")
    if "jupyter_token" in changed:
        say("JupyterLab has a new link: taxiway stack up prints it.")
    if any(secret.unfinished for secret in found):
        say("A change was broken off. Finish it: taxiway stack passwords --rotate", style="yellow")


def _rotate(settings: Settings, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    from taxiway.cli.live import watch_services
    from taxiway.stack.passwords import rotate

    with watch_services() as watch:
        done = rotate(settings, names, watch=watch)
    return done.names, done.services


def _document(secret: Secret) -> dict[str, Any]:
    return {
        "name": secret.name,
        "opens": secret.purpose,
        "file": str(secret.file),
        "changed": secret.changed.isoformat() if secret.changed else None,
        "services": list(secret.services),
        "unfinished": secret.unfinished,
    }


def _row(secret: Secret) -> tuple[Any, ...]:
    changed = f"{secret.changed.astimezone():%Y-%m-%d %H:%M}" if secret.changed else "not made yet"
    return (secret.name, secret.purpose, changed, ", ".join(secret.services))
