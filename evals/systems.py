"""The systems under test: what is given a sample and makes an answer.

A system is written `NAME` or `NAME:option=value,option=value`:

- `untouched`: the input. Always measured; nothing may be worse.
- any restorer (`llmra`, `classical-dct`, ...), called once. `text=` true (default: what is really wrong), false (denies that
  and claims something else), blind ("remove all degradation"), inspected (what our instruments say), seen (what they and a
  vision-language model say together), sentences (the model's own answer to LLMRA's three questions), none (says nothing), types (the
  truth without its numbers, of SPIRE); `say=` a prompt in words, whatever is wrong, in place of `text=`;
  `model=` names that model as `vlm=` does, by default `embedded`;
  `strength=` factor on the asked severities; `cem=yes` lets LLMRA's CEM correct the text; `guide=other` shows MoFE-IR's
  guide another picture; `weights=` a file in place of the shipped weights, for trials; `configuration=` another than `compact`, such as
  LM4LV's `mae-r`, its autoencoder alone; of SPIRE `semantic=` own or other, the caption of the picture or of another one (from the
  folder's manifest.csv), and `steps=`, `guidance=`, `fidelity=`, `start=` as in its `Sampling`.
- `each-restorer`: every restorer that is ready, called once, a system each; with the options of one, such as `text=inspected`.
- `inspected`: one `llmra` call on what the inspection found, nothing judged.
- `fixed-order`, `random-order`: for each kind found the restorer that measured best, one after the other, in the policy's order
  or in a seeded random one, nothing judged.
- `agent`: the whole agent; `policy=`, `seconds=`, `vlm=` as on the command line (`none`, `embedded`, `served`, a URL; default: auto);
  `experience=` auto, none or a file.
- `instruments`, `vlm`, `instruments+vlm`: no picture, only what the instruments, a vision-language model, or both say is wrong;
  `model=` names the model as `vlm=` does.
- `classical`, `oracle`: led by the ground truth, so ceilings and not methods. Told the true kinds and strengths, they try the
  calls of the classical tools, or of all ready restorers, and keep what comes nearest to the clean picture in PSNR: see `conservator.evals.ceiling`.
- `command:PROGRAM {in} {out}`: any program; it reads one file and writes another.
"""

from __future__ import annotations

import random
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from conservator.evals.calling import called
from conservator.evals.ceiling import ceiling
from conservator.evals.drawing import Mode, drawn_in, mode_of
from conservator.evals.guidance import absent_kind, misguided
from conservator.evals.perceivers import (
    Perceiver,
    checked_spec,
    eight_bit,
    instruments_report,
    opened_vlm,
)
from conservator.evals.sample import Answer, Sample
from conservator.policies.cases import Condition
from conservator.policies.ordering import in_treatment_order
from conservator.policies.preferences import load_preferences
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import (
    Kind,
    Level,
    severity_of,
    value_at,
    value_of,
)
from conservator.restorers.errors import PromptError, RestorerError, UnknownNameError, UsageError
from conservator.restorers.prompts.language import parse
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.instruments.prompt import prompt_from

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from conservator.restorers.card import RestorerCard

__all__ = ["EACH", "NAMES", "System", "build", "expanded"]

EACH = "each-restorer"
"""Stands for every restorer that is ready."""


class System(Protocol):
    """Something that answers samples."""

    def warm(self) -> None:
        """Load what is needed, so that answers are timed without it."""
        ...

    def answer(self, sample: Sample, *, seed: int, seconds: float) -> Answer:
        """Answer one sample.

        Args:
            sample: what to restore; `clean` and `truth` are for ceilings and prompts of the truth only.
            seed: of everything that draws.
            seconds: after which the runner gives up; a system that can stop itself should do so before.

        Raises:
            ConservatorError: it cannot; the sample counts as failed.
        """
        ...


@dataclass(frozen=True)
class _Plain:
    """A system that is one function."""

    work: Callable[[Sample, int], Answer]
    needs: tuple[str, ...] = ()

    def warm(self) -> None:
        for name in self.needs:
            _warm(name)

    def answer(self, sample: Sample, *, seed: int, seconds: float) -> Answer:
        return self.work(sample, seed)


@dataclass(frozen=True)
class _Agent:
    policy: str
    seconds: float | None
    vlm: str = "auto"
    experience: str | None = None

    def warm(self) -> None:
        from conservator.agent.api import restore

        noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
        restore(noise, policy=self.policy, vlm=self.vlm)

    def answer(self, sample: Sample, *, seed: int, seconds: float) -> Answer:
        from conservator.agent.api import restore

        # Stops itself in time, so that its best so far is scored.
        limit = min(self.seconds or 0.8 * seconds, 0.8 * seconds)
        if sample.spec.recipe:
            given = eight_bit(sample.degraded)
            result = restore(
                given,
                policy=self.policy,
                experience=self.experience,
                max_seconds=limit,
                seed=seed,
                vlm=self.vlm,
            )
        else:
            # The file, not the array: its quantisation tables and profile are evidence. Nothing is written beside it.
            with tempfile.TemporaryDirectory(prefix="conservator-eval-") as folder:
                result = restore(
                    sample.path,
                    policy=self.policy,
                    experience=self.experience,
                    max_seconds=limit,
                    seed=seed,
                    vlm=self.vlm,
                    output=Path(folder) / "restored.png",
                    run_dir=Path(folder) / "run",
                )
        return Answer(
            image=result.array,
            report=result.before,
            tools=result.spent.tools,
            vlm_calls=result.spent.vlm_calls,
            tokens=result.spent.vlm_tokens,
            details={
                "decided": result.decided,
                "vlm": "" if result.vlm is None else result.vlm.model,
                "outcome": result.outcome,
                "reason": result.reason,
                "steps": [str(step.call) for step in result.steps],
                "condition": {
                    "seen": str(Condition.of(result.before.findings)),
                    "side": min(sample.degraded.shape[:2]),
                },
                "trials": result.spent.trials,
                "found": {f.kind.value: round(f.value, 4) for f in result.before.present()},
                "overhead": round(result.timing.overhead, 4),
                "parts": {
                    name: getattr(result.timing, name)
                    for name in ("restorers", "loading", "instruments", "metrics", "vlm", "agent")
                },
            },
        )


def build(text: str) -> System:
    """A system by its name.

    Raises:
        UnknownNameError: no such system or restorer.
        UsageError: an option that the system does not have, or a value that makes no sense.
    """
    name, _, rest = text.strip().partition(":")
    if name == "command":
        return _Plain(partial(_command, _program(rest)))
    options = _options(text, rest)
    system = _named(name, options)
    if options:
        raise UsageError(f"system {text!r}: unknown option {', '.join(sorted(options))}")
    return system


def expanded(names: Sequence[str]) -> tuple[str, ...]:
    """Names of systems, each once, with the restorers in the place of `each-restorer`."""
    found: list[str] = []
    for name in names:
        head, colon, options = name.strip().partition(":")
        if head == EACH:
            # A checkpoint of the user's treats what nobody knows, and needs a file.
            known = [restorer for restorer, card in _ready().items() if card.treats]
            found += [f"{restorer}{colon}{options}" for restorer in known]
        else:
            found.append(name)
    return tuple(dict.fromkeys(found))


NAMES = (
    "untouched",
    "inspected",
    "fixed-order",
    "random-order",
    "agent",
    "instruments",
    "vlm",
    "instruments+vlm",
    "classical",
    "oracle",
    "command",
)
"""Besides the restorers."""


def _named(name: str, options: dict[str, str]) -> System:
    match name:
        case "untouched":
            return _Plain(lambda sample, seed: Answer(image=sample.degraded))
        case "inspected":
            return _once("llmra", {"text": "inspected"})
        case "fixed-order" | "random-order":
            shuffled = name == "random-order"
            return _Plain(partial(_in_order, cards=_ready(), shuffled=shuffled), ("llmra",))
        case "agent":
            seconds = options.pop("seconds", None)
            return _Agent(
                options.pop("policy", "balanced"),
                _number(seconds) if seconds else None,
                checked_spec(options.pop("vlm", "auto")),
                options.pop("experience", None),
            )
        case "instruments":
            return _Plain(
                lambda sample, seed: Answer(image=None, report=instruments_report(sample))
            )
        case "vlm" | "instruments+vlm":
            opened = partial(opened_vlm, checked_spec(options.pop("model", "auto")))
            return Perceiver(opened, alone=name == "vlm")
        case "classical":
            tools = _ready("classical-")
            match options.pop("text", "true"):
                case "true":
                    return _Plain(partial(ceiling, tuple(tools)))
                case "inspected":
                    return _Plain(partial(_in_order, cards=tools))
            raise UsageError("system classical: text is true or inspected")
        case "oracle":
            return _Plain(partial(ceiling, tuple(_ready())), ("llmra",))
    if name == EACH:
        raise UsageError(f"{EACH} stands for several systems; a run takes it, not one answer")
    if name not in catalog.cards():
        raise UnknownNameError("system", name, [*NAMES, EACH, *catalog.cards()])
    return _once(name, options)


def _options(text: str, rest: str) -> dict[str, str]:
    found = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not value or key.strip() in found:
            raise UsageError(f"system {text!r}: {item!r} is not option=value, each once")
        found[key.strip()] = value.strip()
    return found


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise UsageError(f"{text!r} is not a number above 0")
    return value


# ── one call ────────────────────────────────────────────────────────────────
TEXTS = ("true", "types", "false", "blind", "inspected", "seen", "sentences", "none")
BY_MODEL = ("seen", "sentences")


def _once(restorer: str, options: dict[str, str]) -> System:
    text = options.pop("text", "true")
    strength = _number(options.pop("strength", "1"))
    enhance = options.pop("cem", "no")
    shown, weights = options.pop("guide", "own"), options.pop("weights", "")
    size, sizes = options.pop("configuration", "compact"), catalog.card(restorer).configurations
    if size not in sizes:
        raise UnknownNameError(f"configuration of {restorer}", size, tuple(sizes))
    mode, words = mode_of(restorer, text, options), options.pop("say", "")
    told: Teller = partial(_told, text)
    if words:
        told = partial(_always, parse(words, required=True))
    elif text in BY_MODEL:
        told = partial(
            _told_by_model,
            text,
            cache(partial(opened_vlm, checked_spec(options.pop("model", "embedded")))),
        )
    if text not in TEXTS or enhance not in ("yes", "no"):
        known = f"text is one of {', '.join(TEXTS)}; cem is yes or no"
        raise UsageError(f"system {restorer}: {known}")
    if shown not in ("own", "other") or (shown == "other" and restorer != "mofe-ir"):
        raise UsageError(f"system {restorer}: guide=own, or guide=other of mofe-ir; not {shown!r}")

    def work(sample: Sample, seed: int) -> Answer:
        prompt = _for(restorer, _strengthened(told(sample), strength))
        # An inspection that found nothing leaves CEM nothing to correct.
        if enhance == "yes" and prompt.degradations:
            prompt = prompt.model_copy(update={"blind": True})
        said = {kind.value: round(value, 4) for kind, value in prompt.degradations.items()}
        details = {"prompt": said, "blind": prompt.blind}
        if not prompt.degradations and not prompt.blind:
            return Answer(image=sample.degraded, details=details)
        if shown == "other":
            image = misguided(restorer, sample, prompt, seed=seed, weights=weights)
        elif mode != Mode():
            image = drawn_in(mode, sample, prompt, seed=seed, weights=weights, configuration=size)
        else:
            image = called(restorer, sample.degraded, prompt, seed, weights, size)
        return Answer(image=image, tools=1, details=details)

    return _Plain(work, () if weights or size != "compact" else (restorer,))


def _always(prompt: RestorationPrompt, sample: Sample) -> RestorationPrompt:
    return prompt


def _told(text: str, sample: Sample) -> RestorationPrompt:
    match text:
        case "blind":
            return RestorationPrompt(blind=True)
        case "inspected":
            return prompt_from(instruments_report(sample).findings)
        case "none":
            return RestorationPrompt()
        case "false":
            wrong = absent_kind(sample.truth)
            return RestorationPrompt(degradations={wrong: value_of(wrong, Level.HIGH)})
    if sample.truth is None:
        raise PromptError(
            f"nobody knows what is wrong with {sample.spec.picture}; use text=inspected, or name it as truth"
        )
    return sample.truth


Teller = Callable[[Sample], RestorationPrompt]


def _told_by_model(
    text: str, opened: Callable[[], BaseChatModel], sample: Sample
) -> RestorationPrompt:
    from conservator.agent.vlm.inspector import said_alone, seen_together

    if text == "sentences":
        return said_alone(opened(), sample.degraded)
    return seen_together(opened(), instruments_report(sample), sample.degraded)


def _for(restorer: str, prompt: RestorationPrompt) -> RestorationPrompt:
    """What this restorer can treat of it; a specialist leaves the rest."""
    treats = catalog.card(restorer).treats
    if not treats:
        return prompt
    kept = {kind: value for kind, value in prompt.degradations.items() if kind in treats}
    return prompt.model_copy(update={"degradations": kept})


def _strengthened(prompt: RestorationPrompt, factor: float) -> RestorationPrompt:
    if factor == 1:
        return prompt
    asked = {
        kind: value_at(kind, min(1.0, severity_of(kind, value) * factor))
        for kind, value in prompt.degradations.items()
    }
    return prompt.model_copy(update={"degradations": asked})


def _warm(restorer: str) -> None:
    card = catalog.card(restorer)
    kinds = card.treats or (Kind.NOISE,)
    prompt = RestorationPrompt(degradations={kinds[0]: value_of(kinds[0], Level.LOW)})
    called(restorer, np.full((64, 64, 3), 0.5, np.float32), prompt)


# ── several calls, nothing judged ───────────────────────────────────────────
def _ready(prefix: str = "") -> dict[str, RestorerCard]:
    return {n: c for n, c in catalog.cards().items() if n.startswith(prefix) and c.ready()}


def _in_order(
    sample: Sample, seed: int, *, cards: Mapping[str, RestorerCard], shuffled: bool = False
) -> Answer:
    prompt = prompt_from(instruments_report(sample).findings)
    kinds = list(in_treatment_order(prompt.degradations))
    if shuffled:
        # Of this sample alone, so that it does not depend on who was answered before.
        random.Random(f"{seed}/{sample.spec.sample_id}").shuffle(kinds)
    table = load_preferences()
    image, steps = sample.degraded, []
    for kind in kinds:
        ranked = table.ranked(kind, prompt.level(kind), cards)
        if not ranked:
            continue
        name = ranked[0].restorer
        image = called(
            name, image, RestorationPrompt(degradations={kind: prompt.degradations[kind]}), seed
        )
        steps.append(f"{name}({kind.value}={prompt.degradations[kind]:.4g})")
    return Answer(image=image, tools=len(steps), details={"steps": steps})


# ── other people's programs ─────────────────────────────────────────────────
def _program(text: str) -> tuple[str, ...]:
    words = tuple(shlex.split(text))
    if not words or not any("{in}" in w for w in words) or not any("{out}" in w for w in words):
        raise UsageError(f"command {text!r}: give a program with {{in}} and {{out}} in it")
    return words


def _command(words: tuple[str, ...], sample: Sample, seed: int) -> Answer:
    from conservator.tools.image_io import load

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.png"
        line = [
            w.replace("{in}", str(sample.path))
            .replace("{out}", str(out))
            .replace("{seed}", str(seed))
            for w in words
        ]
        try:
            done = subprocess.run(line, capture_output=True, text=True, check=False)
        except OSError as error:
            raise RestorerError(f"cannot run {words[0]!r}: {error.strerror or error}") from error
        if done.returncode or not out.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            last = said[-1] if said else "it said nothing"
            raise RestorerError(f"{words[0]} ended with {done.returncode}, no picture: {last}")
        return Answer(image=load(out).pixels, tools=1)
