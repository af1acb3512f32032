"""The command line: words in, words out; knows neither files nor locks.

Every command lives in a module of its own and is imported only when it is called.
"""

from __future__ import annotations

import gc
import os
import sys

from queuectl.errors import QueuectlError

INTERRUPTED = 130
BROKEN_PIPE = 141
_OUT_OF_SPACE = (28, 122)  # ENOSPC, EDQUOT


def main() -> None:
    """The program `queuectl`: never returns."""
    # A command lives for a moment: collecting garbage and taking modules apart at the end would be
    # a tenth of it. A worker turns collection on again.
    gc.disable()
    _open_missing_streams()
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or BROKEN_PIPE
        except OSError as error:
            code = _fail_of(error)
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Errors are one line on standard error."""
    import click

    from queuectl.cli.root import cli

    try:
        outcome = cli.main(args=arguments, prog_name="queuectl", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except QueuectlError as error:
        return _fail(str(error), error.exit_code, error)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _fail(_usage(error), error.exit_code, error)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED, None)
    except SystemExit as leaving:
        # So click leaves after completing a word, and where whoever was reading has seen enough.
        return BROKEN_PIPE if leaving.code else 0
    except OSError as error:
        return _fail_of(error)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        return _fail(f"{what}; this is a defect: QUEUECTL_DEBUG=1 shows where", 1, error)


def _open_missing_streams() -> None:
    """Where the caller has closed a standard stream, no file of the queue may take its place."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    sys.stdin = sys.stdin or open(os.devnull)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")


_GLOBAL_OPTIONS = ("--data", "--color", "-q", "--quiet")


def _usage(error: object) -> str:
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    option = getattr(error, "option_name", "")
    if option in _GLOBAL_OPTIONS and message.startswith("No such option"):
        return f"{option} goes before the command: queuectl {option} … command …"
    context = getattr(error, "ctx", None)
    help_of = f" (see {context.command_path} --help)" if context is not None else ""
    return message.rstrip(".") + help_of


def _fail_of(error: OSError) -> int:
    where = f" ({error.filename})" if error.filename else ""
    code = 9 if error.errno in _OUT_OF_SPACE else 1
    return _fail(f"{error.strerror or error}{where}", code, error)


def _fail(message: str, code: int, error: BaseException | None) -> int:
    from queuectl.telling.words import printable

    if os.environ.get("QUEUECTL_DEBUG") and error is not None:
        import traceback

        traceback.print_exception(error)
    try:
        print(f"queuectl: {printable(message)}", file=sys.stderr)
    except OSError:  # nobody is there to be told
        pass
    return code
