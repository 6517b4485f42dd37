"""The program: its root options, its commands and those of plugins, and what becomes of an error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stagegraph.cli import output
from stagegraph.cli.catalogue import doctor, stages
from stagegraph.cli.graphs import graph, plan, validate
from stagegraph.cli.plugins import plugins
from stagegraph.cli.rerun import rerun
from stagegraph.cli.run import resume, run
from stagegraph.cli.runs import diff, explain, gc, runs, show
from stagegraph.cli.schema import migrate, schema
from stagegraph.cli.session import session
from stagegraph.cli.strip import strip
from stagegraph.cli.workspace import Workspace
from stagegraph.errors import Fault, StagegraphError
from stagegraph.errors import UsageError as OurUsageError
from stagegraph.ranks import is_first

# typer keeps its copy of click's exceptions to itself: BadParameter < UsageError < ClickException
_ClickUsageError, _ClickException = typer.BadParameter.__mro__[1:3]


class PluginGroup(TyperGroup):
    """The built-in commands, and the groups that plugins contribute; plugins load when a name is not built in."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Built-in commands first."""
        return [*super().list_commands(ctx), *sorted(_workspace(ctx).commands.keys() - self.commands.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name."""
        command = super().get_command(ctx, cmd_name)
        if command is None and cmd_name in _workspace(ctx).commands:
            command = typer.main.get_command(_workspace(ctx).commands[cmd_name])
            command.name = cmd_name
        return command


app = typer.Typer(
    name="stagegraph",
    cls=PluginGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Run typed graphs of plugin stages, checked before anything heavy loads.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    *(run, resume, rerun, validate, graph, plan, stages, schema, migrate),
    *(runs, show, explain, diff, strip, gc, doctor),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(plugins, name="plugins")
app.add_typer(session, name="session")


def _version(wanted: bool) -> None:
    if wanted:
        output.say(f"stagegraph {metadata.version('stagegraph')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    no_plugin: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Leave a plugin out; may be repeated.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version.")
    ] = False,
) -> None:
    """Set what every command shares."""
    ctx.obj = Workspace(tuple(no_plugin or ()))


def _workspace(ctx: Any) -> Workspace:
    """What the commands share; while the root is still being parsed, one of its options only."""
    root = ctx.find_root()
    if not isinstance(root.obj, Workspace):
        root.obj = Workspace(tuple(root.params.get("no_plugin") or ()))
    return root.obj


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        args: the words after the program's name; those of the process if None.
    """
    args = list(sys.argv[1:] if args is None else args)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # half a surrogate pair in a prompt is no reason to fail
    sys.exit(call(args))


def call(args: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    args = list(args)
    as_json = "--json" in args
    command = next((word for word in args if not word.startswith("-")), "")
    try:
        code = app(args, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except StagegraphError as error:
        output.fail(command, error, as_json)
        return error.exit_code
    except _ClickException as error:  # type: ignore[misc]
        return _usage(command, error, as_json)
    except (KeyboardInterrupt, typer.Abort):
        output.tell("cancelled")
        return 130
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _usage(command: str, error: Any, as_json: bool) -> int:
    if not as_json and is_first():
        error.show()
        return int(error.exit_code)
    fix = f"see stagegraph {command} --help".replace("  ", " ")
    output.fail(command, OurUsageError(Fault("usage", error.format_message(), fix=fix)), as_json)
    return int(error.exit_code)
