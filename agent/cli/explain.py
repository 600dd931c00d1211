"""`conservator explain`: what a restorer did, as a figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.console import bar, emit_path, say
from conservator.agent.cli.options import (
    PATH,
    Command,
    device_option,
    output_option,
    overwrite_option,
    size_options,
)
from conservator.agent.errors import MissingFileError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from conservator.restorers.mofe_ir.restorer import MoFEIRRestorer
    from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["explain"]


@click.command(cls=Command)
@click.argument("restorer", metavar="RESTORER", type=click.Choice(["mofe-ir", "spire"]))
@click.argument("picture", metavar="[IN]", type=PATH, required=False)
@click.option(
    "--routing",
    metavar="DIR",
    type=PATH,
    help="Of mofe-ir: draw how the pictures of a folder are routed, coloured by sub-folder or by the letters that names begin with.",
)
@click.option(
    "--prompt",
    "text",
    metavar="TEXT",
    help="Of mofe-ir: what to undo, as for apply. Default: whatever the guide sees.",
)
@size_options
@device_option
@output_option(
    "Figure to write (.png). Default: beside IN, photo.experts.png or photo.strengths.png."
)
@overwrite_option
def explain(
    restorer: str,
    picture: Path | None,
    routing: Path | None,
    text: str | None,
    configuration: str,
    weights: str | None,
    device: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Draw what a restorer does to a photo.

    mofe-ir: what each expert changes, and how much it is asked to; with --routing, instead, how the guide's embeddings of a folder of
    pictures lie, and how their routing lies. spire: the middle of the photo under growing numbers, deblurring downwards, denoising to the right.
    """
    if restorer == "spire" and (routing is not None or text is not None):
        raise UsageError("spire takes no --routing or --prompt; leave them out")
    if (picture is None) == (routing is None):
        raise UsageError("give one photo, or a folder with --routing")
    with bar() as shown:
        shown.stage("loading")
        from conservator.agent.cli.files import new_file
        from conservator.restorers.prompts.language import parse
        from conservator.restorers.prompts.model import RestorationPrompt
        from conservator.tools.compare import png
        from conservator.tools.image_io import write_atomically

        prompt = RestorationPrompt(blind=True) if text is None else parse(text, required=True)
        target = output or _beside(restorer, picture, routing)
        if target.suffix.lower() != ".png":
            raise UsageError(f"a figure is a .png, not {target.name!r}")
        target = new_file(target, overwrite=overwrite)
        shown.stage("looking")
        if restorer == "spire":
            assert picture is not None
            page = _strengths(picture, configuration, weights, device)
        else:
            page = _mofe_ir(picture, routing, prompt, _loaded(configuration, weights, device))
        write_atomically(target, png(page), overwrite=overwrite)
    emit_path(target)


def _mofe_ir(
    picture: Path | None, routing: Path | None, prompt: RestorationPrompt, tool: MoFEIRRestorer
) -> Image:
    """MoFE-IR's figures."""
    if picture is None:
        assert routing is not None
        return _routed(tool, routing, prompt)
    from conservator.agent.pictures import picture_from
    from conservator.restorers.mofe_ir.explain import experts
    from conservator.tools.figures import experts_figure
    from conservator.tools.image_io import to_tensor

    found = experts(tool, to_tensor(picture_from(picture)), prompt)
    return experts_figure(found, title=f"mofe-ir: {tool.render(prompt)}")


def _loaded(configuration: str, weights: str | None, device: str | None) -> MoFEIRRestorer:
    """The restorer itself, without the runner: its inside is what is asked for."""
    import torch

    from conservator.agent.settings import load_settings
    from conservator.restorers.mofe_ir.restorer import build
    from conservator.restorers.training.loop import choose_device

    tool = build(configuration, _located(weights))
    tool.to(choose_device(device or load_settings().device), torch.float32)
    return tool


def _located(weights: str | None) -> Path | None:
    from conservator.agent.settings import load_settings
    from conservator.restorers.weights import locate_weights

    if weights is None:
        return None
    return locate_weights(weights, allow_download=not load_settings().offline)


def _strengths(picture: Path, configuration: str, weights: str | None, device: str | None) -> Image:
    """SPIRE's figure."""
    import torch

    from conservator.agent.pictures import picture_from
    from conservator.agent.settings import load_settings
    from conservator.restorers.spire.explain import strengths
    from conservator.restorers.spire.restorer import build
    from conservator.restorers.training.loop import choose_device
    from conservator.tools.figures import strengths_figure
    from conservator.tools.image_io import to_tensor

    shown = to_tensor(picture_from(picture))
    tool = build(configuration, _located(weights))
    tool.to(choose_device(device or load_settings().device), torch.float32)
    found = strengths(tool, shown)
    return strengths_figure(found, title=f"spire: {found.prompts[0]} ... {found.prompts[1]}")


def _beside(restorer: str, picture: Path | None, routing: Path | None) -> Path:
    if picture is not None:
        kind = "strengths" if restorer == "spire" else "experts"
        return picture.with_name(f"{picture.stem}.{kind}.png")
    assert routing is not None
    return routing.with_name(f"{routing.resolve().name}.routing.png")


def _routed(tool: MoFEIRRestorer, folder: Path, prompt: RestorationPrompt) -> Image:
    from conservator.agent.pictures import picture_from
    from conservator.restorers.mofe_ir.explain import routing
    from conservator.tools.figures import routing_figure
    from conservator.tools.image_io import to_tensor
    from conservator.tools.image_io.formats import WRITABLE

    if not folder.is_dir():
        raise MissingFileError(f"no folder {str(folder)!r}; give a folder of pictures")
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in WRITABLE)
    found = routing(tool, (to_tensor(picture_from(path)) for path in paths), prompt)
    say(
        f"{len(paths)} pictures; similarities differ by {found.difference:.3f} (Eq. 7), "
        f"correlation {found.correlation:.2f}"
    )
    return routing_figure(found, [_group(path, folder) for path in paths])


def _group(path: Path, folder: Path) -> str:
    """The sub-folder that a picture lies in, or the letters that its name begins with."""
    inside = path.relative_to(folder).parts
    if len(inside) > 1:
        return inside[0]
    letters = re.match(r"[^\W\d_]+(?:[+-][^\W\d_]+)*", path.stem)
    return letters[0] if letters else "pictures"
