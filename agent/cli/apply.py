"""`conservator apply`: one restorer, once, as told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.console import bar, emit_path, say
from conservator.agent.cli.interruption import stopping_on_interrupt
from conservator.agent.cli.options import (
    PATH,
    Command,
    device_option,
    output_option,
    overwrite_option,
    seed_option,
    size_options,
)
from conservator.agent.errors import PromptError

if TYPE_CHECKING:
    from conservator.restorers.card import RestorerCard
    from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["apply"]


@click.command(cls=Command)
@click.argument("restorer", metavar="RESTORER")
@click.argument("picture", metavar="IN", type=PATH)
@click.option(
    "--prompt",
    "text",
    metavar="TEXT",
    required=True,
    help='What to undo: "remove the heavy noise", noise:sigma=25+jpeg:quality=20, or any restorer\'s own language.',
)
@click.option(
    "--strength",
    metavar="X",
    help="How strongly: a level (low, medium, high, very-high), or for one degradation a number in its unit.",
)
@seed_option
@size_options
@device_option
@output_option("File to write. Default: beside IN, photo.restored.jpg.")
@overwrite_option
def apply(
    restorer: str,
    picture: Path,
    text: str,
    strength: str | None,
    seed: int,
    configuration: str,
    weights: str | None,
    device: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Run one restorer on a photo, without inspection or judgement.

    `conservator restorers` lists them.
    """
    with stopping_on_interrupt() as cancel, bar() as shown:
        shown.stage("loading")
        from conservator.agent.cli.files import free_output
        from conservator.agent.pictures import picture_from
        from conservator.agent.settings import load_settings
        from conservator.restorers import catalog
        from conservator.restorers.prompts.language import parse
        from conservator.tools.image_io import from_tensor, save, to_tensor

        settings = load_settings()
        prompt = parse(text, required=True)
        if strength is not None:
            prompt = _strengthened(prompt, strength, catalog.card(restorer))
        loaded = picture_from(picture, settings)
        target = free_output(output, picture, "restored", overwrite=overwrite)
        tool = catalog.load(
            restorer,
            configuration,
            device=device or settings.device,
            weights_path=weights,
            allow_download=not settings.offline,
        )
        shown.stage(f"{restorer} on {picture.name}")
        restored = tool.restore(
            to_tensor(loaded), prompt, seed=seed, on_progress=shown.advance, cancel=cancel
        )
        shown.stage("saving")
        save(loaded.with_pixels(from_tensor(restored.image)), target, overwrite=overwrite)
    for piece in prompt.unmapped:
        say(f"note: not understood and left out: {piece!r}")
    say(f'{restorer}, {configuration}: "{restored.rendered_prompt}", {restored.seconds:.1f} s')
    emit_path(target)


def _strengthened(
    prompt: RestorationPrompt, strength: str, card: RestorerCard
) -> RestorationPrompt:
    """The prompt with every degradation it names at this strength.

    Raises:
        PromptError: a number for several degradations, whose units differ; or neither number nor level.
    """
    from conservator.restorers.degradations.vocabulary import Level, value_of
    from conservator.restorers.errors import UnknownNameError
    from conservator.restorers.prompts.amounts import checked

    kinds = tuple(prompt.degradations) or card.treats
    try:
        number = float(strength)
    except ValueError:
        try:
            level = Level.parse(strength)
        except UnknownNameError as error:
            raise PromptError(
                f"strength {strength!r} is neither a number nor a level: {error}"
            ) from None
        strengths = {kind: value_of(kind, level) for kind in kinds}
        return prompt.model_copy(update={"degradations": strengths, "blind": False})
    if len(kinds) != 1:
        named = ", ".join(kind.value for kind in kinds)
        raise PromptError(
            f"strength {strength} for {named}: a number needs one degradation, as units differ; give a level, or "
            f"numbers in the prompt: noise:sigma=25+jpeg:quality=20"
        )
    strengths = {kinds[0]: checked(kinds[0], number)}
    return prompt.model_copy(update={"degradations": strengths, "blind": False})
