"""Recipes: the accepted steps of a run, in one file that replays without a vision-language model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

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
from conservator.tools.regions import Region, Shield, mask_of, mixed, shield_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from conservator.tools.image_io import Picture
    from conservator.tools.look import Pixels

__all__ = [
    "Applied",
    "MixStep",
    "Recipe",
    "RecipeStep",
    "Replayed",
    "apply_step",
    "read_recipe",
    "recipe_of",
    "replay",
    "sources_of",
]


class RecipeStep(BaseModel):
    """One treatment.

    Attributes:
        source: number of the step whose result it works on, 0 for the input; None for the step before it.
        degradations: kind -> strength, in the kind's own unit.
        others: a restorer that looks for itself undid what else it saw, too.
        rounded: the whole treatment was rounded to the output's depth before it was blended: a blend of a kept candidate.
        weights_sha256: of the restorer's weights, None for classical tools.
        rendered_prompt: what the restorer saw, for people; a replay renders it anew.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    restorer: str
    configuration: str
    source: int | None = Field(default=None, ge=0)
    degradations: Mapping[Kind, float]
    others: bool = False
    semantic: str = ""
    blend: float = Field(default=1.0, gt=0, le=1)
    rounded: bool = False
    seed: int = 0
    weights_sha256: str | None = None
    rendered_prompt: str = ""

    @property
    def prompt(self) -> RestorationPrompt:
        """What the restorer is asked for."""
        return RestorationPrompt(
            degradations=self.degradations, blind=self.others, semantic=self.semantic
        )


class MixStep(BaseModel):
    """One result inside a region, another one outside.

    Attributes:
        under: number of the step whose result stays outside, 0 for the input.
        over: the same for inside.
        region: looked for in the input, so that "the sky" is each photo's own; a photo without one stays `under`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    under: int = Field(ge=0)
    over: int = Field(ge=0)
    region: Region


class Recipe(BaseModel):
    """What was done to a photo, and with what.

    Attributes:
        conservator: version of this package that wrote it.
        input_id: sha256 of the picture it was made for.
        policy: name of the preset.
        protect: parts that stay as they come in after each step, looked for in the input; those given in px bind the recipe to photos of one size.
        steps: numbered from 1; the last one gives the result. Empty when the photo was left as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conservator: str
    input_id: str = ""
    policy: str = ""
    protect: tuple[Region, ...] = ()
    steps: tuple[RecipeStep | MixStep, ...] = ()

    @model_validator(mode="after")
    def _from_earlier_steps(self) -> Recipe:
        for number, step in enumerate(self.steps, 1):
            if any(source >= number for source in sources_of(number, step)):
                raise ValueError(f"step {number} needs the result of a later step")
        return self


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
    attempts: Sequence[Attempt],
    best: str,
    *,
    version: str,
    input_id: str,
    policy: str,
    protect: tuple[Region, ...] = (),
) -> Recipe:
    """The recipe of the chain that leads to `best`."""
    steps = [
        RecipeStep(
            restorer=attempt.call.restorer,
            configuration=attempt.call.configuration,
            degradations=attempt.call.prompt.degradations,
            others=attempt.call.prompt.blind,
            semantic=attempt.call.prompt.semantic,
            blend=attempt.call.blend,
            rounded=not attempt.call.calls_tool,
            seed=attempt.call.seed,
            weights_sha256=attempt.details.get("weights_sha256"),
            rendered_prompt=attempt.rendered_prompt,
        )
        for attempt in chain_of(attempts, best)
    ]
    return Recipe(
        conservator=version,
        input_id=input_id,
        policy=policy,
        protect=protect,
        steps=tuple(steps),
    )


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
        InputError: the recipe protects a part given in px of a photo of another size.
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
    from conservator.agent.provenance import provenanced
    from conservator.tools.image_io import save

    started = time.perf_counter()
    result = picture.with_pixels(_result(work, picture))
    result = provenanced(result, work.recipe, weights=work.strict)
    path = None if target is None else save(result, target, overwrite=work.overwrite)
    seconds = time.perf_counter() - started
    return Replayed(source, result.pixels, path, len(work.recipe.steps), seconds)


def _result(work: _Work, picture: Picture) -> Pixels:
    """The last step's picture; earlier ones are kept only as long as a later one needs them."""
    steps = work.recipe.steps
    last_use = {
        source: number
        for number, step in enumerate(steps, 1)
        for source in sources_of(number, step)
    }
    shield = shield_of(work.recipe.protect, picture.pixels) if work.recipe.protect else None
    results = {0: picture.pixels}
    for number, step in enumerate(steps, 1):
        sources = sources_of(number, step)
        made = apply_step(
            step,
            tuple(results[source] for source in sources),
            picture,
            device=work.device,
            strict=work.strict,
            shield=shield,
            cancel=work.cancel,
            on_progress=work.on_progress,
        )
        results[number] = made.pixels
        results = {
            n: kept for n, kept in results.items() if n == number or last_use.get(n, 0) > number
        }
    return results[len(steps)]


def sources_of(number: int, step: RecipeStep | MixStep) -> tuple[int, ...]:
    """Numbers of the results that a step needs: what it treats, or what lies under and over."""
    if isinstance(step, MixStep):
        return step.under, step.over
    return (number - 1 if step.source is None else step.source,)


@dataclass(frozen=True)
class Applied:
    """What a step made.

    Attributes:
        pixels: (H, W, 3), float32, [0, 1], rounded as the run folder keeps it.
        rendered_prompt: what the restorer saw, "" for a mix.
        weights_sha256: of its weights, None without.
        configuration: the one that the restorer chose among its own, "" where it had no choice.
        seconds: the restorer's own.
    """

    pixels: Pixels = field(repr=False)
    rendered_prompt: str = ""
    weights_sha256: str | None = None
    configuration: str = ""
    seconds: float = 0.0


def apply_step(
    step: RecipeStep | MixStep,
    sources: Sequence[Pixels],
    picture: Picture,
    *,
    device: str,
    strict: bool = True,
    shield: Shield | None = None,
    cancel: Signal | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Applied:
    """Do one step.

    Args:
        step: the step.
        sources: the result that it treats; for a mix the one under and the one over.
        picture: the input, which decides the depth and where regions are.
        device: where restorers compute.
        strict: refuse weights other than the step's.
        shield: parts of the input that the result has as they are.
        cancel: looked at between tiles.
        on_progress: called with (tiles done, tiles in all).

    Raises:
        WeightsError: the installed weights are others.
        CancelledError: `cancel` was set.
        RestorerError: the restorer failed.
    """
    from conservator.agent.saving import artifact_samples
    from conservator.agent.sessions import unit_range

    def kept(pixels: Pixels) -> Pixels:
        # A run keeps each candidate in the output's depth, so the next step must see the same rounding.
        whole = pixels if shield is None else shield.over(picture.pixels, pixels)
        return unit_range(artifact_samples(picture, whole))

    if isinstance(step, MixStep):
        under, over = sources
        return Applied(kept(mixed(under, over, mask_of(step.region, picture.pixels))))
    from conservator.restorers import catalog
    from conservator.tools.restore import blended, from_restored, to_restorer

    (pixels,) = sources
    restorer = catalog.load(step.restorer, step.configuration, device=device)
    restored = restorer.restore(
        to_restorer(pixels),
        step.prompt,
        seed=step.seed,
        on_progress=on_progress,
        cancel=cancel,
    )
    used = restored.details.get("weights_sha256")
    if strict and step.weights_sha256 and used != step.weights_sha256:
        raise WeightsError(
            f"the recipe was made with {step.restorer} weights {step.weights_sha256[:12]}, installed are "
            f"{str(used)[:12]}; install those or replay with strict=False"
        )
    whole = from_restored(restored.image)
    if step.rounded:
        whole = kept(whole)
    return Applied(
        pixels=kept(blended(pixels, whole, step.blend)),
        rendered_prompt=restored.rendered_prompt,
        weights_sha256=used,
        configuration=restored.details.get("configuration", ""),
        seconds=restored.seconds,
    )
