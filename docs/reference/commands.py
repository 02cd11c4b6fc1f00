"""The commands as a reader types them, for the page of the command line; mkdocs.yml loads this as a hook."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import click

from abr.cli import root as _root

_HERE = str(Path(__file__).parents[2])


def as_typed(command: click.Command, name: str) -> click.Command:
    """A copy called `name`, all its subcommands loaded, without paths of the machine that builds the site."""
    shown = copy.copy(command)
    shown.name = name
    shown.params = [_portable(parameter) for parameter in command.params]
    if not isinstance(command, click.Group):
        return shown
    context = click.Context(command)
    names = command.list_commands(context)
    commands = {each: as_typed(found, each) for each in names if (found := command.get_command(context, each))}
    return click.Group(
        name, commands, help=command.help, params=shown.params, context_settings=command.context_settings
    )


def _portable(parameter: click.Parameter) -> click.Parameter:
    default = str(parameter.default)
    if not (isinstance(parameter, click.Option) and default.startswith(_HERE)):
        return parameter
    shown = copy.copy(parameter)
    shown.show_default = default.removeprefix(_HERE).lstrip("/")
    return shown


root = as_typed(_root, "toprung")
sys.modules["toprung_commands"] = sys.modules[__name__]
