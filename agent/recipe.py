"""Recipes: the accepted steps of a run, in one file that replays without a vision-language model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conservator.policies.attempt import Attempt, chain_of
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import (
    CancelledError,
    MissingFileError,
    OutputError,
    UsageError,
    WeightsError,
)
from conservator.restorers.prompts.model import RestorationPrompt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from conservator.tools.image_io import Picture
    from conservator.tools.look import Pixels

__all__ = ["Recipe", "RecipeStep", "Replayed", "read_recipe", "recipe_of", "replay"]


class RecipeStep(BaseModel):
    """One accepted step; each works on the result of the one before it.

    Attributes:
        degradations: kind -> strength, in the kind's own unit.
        rounded: the whole treatment was rounded to the output's depth before it was blended: a blend of a kept candidate.
        weights_sha256: of the restorer's weights, None for classical tools.
        rendered_prompt: what the restorer saw, for people; a replay renders it anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    restorer: str
    configuration: str
    degradations: Mapping[Kind, float]
    semantic: str = ""
    blend: float = Field(default=1.0, gt=0, le=1)
    rounded: bool = False
    seed: int = 0
    weights_sha256: str | None = None
    rendered_prompt: str = ""


class Recipe(BaseModel):
    """What was done to a photo, and with what.

    Attributes:
        conservator: version of this package that wrote it.
        input_id: sha256 of the picture it was made for.
        policy: name of the preset.
        steps: empty when the photo was left as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conservator: str
    input_id: str = ""
    policy: str = ""
    steps: tuple[RecipeStep, ...] = ()


@dataclass(frozen=True)
class Replayed:
    """A picture that a recipe was applied to.

    Attributes:
        array: (H, W, 3), float32, [0, 1], RGB.
        path: the file written, None for pictures without one.
        steps: how many steps were applied.
        error: "" unless this picture of a folder failed; then `array` is None.
    """

    source: Path | None
    array: Pixels | None = field(repr=False)
    path: Path | None
    steps: int
    seconds: float
    error: str = ""


def recipe_of(
    attempts: Sequence[Attempt], best: str, *, version: str, input_id: str, policy: str
) -> Recipe:
    """The recipe of the chain that leads to `best`."""
    steps = [
        RecipeStep(
            restorer=attempt.call.restorer,
            configuration=attempt.call.configuration,
            degradations=attempt.call.prompt.degradations,
            semantic=attempt.call.prompt.semantic,
            blend=attempt.call.blend,
            rounded=not attempt.call.calls_tool,
            seed=attempt.call.seed,
            weights_sha256=attempt.details.get("weights_sha256"),
            rendered_prompt=attempt.rendered_prompt,
        )
        for attempt in chain_of(attempts, best)
    ]
    return Recipe(conservator=version, input_id=input_id, policy=policy, steps=tuple(steps))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file, or the recipe of a run folder.

    Raises:
        MissingFileError: no such file.
        UsageError: it is no recipe.
    """
    file = path / "recipe.json" if path.is_dir() else path
    if not file.is_file():
        raise MissingFileError(f"no recipe at {str(file)!r}; give a recipe.json or a run folder")
    try:
        return Recipe.model_validate_json(file.read_bytes())
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{str(file)!r} is no recipe: {first}") from error


@overload
def replay(
    recipe: Recipe | Path | str,
    image: Image | npt.NDArray[np.generic],
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    strict: bool = True,
    cancel: Signal | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed: ...


@overload
def replay(
    recipe: Recipe | Path | str,
    image: Path | str,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    strict: bool = True,
    cancel: Signal | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed | tuple[Replayed, ...]: ...


def replay(
    recipe: Recipe | Path | str,
    image: Path | str | Image | npt.NDArray[np.generic],
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    strict: bool = True,
    cancel: Signal | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed | tuple[Replayed, ...]:
    """Apply a recipe to a picture, or to every picture of a folder, without inspecting or judging anything.

    Args:
        recipe: a recipe, its file, or a run folder.
        image: a path, a Pillow image, an (H, W, 3) array, or a folder of pictures.
        output: where to write; by default beside a picture that is a file. For a folder, a folder.
        overwrite: replace existing files, also the input.
        device: `auto`, `cpu`, `cuda`.
        strict: refuse weights other than those the recipe was made with.
        cancel: looked at between pictures and tiles.
        on_progress: called with (tiles done, tiles in all) of the step at work.

    Returns:
        One `Replayed`; for a folder one a picture, in the order of their names, failed ones with their error.

    Raises:
        WeightsError: the installed weights differ from the recipe's and `strict` is set.
        CancelledError: `cancel` was set.
        UnknownNameError: the recipe names a restorer that is not installed.
    """
    chosen = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    work = _Work(chosen, overwrite, device, strict, cancel or Signal(), on_progress)
    if isinstance(image, (str, Path)) and Path(image).is_dir():
        return _replay_folder(work, Path(image), None if output is None else Path(output))
    target = None if output is None else Path(output)
    if isinstance(image, (str, Path)):
        return _replay_file(work, Path(image), target)
    from conservator.agent.pictures import picture_from

    picture = picture_from(image)
    return _replayed(work, picture, None, target)


@dataclass(frozen=True)
class _Work:
    recipe: Recipe
    overwrite: bool
    device: str
    strict: bool
    cancel: Signal
    on_progress: Callable[[int, int], None] | None


def _replay_file(work: _Work, source: Path, target: Path | None) -> Replayed:
    from conservator.agent.pictures import picture_from
    from conservator.tools.image_io import default_output

    picture = picture_from(source)
    return _replayed(work, picture, source, target or default_output(source))


def _replay_folder(work: _Work, source: Path, target: Path | None) -> tuple[Replayed, ...]:
    from conservator.restorers.errors import InputError, RestorerError
    from conservator.tools.image_io import default_output
    from conservator.tools.image_io.formats import WRITABLE

    if target is not None:
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make folder {str(target)!r}: {error.strerror}") from error
    results: list[Replayed] = []
    names = sorted(p for p in source.iterdir() if p.is_file() and p.suffix.lower() in WRITABLE)
    for path in names:
        if work.cancel.is_set():
            raise CancelledError(f"cancelled after {len(results)} of {len(names)} pictures")
        place = default_output(path) if target is None else target / path.name
        try:
            results.append(_replay_file(work, path, place))
        except (InputError, RestorerError, OutputError) as error:
            # One bad picture must not cost the rest of the folder.
            results.append(Replayed(path, None, None, 0, 0.0, error=str(error)))
    return tuple(results)


def _replayed(work: _Work, picture: Picture, source: Path | None, target: Path | None) -> Replayed:
    from conservator.agent.saving import artifact_samples
    from conservator.agent.sessions import unit_range
    from conservator.tools.image_io import save

    started = time.perf_counter()
    pixels = picture.pixels
    for step in work.recipe.steps:
        treated = _step(work, step, picture, pixels)
        # The run kept each candidate in the output's depth, so the next step must see the same rounding.
        pixels = unit_range(artifact_samples(picture, treated))
    result = picture.with_pixels(pixels)
    path = None if target is None else save(result, target, overwrite=work.overwrite)
    seconds = time.perf_counter() - started
    return Replayed(source, result.pixels, path, len(work.recipe.steps), seconds)


def _step(work: _Work, step: RecipeStep, picture: Picture, pixels: Pixels) -> Pixels:
    from conservator.agent.saving import artifact_samples
    from conservator.agent.sessions import unit_range
    from conservator.restorers import catalog
    from conservator.tools.restore import blended, from_restored, to_restorer

    restorer = catalog.load(step.restorer, step.configuration, device=work.device)
    restored = restorer.restore(
        to_restorer(pixels),
        RestorationPrompt(degradations=step.degradations, semantic=step.semantic),
        seed=step.seed,
        on_progress=work.on_progress,
        cancel=work.cancel,
    )
    used = restored.details.get("weights_sha256")
    if work.strict and step.weights_sha256 and used != step.weights_sha256:
        raise WeightsError(
            f"the recipe was made with {step.restorer} weights {step.weights_sha256[:12]}, installed are "
            f"{str(used)[:12]}; install those or replay with strict=False"
        )
    whole = from_restored(restored.image)
    if step.rounded:
        whole = unit_range(artifact_samples(picture, whole))
    return blended(pixels, whole, step.blend)
