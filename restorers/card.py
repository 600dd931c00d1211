"""What the catalogue knows about a restorer before loading it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["Configuration", "Precision", "PromptStyle", "RestorerCard"]

PromptStyle = Literal["llmra", "spire", "mofe", "lm4lv", "parameters"]
Precision = Literal["float32", "bfloat16"]


class Configuration(BaseModel):
    """One size of a restorer.

    Attributes:
        parameters_m: millions of parameters; 0 for classical tools.
        weights: file name in the package, None where the user must bring weights or none are needed.
        sha256: checksum of `weights`, hex.
    """

    model_config = ConfigDict(frozen=True)

    parameters_m: float = 0.0
    weights: str | None = None
    sha256: str | None = None


class RestorerCard(BaseModel):
    """The data sheet of a restorer.

    Attributes:
        name: as used on the command line, `llmra`, `classical-nlm`.
        title: one line for people and for the VLM that chooses.
        treats: kinds it can undo.
        prompt_style: the language its prompt is rendered to.
        looks: it sees for itself what is wrong, so it can be asked to undo what the prompt does not name, too.
        understands_strength: True when the number in the prompt changes the result.
        scale: output size / input size.
        multiple: height and width must be multiples of this; the runner pads.
        tile: side of a tile in px that fits comfortably in memory; None when it needs the whole image.
        overlap: px shared by neighbouring tiles, at least the receptive field's useful radius.
        seconds_per_mp: measured on two CPU cores, for planning; 0 when unknown.
        min_side: smallest side in px it accepts without padding.
        precision: what `dtype="auto"` means where the hardware computes bfloat16 natively; float32 everywhere else.
        cpu_only: True for tools that run on the CPU whatever device is asked for.
        licence: SPDX id of code and weights together.
        commercial_use: False where a licence forbids it.
        paper: arXiv id or citation, "" for none.
        configurations: `compact`, `paper`; of a tool without a network also ways to work that `compact` chooses among. One that
            chose says so in `Restored.details["configuration"]`.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    treats: tuple[Kind, ...]
    prompt_style: PromptStyle = "parameters"
    looks: bool = False
    understands_strength: bool = True
    scale: int = 1
    multiple: int = 1
    tile: int | None = 512
    overlap: int = 32
    min_side: int = 1
    precision: Precision = "float32"
    cpu_only: bool = False
    seconds_per_mp: float = 0.0
    licence: str = "Apache-2.0"
    commercial_use: bool = True
    paper: str = ""
    configurations: dict[str, Configuration] = {}

    @property
    def reads_scene(self) -> bool:
        """Whether it is told what the photo shows (`RestorationPrompt.semantic`); other languages have no word for it."""
        return self.prompt_style == "spire"

    def ready(self, configuration: str = "compact") -> bool:
        """Whether that configuration is there and runs without weights that the user would have to bring."""
        chosen = self.configurations.get(configuration)
        return chosen is not None and (chosen.weights is not None or not chosen.parameters_m)
