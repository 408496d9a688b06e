"""Owns the `pesemiseg` program: its commands, and the one place where every failure becomes a line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence

import typer

from PESemiSegLib import __version__
from PESemiSegLib.cli import console

# Command name and the attribute in PESemiSegLib.cli.<name>: a function, or an app with sub-commands. These
# modules import only typer at their top; the rooms they open are imported when the command runs.
_COMMANDS = (
    ("segment", "segment"),
    ("identify", "identify"),
    ("check", "check"),
    ("phantom", "phantom"),
    ("models", "app"),
    ("train", "train"),
    ("finetune", "finetune"),
    ("evaluate", "evaluate"),
    ("cohort", "app"),
    ("jobs", "app"),
)
_HELP = "Pulmonary embolism segmentation in CT pulmonary angiograms. Research use only, not a medical device."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code: 0 done, 1 defect, 2 refused with a reason, 130 stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given  # taken anywhere: it is added to a command that has just failed
    given = [argument for argument in given if argument != "--debug"]
    if hasattr(sys.stdout, "reconfigure"):  # a path that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    console.set_up_logging(debug=debug)
    console.handle_signals()
    try:
        code = build_app()(args=given or ["--help"], prog_name="pesemiseg", standalone_mode=False)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone, as with `pesemiseg ... | head`
        return console.EXIT_OK
    except (Exception, KeyboardInterrupt) as problem:
        return console.explain(problem, debug=debug)
    if code == console.EXIT_CANCELLED:
        return console.explain(KeyboardInterrupt())
    return code if isinstance(code, int) else console.EXIT_OK


def build_app() -> typer.Typer:
    """The typer app with every command whose module is installed."""
    app = typer.Typer(help=_HELP, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_options)
    for name, attribute in _COMMANDS:
        if importlib.util.find_spec(f"PESemiSegLib.cli.{name}") is None:
            continue
        entry = getattr(importlib.import_module(f"PESemiSegLib.cli.{name}"), attribute)
        if isinstance(entry, typer.Typer):
            app.add_typer(entry, name=name)
        else:
            app.command(name)(entry)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"pesemiseg {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and stop."
    ),
    debug: bool = typer.Option(False, "--debug", help="Log everything, and show where an error arose."),
) -> None:
    """Options of the program itself; `main` has acted on --debug already."""


if __name__ == "__main__":
    sys.exit(main())
