"""The home that a command works in, from `--home` or the environment."""

from pathlib import Path

import click
import typer

from shared.errors.inputs import InvalidArgument

HOME_VARIABLE = "RICORD_COORDINATOR_HOME"
CURATOR_HOME_VARIABLE = "RICORD_CURATOR_HOME"


def folder_of(context: typer.Context) -> Path:
    """The folder that `--home` or the environment names; raises `InvalidArgument` when neither does."""
    root = context.find_root()
    if not isinstance(root.obj, Path):
        raise InvalidArgument(name="--home", problem=f"name the home folder, or set {variable_of(root)}")
    return root.obj


def variable_of(root: click.Context) -> str:
    """The environment variable that names the home of the program called."""
    return CURATOR_HOME_VARIABLE if root.invoked_subcommand == "curate" else HOME_VARIABLE
