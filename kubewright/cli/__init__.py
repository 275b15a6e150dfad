"""The command line: one module a verb group, typer and rich, no logic."""

from __future__ import annotations

import sys

from kubewright.errors import BAD_INPUT, FAILED, KubewrightError


def main() -> None:
    """The `kubewright` program. Every error ends in one of the exit codes of `kubewright.errors`."""
    import typer

    from kubewright.cli.app import app

    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted; run the same command again: it resumes from what is done", file=sys.stderr)
        sys.exit(FAILED)
    except typer.TyperException as error:  # usage: typer's own code would be 2, which means `attention` here
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if message:  # without any argument the help was printed
            print(f"{message} See: kubewright VERB --help", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KubewrightError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(status if isinstance(status, int) else 0)
