"""`conservator train`: train a network that ships with this package, on a folder of clean images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from conservator.agent.cli.console import emit_path, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.options import PATH, Command, above, device_name, seed_option
from conservator.agent.errors import MissingFileError, OutputError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from conservator.restorers.llmra.pool import Inspector

__all__ = ["NETWORKS", "train"]

NETWORKS = ("llmra", "mofe-ir", "spire", "lm4lv", "estimator", "gain", "vlm")
"""What can be trained."""

_OF_SPIRE = ("autoencoder", "prior", "branch", "fidelity")


@click.command(cls=Command)
@click.argument(
    "network",
    metavar="NETWORK",
    type=click.Choice(NETWORKS),
)
@click.option(
    "--config",
    metavar="NAME",
    default="compact",
    show_default=True,
    help="Size of llmra, mofe-ir, spire or lm4lv: compact or paper.",
)
@click.option("--data", metavar="DIR", type=PATH, required=True, help="Folder of clean images.")
@click.option(
    "--out",
    metavar="DIR",
    type=PATH,
    required=True,
    help="Folder for checkpoint, log and weights (.safetensors).",
)
@click.option(
    "--minutes",
    metavar="N",
    type=float,
    callback=above(0),
    default=120,
    show_default=True,
    help="Wall time to spend, earlier parts of a resumed run included.",
)
@click.option(
    "--stage",
    type=click.Choice(["1", "2", "3", "mae", "decoder", "adapters", *_OF_SPIRE]),
    help="Of llmra: 1 (default) accurate sentences; 2 what an inspection would say, errors included (needs --weights). "
    "Of vlm: 1 its eyes, 2 its conversations, 3 both together; all of them unless given. "
    "Of lm4lv: mae its eyes, decoder what turns tokens into pictures, adapters what speaks to the language model; all of them unless given. "
    "Of spire: autoencoder the latent, prior what pictures look like, branch the restoration, fidelity the input's own detail; each needs those "
    "before it (in OUT with --resume, else --weights); all of them unless given.",
)
@click.option(
    "--device",
    metavar="NAME",
    callback=device_name,
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:1.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option(
    "--weights",
    metavar="W",
    type=PATH,
    help="Weights to start from (.safetensors; of vlm a model's directory, which goes through stage 2 once more).",
)
@click.option(
    "--guide",
    metavar="G",
    help="Of mofe-ir: a Qwen2.5-VL, as a directory or a hub id in the local cache; the embedded model unless given.",
)
@click.option(
    "--llm",
    metavar="L",
    help="Of lm4lv: the frozen language model, as a directory or a hub id in the local cache; the embedded model's unless given.",
)
@click.option(
    "--mae",
    metavar="M",
    help="Of lm4lv's size paper: a ViT-MAE of transformers, as a directory or a hub id in the local cache, in place of the stage mae.",
)
@click.option(
    "--base",
    metavar="B",
    help="Of spire's size paper: a Stable-Diffusion-class model, as a directory or a hub id in the local cache.",
)
@click.option(
    "--vlm",
    metavar="WHO",
    help="Of llmra's stage 2: a vision-language model that inspects beside the instruments (embedded, local, served, a URL); "
    "nobody unless given.",
)
@click.option(
    "--validation",
    metavar="DIR",
    type=PATH,
    help="Of llmra, mofe-ir, spire and lm4lv: clean images to validate on.",
)
@seed_option
def train(
    network: str,
    config: str,
    data: Path,
    out: Path,
    minutes: float,
    stage: str | None,
    device: str,
    resume: bool,
    weights: Path | None,
    guide: str | None,
    llm: str | None,
    mae: str | None,
    base: str | None,
    vlm: str | None,
    validation: Path | None,
    seed: int,
) -> ExitCode:
    """Train a network on a folder of clean images.

    NETWORK is llmra, mofe-ir, spire or lm4lv (restorers), estimator (the learned instrument), gain (what tells a good treatment from a bad one) or vlm
    (the embedded vision-language model). The
    learning rate falls along the clock, so give the minutes that there are. A run that is stopped goes on with --resume from its last
    checkpoint, at most three minutes old. Stage 2 of llmra first inspects 1200 degraded pictures, which takes minutes of
    its own; stage 2 of vlm some thousands, and restores a part of them; gain first treats 1300 of them, four ways each. mofe-ir may start from the weights of llmra.
    """
    for folder in (data, validation):
        if folder is not None and not folder.is_dir():
            raise MissingFileError(f"no folder {str(folder)!r}; give a folder of clean images")
    _check(network, config, stage, weights, guide, vlm, validation, resume)
    _check_spire(network, config, stage, base)
    _check_lm4lv(network, stage, llm, mae)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot make folder {str(out)!r}: {reason}; give another one") from error
    common: dict[str, Any] = {
        "minutes": minutes,
        "device": device,
        "resume": resume,
        "seed": seed,
        "say": say,
    }
    try:
        match network:
            case "estimator":
                from conservator.tools.instruments.estimator import train as estimator

                written = estimator.train(data, out, weights=weights, **common)
            case "gain":
                from conservator.tools.gain import train as gain

                written = gain.train(data, out, weights=weights, **common)
            case "vlm":
                from conservator.agent.vlm.embedded import train as embedded

                one = None if stage is None else int(stage)
                written = embedded.train(data, out, stage=one, weights=weights, **common)
            case "mofe-ir":
                from conservator.restorers.guides.qwen import SHIPPED
                from conservator.restorers.mofe_ir import train as mofe_ir
                from conservator.restorers.mofe_ir.config import CONFIGS as SIZES

                _known(config, network, SIZES)
                common |= {"weights": weights, "guide": guide or SHIPPED, "validation": validation}
                written = mofe_ir.train(config, data, out, **common)
            case "spire":
                from conservator.restorers.spire import train as spire
                from conservator.restorers.spire.config import CONFIGS as SPIRE_SIZES

                _known(config, network, SPIRE_SIZES)
                common |= {"weights": weights, "base": base, "validation": validation}
                written = spire.train(config, data, out, stage=stage, **common)
            case "lm4lv":
                from conservator.restorers.lm4lv import train as lm4lv
                from conservator.restorers.lm4lv.config import CONFIGS as LM4LV_SIZES

                _known(config, network, LM4LV_SIZES)
                common |= {"weights": weights, "llm": llm, "mae": mae, "validation": validation}
                part = cast("lm4lv.Stage | None", stage)
                written = lm4lv.train(config, data, out, stage=part, **common)
            case _:
                from conservator.restorers.llmra import train as llmra
                from conservator.restorers.llmra.config import CONFIGS

                _known(config, network, CONFIGS)
                inspector = _inspector(vlm) if stage == "2" else None
                common |= {"weights": weights, "inspector": inspector, "validation": validation}
                which = cast("Literal[1, 2]", int(stage or 1))
                written = llmra.train(config, data, out, stage=which, **common)
    except KeyboardInterrupt:
        say("stopped; the same command with --resume goes on from the last checkpoint")
        return ExitCode.INTERRUPTED
    emit_path(written)
    return ExitCode.DONE


def _known(config: str, network: str, sizes: Iterable[str]) -> None:
    if config not in sizes:
        raise UnknownNameError(f"configuration of {network}", config, tuple(sizes))


def _inspector(vlm: str | None) -> Inspector:
    """Who inspects the pictures of LLMRA's stage 2."""
    from conservator.agent.settings import load_settings
    from conservator.agent.vlm.inspector import inspector_of
    from conservator.agent.vlm.opening import open_vlm
    from conservator.tools.instruments.prompt import degradations_of

    model = None if vlm is None else open_vlm(vlm, load_settings())
    return degradations_of if model is None else inspector_of(model)


def _check(
    network: str,
    config: str,
    stage: str | None,
    weights: Path | None,
    guide: str | None,
    vlm: str | None,
    validation: Path | None,
    resume: bool,
) -> None:
    """Refuse options that the network does not have.

    Raises:
        UsageError: names the option.
    """
    plain = network in ("estimator", "gain")
    if plain and (validation is not None or stage or config != "compact"):
        raise UsageError(f"{network} takes no --config, --stage or --validation; leave them out")
    if network == "vlm" and (validation is not None or config != "compact"):
        raise UsageError("vlm takes no --config or --validation; leave them out")
    if network == "vlm" and weights is not None and stage not in (None, "2"):
        raise UsageError(f"--weights of vlm goes through stage 2; leave --stage {stage} out")
    if network == "mofe-ir" and stage:
        raise UsageError("mofe-ir has no stages; leave --stage out")
    if network != "mofe-ir" and guide is not None:
        raise UsageError(f"{network} takes no --guide; leave it out")
    if vlm is not None and (network, stage) != ("llmra", "2"):
        raise UsageError("--vlm is for stage 2 of llmra; leave it out")
    if network == "llmra" and stage == "3":
        raise UsageError("llmra has the stages 1 and 2")
    if network == "llmra" and stage == "2" and weights is None and not resume:
        raise UsageError("stage 2 goes on from stage 1; give its weights with --weights")


def _check_spire(network: str, config: str, stage: str | None, base: str | None) -> None:
    """Refuse spire's own options elsewhere, and other networks' stages there.

    Raises:
        UsageError: names the option.
    """
    if network == "spire":
        if stage is not None and stage not in _OF_SPIRE:
            raise UsageError(f"spire has the stages {', '.join(_OF_SPIRE)}; not {stage}")
        if base is not None and config != "paper":
            raise UsageError("--base is for spire's size paper; leave it out")
        return
    if stage in _OF_SPIRE:
        raise UsageError(f"{network} has no stage {stage}; that is one of spire")
    if base is not None:
        raise UsageError(f"{network} takes no --base; leave it out")


def _check_lm4lv(network: str, stage: str | None, llm: str | None, mae: str | None) -> None:
    """Refuse lm4lv's own options elsewhere, and other networks' stages there.

    Raises:
        UsageError: names the option.
    """
    named = stage is not None and not stage.isdigit()
    if network == "lm4lv":
        if stage is not None and not named:
            raise UsageError("lm4lv has the stages mae, decoder and adapters")
        if stage == "mae" and mae is not None:
            raise UsageError("--mae takes the place of the stage mae; leave one of them out")
        return
    if named and network != "spire":
        raise UsageError(f"{network} has no stage {stage}; that is one of lm4lv")
    if llm is not None or mae is not None:
        raise UsageError(f"{network} takes no --llm or --mae; leave them out")
