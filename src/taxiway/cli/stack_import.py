"""``taxiway stack import``: an embedded store into the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import Settings, load_settings

if TYPE_CHECKING:
    from taxiway.stack.importing import Imported

_MOST_NOTES = 20


@click.command("import")
@with_json
@with_settings
def command(settings: Settings, as_json: bool) -> None:
    """Add what the embedded store under the home holds to the stack.

    Experiments, runs, logged models, registered models and versions, with their files, stages and
    aliases. What is in the stack stays as it is; run again, it adds what is missing. The store
    itself is not changed.

    \b
    Example:  taxiway stack import
              taxiway stack import --home ~/old-laptop/.taxiway --json
    """
    from taxiway.cli.output import print_json, print_table, progress_bars, say
    from taxiway.errors import Refused
    from taxiway.stack.importing import import_store

    with progress_bars() as bars:
        done = import_store(settings, _of_the_stack(settings), bars)
    if as_json:
        print_json(_document(done))
    else:
        rows = [(row.kind, row.added, row.present, row.different, row.left_out) for row in done.rows]
        title = f"Imported {done.source} into {done.target} in {done.seconds:.1f} s"
        print_table(title, ("what", "added", "there already", "of these different", "left out"), rows)
        for note in done.notes[:_MOST_NOTES]:
            say(f"{note}.", style="yellow")
        if done.notes[_MOST_NOTES:]:
            say(f"… and {len(done.notes) - _MOST_NOTES} more notes; --json has all of them.", style="yellow")
    if done.refused:
        more = f", and {len(done.refused) - 1} more" if done.refused[1:] else ""
        raise Refused(
            f"Not everything was imported: {done.refused[0]}{more}",
            "Delete or rename that model in the stack, and import again",
        )


def _of_the_stack(settings: Settings) -> Settings:
    """The same settings with the stack as their store, unless an option names another one."""
    if settings.origins.get("tracking_uri") == "--tracking-uri":
        return settings
    stack = settings.stack.folder if settings.stack else None
    return load_settings({"home": settings.home, "profile": "stack", "stack": stack})


def _document(done: Imported) -> dict[str, object]:
    return {
        "source": str(done.source),
        "target": done.target,
        "seconds": done.seconds,
        "counts": {
            row.kind.replace(" ", "_"): {
                "added": row.added,
                "present": row.present,
                "different": row.different,
                "left_out": row.left_out,
            }
            for row in done.rows
        },
        "notes": list(done.notes),
        "refused": list(done.refused),
    }
