"""The command `t2t-vit`. Each subcommand is a module; what is heavy is imported when it runs."""

from __future__ import annotations

import io
import signal
import sys
import threading
from typing import Annotated

import typer

from t2t_vit import __version__
from t2t_vit.cli import (
    attention,
    convert,
    cross_validate,
    demo,
    download,
    features,
    finetune,
    info,
    models,
    plot,
    predict,
    print_config,
    publish,
    runs,
    test,
    train,
    verify_data,
)
from t2t_vit.cli.arguments import expand
from t2t_vit.errors import T2TViTError

app = typer.Typer(
    name="t2t-vit",
    help="Tokens-to-Token Vision Transformers: predict, train, test and look inside.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    predict,
    features,
    finetune,
    train,
    test,
    cross_validate,
    plot,
    runs,
    info,
    models,
    print_config,
    download,
    verify_data,
    attention,
    convert,
    publish,
    demo,
):
    name = module.__name__.rpartition(".")[2]
    app.command(name.replace("_", "-"))(getattr(module, name))


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Read the options that come before a subcommand; `main` acts on --debug."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and end the process: status 0, 1 for an error, 2 for a wrong call, 130 or 143 if stopped."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files and classes may have what the terminal's encoding has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C does, it raises, so that no half-written file stays. Training has its own handlers over this one.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    debug = "--debug" in arguments
    try:
        app(expand([a for a in arguments if a != "--debug"]), prog_name="t2t-vit")
    except (T2TViTError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"error: {_line(error)}\n")
        sys.exit(1)


def _line(error: Exception) -> str:
    """Return what `error` says in one line; one from a loading process carries that one's traceback before it."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1].partition(": ")[2]
    return " ".join(text.split()) or type(error).__name__
