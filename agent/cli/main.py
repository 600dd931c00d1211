"""The `conservator` command: its sub-commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence

import click

import conservator
from conservator.agent.cli.apply import apply
from conservator.agent.cli.chat import chat
from conservator.agent.cli.console import mute_stdout, one_line
from conservator.agent.cli.degrade import degrade
from conservator.agent.cli.doctor import doctor
from conservator.agent.cli.evaluate import evaluate
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.explain import explain
from conservator.agent.cli.inspect import inspect
from conservator.agent.cli.listings import policies, restorers
from conservator.agent.cli.policy import policy
from conservator.agent.cli.replay import replay
from conservator.agent.cli.report import report
from conservator.agent.cli.restore import restore
from conservator.agent.cli.score import score
from conservator.agent.cli.sessions import sessions
from conservator.agent.cli.train import train
from conservator.agent.cli.tui import at_a_terminal, tui
from conservator.agent.cli.vlm import vlm
from conservator.agent.errors import ConservatorError

__all__ = ["cli", "main"]

_COMMANDS = (
    restore,
    tui,
    chat,
    inspect,
    apply,
    score,
    replay,
    report,
    sessions,
    degrade,
    explain,
    restorers,
    policies,
    policy,
    doctor,
    evaluate,
    train,
    vlm,
)


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use, not of the alphabet."""
        return [command.name for command in _COMMANDS if command.name]


@click.group(
    cls=_Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(conservator.__version__, prog_name="conservator")
@click.option("--debug", is_flag=True, expose_value=False, hidden=True)
@click.pass_context
def cli(context: click.Context) -> ExitCode | None:
    """Inspect a photo, restore no more than needed, and document everything.

    Alone, at a terminal, it opens the terminal UI (conservator tui). Results go to stdout, everything else to stderr.

    Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 a package, model or device is missing, 4 a limit was
    reached or you stopped, and the best so far is saved, 130 interrupted.
    """
    if context.invoked_subcommand is not None:
        return None
    if at_a_terminal():
        return ExitCode(context.invoke(tui))
    raise click.exceptions.NoArgsIsHelpError(context)


for _command in _COMMANDS:
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; by default the process's own.

    Returns:
        The exit code, see `ExitCode`. Errors are one line on stderr, with a traceback after `--debug`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    with warnings.catch_warnings():
        if not debug:
            warnings.simplefilter("ignore")
        try:
            code = cli.main(given, prog_name="conservator", standalone_mode=False)
            sys.stdout.flush()
            return int(code or ExitCode.DONE)
        except BrokenPipeError:
            mute_stdout()
            return ExitCode.DONE
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return ExitCode.USAGE
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                traceback.print_exc()
            code, words = _explained(error)
            click.echo(f"error: {one_line(words)}", err=True)
            return code


def _explained(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code of an error and its one line."""
    if isinstance(error, ConservatorError):
        return ExitCode(error.exit_code), str(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "conservator"
        return ExitCode.USAGE, f"{error.format_message().rstrip('.')}; see {path} --help"
    if isinstance(error, click.ClickException):
        return ExitCode.FAILED, error.format_message()
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return ExitCode.INTERRUPTED, "interrupted"
    if isinstance(error, ImportError):
        missing = f"a package is missing or broken: {error}"
        if "libGL" in str(error):
            missing += "; install libgl1, or: pip install --force-reinstall opencv-python-headless"
        return ExitCode.BACKEND_MISSING, missing
    if isinstance(error, MemoryError):
        return ExitCode.FAILED, "out of memory; close other programs or give a smaller picture"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ExitCode.FAILED, f"{what} (unexpected; --debug shows where)"


if __name__ == "__main__":
    sys.exit(main())
