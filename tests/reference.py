"""The command reference is the commands' own help: this writes it, and a test compares.

Run ``.venv/bin/python tests/reference.py`` after a change to a command.
"""

from __future__ import annotations

from pathlib import Path

import click

DOCS = Path(__file__).parent.parent / "docs"
COMMANDS_PAGE = DOCS / "reference" / "commands.md"
_WIDTH = 100
_HEAD = """# Commands

What `taxiway COMMAND --help` says, word for word. The settings that the last lines of each command repeat are explained
in [settings](settings.md); what `--json` prints in [JSON documents](json.md); how a command ends in
[exit codes](exit-codes.md).
"""


def help_of(name: str = "") -> str:
    """The help of a command, or of ``taxiway`` itself, as a terminal of 100 columns shows it."""
    from taxiway.cli import taxiway

    shape = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    group = click.Context(taxiway, info_name="taxiway", help_option_names=["-h", "--help"], **shape)
    if not name:
        return taxiway.get_help(group)
    command = taxiway.get_command(group, name)
    assert command is not None, name
    return command.get_help(click.Context(command, info_name=name, parent=group, **shape))


def commands_page() -> str:
    """The whole page."""
    from taxiway.cli import COMMANDS

    sections = [("taxiway", help_of()), *((f"taxiway {name}", help_of(name)) for name in COMMANDS)]
    return "\n".join([_HEAD, *(f"## {title}\n\n```text\n{text.rstrip()}\n```\n" for title, text in sections)])


if __name__ == "__main__":
    COMMANDS_PAGE.parent.mkdir(parents=True, exist_ok=True)
    COMMANDS_PAGE.write_text(commands_page(), encoding="utf-8")
