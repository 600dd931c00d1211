"""`conservator replay`: the accepted steps of an earlier run, on other photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.console import Bar, bar, emit_path, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.interruption import stopping_on_interrupt
from conservator.agent.cli.options import (
    PATH,
    Command,
    device_option,
    output_option,
    overwrite_option,
)
from conservator.agent.errors import InputError, OutputError, RestorerError

if TYPE_CHECKING:
    from threading import Event

    from conservator.agent.recipe import Recipe, Replayed

__all__ = ["replay"]


@click.command(cls=Command)
@click.argument("recipe", metavar="RECIPE", type=PATH)
@click.argument("pictures", metavar="IN...", nargs=-1, required=True, type=PATH)
@output_option("File to write for one IN, folder for several. Default: beside each IN.")
@device_option
@click.option(
    "--any-weights",
    is_flag=True,
    help="Accept weights other than those the recipe was made with.",
)
@overwrite_option
def replay(
    recipe: Path,
    pictures: tuple[Path, ...],
    output: Path | None,
    device: str | None,
    any_weights: bool,
    overwrite: bool,
) -> ExitCode:
    """Apply the recipe of an earlier run to other photos.

    RECIPE is a recipe.json or a run folder, IN photos and folders of photos. Nothing is inspected or judged. A photo
    that fails does not stop the others.
    """
    failed = 0
    with stopping_on_interrupt() as cancel, bar() as shown:
        from conservator.agent.recipe import read_recipe
        from conservator.agent.settings import load_settings

        work = _Work(
            read_recipe(recipe), device or load_settings().device, not any_weights, overwrite
        )
        several = len(pictures) > 1 or pictures[0].is_dir()
        for picture in pictures:
            shown.stage(str(picture))
            for done in work.on(picture, _place(output, picture, several=several), cancel, shown):
                if done.error:
                    failed += 1
                    say(f"error: {done.error}")
                elif done.path is not None:
                    emit_path(done.path)
    return ExitCode.FAILED if failed else ExitCode.DONE


class _Work:
    def __init__(self, recipe: Recipe, device: str, strict: bool, overwrite: bool) -> None:
        self._recipe, self._device, self._strict = recipe, device, strict
        self._overwrite = overwrite

    def on(
        self, picture: Path, target: Path | None, cancel: Event, shown: Bar
    ) -> tuple[Replayed, ...]:
        from conservator.agent import recipe as recipes

        try:
            done = recipes.replay(
                self._recipe,
                picture,
                output=target,
                overwrite=self._overwrite,
                device=self._device,
                strict=self._strict,
                cancel=cancel,
                on_progress=shown.advance,
            )
        except (InputError, OutputError, RestorerError) as error:
            return (recipes.Replayed(picture, None, None, 0, 0.0, error=str(error)),)
        return done if isinstance(done, tuple) else (done,)


def _place(output: Path | None, picture: Path, *, several: bool) -> Path | None:
    """Where the result of one argument goes; a folder's pictures share the folder.

    Raises:
        OutputError: the folder cannot be made.
    """
    if output is None or not (several or output.is_dir()):
        return output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot make folder {str(output)!r}: {reason}; give another one"
        ) from error
    return output if picture.is_dir() else output / picture.name
