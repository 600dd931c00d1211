"""The arguments of a run, and what they resolve to: device, model, output, run folder."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conservator.agent.approval import Answer, Approver
from conservator.agent.pictures import ImageLike
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.agent.settings import Settings
from conservator.agent.steering import Steering
from conservator.policies.acceptance import Direction
from conservator.policies.budget import Clock
from conservator.policies.preset import Preset
from conservator.policies.targets import Target
from conservator.restorers.errors import OutputError, UnknownNameError
from conservator.tools.image_io import default_output
from conservator.tools.image_io.formats import target_format

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = [
    "Options",
    "check_output",
    "checked_device",
    "folder_for",
    "metric_directions",
    "output_for",
    "seated",
    "vlm_spec",
]

_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `conservator.restore`; see there.

    Attributes:
        writes: write a picture beside an input that is a file, where no output is named.
        suffix: format in which candidates are scored where no picture is written.
        answer: to the first question, where it is there before the question.
        clock: monotonic seconds.
    """

    policy: str | Path | Preset = "balanced"
    experience: str | Path | None = None
    targets: str | Sequence[Target] | None = None
    protect: str | Sequence[str] | None = None
    keep: str | Sequence[str] | None = None
    max_seconds: float | None = None
    max_tools: int | None = None
    seed: int = 0
    output: str | Path | None = None
    overwrite: bool = False
    writes: bool = True
    suffix: str | None = None
    run_dir: str | Path | None = None
    dry_run: bool = False
    device: str | None = None
    vlm: BaseChatModel | str | None = None
    approve: str = "never"
    approver: Approver | None = None
    answer: Answer | str | None = None
    steering: Steering | None = None
    clock: Clock = time.monotonic


def vlm_spec(given: BaseChatModel | str | None, settings: Settings) -> str:
    """What is kept in the request of the vision-language model: an `auto` resolved, so that a resumed run has the same."""
    if not isinstance(given, str):
        return "none"
    from conservator.agent.vlm.opening import resolved_spec

    return resolved_spec(given, settings)


def seated(options: Options, request: RunRequest, settings: Settings) -> Options:
    """The options with a chat model, or none, in place of a specification."""
    if not isinstance(options.vlm, str):
        return options
    from conservator.agent.vlm.opening import open_vlm

    spec = request.vlm if options.vlm == "auto" else options.vlm
    return replace(options, vlm=open_vlm(spec, settings, device=request.device))


def metric_directions() -> dict[str, Direction]:
    """No-reference metrics that can run here -> which way is better."""
    from conservator.tools import iqa

    ready = iqa.available()
    return {
        name: card.direction
        for name, card in iqa.METRICS.items()
        if not card.needs_reference and ready[name].ready
    }


def checked_device(name: str) -> str:
    """A device's name; whether it is there shows when it is used, because looking takes torch.

    Raises:
        UnknownNameError: no device is called that.
    """
    if _DEVICE.fullmatch(name) is None:
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:N", "mps"))
    return name


def output_for(image: ImageLike, options: Options) -> Path | None:
    """Where the result goes; refuses at once what would be refused after the work.

    Raises:
        UnknownNameError: a suffix that is not written.
        OutputError: it exists, or its folder is not there.
    """
    if options.output is None:
        if options.dry_run or not options.writes or not isinstance(image, (str, Path)):
            return None
        return default_output(Path(image).absolute())
    target = Path(options.output).absolute()
    check_output(target, overwrite=options.overwrite)
    return target


def check_output(target: Path, *, overwrite: bool) -> None:
    """Refuse at once what would be refused after the work.

    Raises:
        UnknownNameError: a suffix that is not written.
        OutputError: it exists, or its folder is not there.
    """
    target_format(target.suffix)
    if not target.parent.is_dir():
        raise OutputError(f"{target}: {target.parent} is not a folder; create it first")
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: exists; pass overwrite or another name")


def folder_for(request: RunRequest, options: Options, settings: Settings) -> RunFolder:
    """The folder that was named, a free one beside the output, or a temporary one."""
    if options.run_dir is not None:
        return RunFolder.create(Path(options.run_dir).absolute())
    if request.output is None or options.dry_run:
        return RunFolder.create_temporary(settings.runs_dir)
    beside = request.output.with_name(f"{request.output.stem}.run")
    return RunFolder.create_free(beside)
