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


def command_names() -> list[str]:
    """Every command that does something: ``train``, ``stack up``."""
    from taxiway.cli import COMMANDS, stack

    names = [[name] if name != "stack" else [f"stack {word}" for word in stack.COMMANDS] for name in COMMANDS]
    return [name for group in names for name in group]


def module_of(name: str) -> str:
    """The module of a command: ``taxiway.cli.stack_up`` for ``stack up``."""
    return f"taxiway.cli.{name.replace(' ', '_')}"


def context_of(name: str = "") -> click.Context:
    """The context of a command, or of ``taxiway`` itself, on a terminal of 100 columns."""
    from taxiway.cli import taxiway

    shape = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    found = click.Context(taxiway, info_name="taxiway", help_option_names=["-h", "--help"], **shape)
    for word in name.split():
        assert isinstance(found.command, click.Group), name
        command = found.command.get_command(found, word)
        assert command is not None, name
        found = click.Context(command, info_name=word, parent=found, **shape)
    return found


def help_of(name: str = "") -> str:
    """The help of a command, or of ``taxiway`` itself."""
    context = context_of(name)
    return context.command.get_help(context)


def commands_page() -> str:
    """The whole page."""
    from taxiway.cli import COMMANDS

    names = [*COMMANDS, *(name for name in command_names() if " " in name)]
    sections = [("taxiway", help_of()), *((f"taxiway {name}", help_of(name)) for name in names)]
    return "\n".join([_HEAD, *(f"## {title}\n\n```text\n{text.rstrip()}\n```\n" for title, text in sections)])


if __name__ == "__main__":
    COMMANDS_PAGE.parent.mkdir(parents=True, exist_ok=True)
    COMMANDS_PAGE.write_text(commands_page(), encoding="utf-8")
