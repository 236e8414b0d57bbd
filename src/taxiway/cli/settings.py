"""``taxiway settings``: every setting and where it came from."""

from __future__ import annotations

import click

from taxiway.cli.options import with_json, with_settings
from taxiway.settings import SETTINGS, SPARK_SETTING, Settings


@click.command("settings")
@with_json
@with_settings
def command(settings: Settings, as_json: bool) -> None:
    """Show every setting, its value and where it came from.

    \b
    Example:  taxiway settings
              TAXIWAY_HOME=/data/taxiway taxiway settings --json
    """
    from taxiway.cli.output import print_json, print_table

    rows = list(settings.items())
    if as_json:
        print_json([{"setting": key, "value": value, "origin": origin} for key, value, origin in rows])
        return
    print_table("Settings", ("setting", "value", "from"), rows)
    print_table(
        "What can be set, in taxiway.toml, as a variable or as an option (the last wins)",
        ("setting", "variable", "meaning"),
        [(setting.key, setting.variable, setting.help) for setting in (*SETTINGS, SPARK_SETTING)],
    )
