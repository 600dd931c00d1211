"""`conservator degrade`: make a photo worse in a known, repeatable way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.console import emit_path, say
from conservator.agent.cli.options import (
    PATH,
    Command,
    output_option,
    overwrite_option,
    seed_option,
)
from conservator.agent.errors import MissingFileError, UsageError

if TYPE_CHECKING:
    from conservator.restorers.degradations.recipe import Draws
    from conservator.tools.image_io import Picture

__all__ = ["degrade"]


@click.command(cls=Command)
@click.argument("picture", metavar="IN", type=PATH)
@click.option(
    "--recipe",
    "text",
    metavar="RECIPE",
    help="What to do, left to right: noise:sigma=25+jpeg:quality=20, noise:high, or a name: mio16:A1, cdd11:L+H, "
    "spire, real-esrgan, lm4lv:denoise.",
)
@seed_option
@output_option("File to write. Default: beside IN, photo.degraded.png.")
@click.option(
    "--draws",
    "draws_file",
    metavar="FILE",
    type=PATH,
    help="With --recipe: keep every random draw in this JSON file. Without: repeat the draws in it.",
)
@overwrite_option
def degrade(
    picture: Path,
    text: str | None,
    seed: int,
    output: Path | None,
    draws_file: Path | None,
    overwrite: bool,
) -> None:
    """Make a photo worse in a known, repeatable way.

    The same recipe and seed give the same pixels. A JPEG written after a recipe that ends in jpeg has that quality itself.
    """
    if text is None and draws_file is None:
        raise UsageError("nothing to do; give --recipe, or --draws with a file of stored draws")
    from conservator.agent.cli.files import free_output, new_file
    from conservator.agent.pictures import picture_from
    from conservator.restorers.degradations.recipe import Recipe, apply
    from conservator.restorers.prompts.parameters import item
    from conservator.tools.image_io import (
        default_output,
        from_tensor,
        save,
        to_tensor,
        write_atomically,
    )

    recipe = None if text is None else Recipe.parse(text)
    loaded = picture_from(picture)
    if output is None:
        # Another format would add losses that the recipe does not name.
        output = default_output(picture.with_suffix(".png"), "degraded")
    target = free_output(output, picture, "degraded", overwrite=overwrite)
    if recipe is None:
        assert draws_file is not None
        draws = _stored(draws_file)
    else:
        draws = recipe.draw(seed, loaded.height, loaded.width)
        if draws_file is not None:
            new_file(draws_file, overwrite=overwrite)
    degraded = loaded.with_pixels(from_tensor(apply(to_tensor(loaded), draws)))
    save(degraded, target, overwrite=overwrite, quality=_quality(draws, degraded, target))
    if recipe is not None and draws_file is not None:
        data = draws.model_dump_json(indent=1).encode()
        write_atomically(draws_file, data, overwrite=overwrite)
    for step in draws.steps:
        if step.kind is not None and step.value is not None:
            say(f"{step.operator}: {item(step.kind, step.value)}")
        else:
            say(step.operator)
    emit_path(target)


def _stored(file: Path) -> Draws:
    """Draws read back from a file.

    Raises:
        MissingFileError: no such file.
        UsageError: it holds no draws.
    """
    from pydantic import ValidationError

    from conservator.restorers.degradations.recipe import Draws

    if not file.is_file():
        raise MissingFileError(f"no draws at {str(file)!r}; give --recipe to draw new ones")
    try:
        return Draws.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"{str(file)!r} holds no draws: {first}; draw again with --recipe"
        ) from error


def _quality(draws: Draws, picture: Picture, target: Path) -> int | None:
    """The last step's JPEG quality where the file can carry it: its tables then tell the truth about its pixels."""
    last = draws.steps[-1] if draws.steps else None
    if last is None or last.kind is None or last.kind.value != "jpeg" or last.value is None:
        return None
    is_jpeg = target.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif")
    return max(1, min(100, round(last.value))) if is_jpeg else None
