"""Help texts are part of the interface: a golden file keeps them, `CONSERVATOR_GOLDEN=write` writes it anew."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import conservator
from conservator.agent.cli.main import cli

GOLDEN = Path(__file__).with_name("help.txt")


def commands(
    group: click.Group, parent: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command below a group, groups before what is in them."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        with click.Context(command, parent=parent, info_name=name, terminal_width=80) as context:
            yield command, context
            if isinstance(command, click.Group):
                yield from commands(command, context)


def root() -> click.Context:
    return click.Context(cli, info_name="conservator", terminal_width=80, **cli.context_settings)


def help_texts() -> str:
    top = root()
    texts = [cli.get_help(top), *(c.get_help(context) for c, context in commands(cli, top))]
    return "\n\n".join(texts) + "\n"


def test_help_is_as_in_the_golden_file() -> None:
    if os.environ.get("CONSERVATOR_GOLDEN") == "write":
        GOLDEN.write_text(help_texts())
    assert help_texts() == GOLDEN.read_text()


def test_every_command_has_help_and_debug() -> None:
    for command, _ in commands(cli, root()):
        assert command.help
        if isinstance(command, click.Group):
            continue
        assert "--debug" in {option for param in command.params for option in param.opts}
        undocumented = [
            param.name
            for param in command.params
            if isinstance(param, click.Option) and not param.help
        ]
        assert not undocumented, command.name


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["restore", "--help"]])
def test_help_goes_to_stdout(run, words) -> None:
    done = run(*words)
    assert done.code == 0
    assert done.out.startswith("Usage: conservator")
    assert not done.err


def test_without_a_command_help_goes_to_stderr(run) -> None:
    done = run()
    assert done.code == 2
    assert "Usage: conservator" in done.err
    assert not done.out


def test_version(run) -> None:
    assert conservator.__version__ in run("--version").out
