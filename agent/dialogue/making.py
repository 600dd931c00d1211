"""Making the picture of a treatment: each step once, kept by the hash of what led to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from conservator.agent.context import CancelSignal
from conservator.agent.dialogue.state import Made
from conservator.agent.dialogue.treatment import Treat, Treatment, Untouched, recipe_steps
from conservator.agent.recipe import MixStep, RecipeStep, apply_step, sources_of
from conservator.agent.saving import artifact_samples
from conservator.agent.sessions import RunFolder
from conservator.restorers.errors import CancelledError
from conservator.tools.image_io import Picture
from conservator.tools.look import Pixels
from conservator.tools.regions import Region, Shield

__all__ = ["Making", "Product", "keys_of", "pinned"]

OnStart = Callable[[int, RecipeStep], None]
OnProgress = Callable[[int, int, int], None]
OnFinish = Callable[[int, float], None]


@dataclass(frozen=True)
class Product:
    """A treatment carried out.

    Attributes:
        steps: with rendered prompts and weight hashes.
        artifact: content hash of the picture; "" for the untouched input.
        pixels: (H, W, 3), float32, [0, 1].
        made: the pictures of all its steps, by key.
        seconds: what the restorers took now, without what was there already.
    """

    steps: tuple[RecipeStep | MixStep, ...]
    artifact: str
    pixels: Pixels = field(repr=False)
    made: Mapping[str, Made]
    seconds: float


@dataclass(frozen=True)
class Making:
    """The place where pictures are made.

    Attributes:
        picture: the input.
        folder: keeps the pictures.
        protect: parts of the input that stay as they are after each step.
        shield: over them; None where there are none.
        device: where restorers compute.
        cancel: looked at between tiles and steps.
        on_start: told of each restorer's call before it, with the step's number.
        on_progress: told of tiles done, with the step's number.
        on_finish: told of the end of each call, with the restorer's seconds.
    """

    picture: Picture
    folder: RunFolder
    protect: tuple[Region, ...]
    shield: Shield | None
    device: str
    cancel: CancelSignal
    on_start: OnStart
    on_progress: OnProgress
    on_finish: OnFinish

    def of(self, treatment: Treatment, made: Mapping[str, Made]) -> Product:
        """Make the picture of a treatment.

        Args:
            treatment: what to do.
            made: what is there already, by key.

        Raises:
            CancelledError: the caller asked to stop.
            RestorerError: a restorer failed.
            OutputError: the folder is full or read-only.
        """
        steps = recipe_steps(treatment)
        used: dict[str, Made] = {}
        results: dict[int, Made] = {}
        done: list[RecipeStep | MixStep] = []
        seconds = 0.0
        for number, (step, key) in enumerate(
            zip(steps, keys_of(steps, self.protect), strict=True), 1
        ):
            if self.cancel.asked():
                raise CancelledError("the turn was cancelled; the session is as it was before it")
            there = made.get(key)
            if there is None or not self.folder.has_artifact(there.artifact):
                if isinstance(step, RecipeStep):
                    self.on_start(number, step)
                there = self._made(number, step, results)
                seconds += there.seconds
                if isinstance(step, RecipeStep):
                    self.on_finish(number, there.seconds)
            used[key] = results[number] = there
            if isinstance(step, RecipeStep):
                facts = {"rendered_prompt": there.rendered_prompt}
                step = step.model_copy(update={**facts, "weights_sha256": there.weights_sha256})
            done.append(step)
        artifact = results[len(steps)].artifact if steps else ""
        return Product(tuple(done), artifact, self.pixels(artifact), used, seconds)

    def pixels(self, artifact: str) -> Pixels:
        """A kept picture; the input for ""."""
        return self.folder.load_artifact(artifact) if artifact else self.picture.pixels

    def _made(self, number: int, step: RecipeStep | MixStep, results: Mapping[int, Made]) -> Made:
        sources = [
            self.pixels(results[source].artifact if source else "")
            for source in sources_of(number, step)
        ]
        applied = apply_step(
            step,
            sources,
            self.picture,
            device=self.device,
            shield=self.shield,
            cancel=self.cancel,
            on_progress=lambda done, total: self.on_progress(number, done, total),
        )
        return Made(
            artifact=self.folder.save_artifact(artifact_samples(self.picture, applied.pixels)),
            rendered_prompt=applied.rendered_prompt,
            weights_sha256=applied.weights_sha256,
            configuration=applied.configuration,
            seconds=round(applied.seconds, 4),
        )


def keys_of(
    steps: tuple[RecipeStep | MixStep, ...], protect: tuple[Region, ...]
) -> tuple[str, ...]:
    """For each step the hash of what it does and of all that it works on, with what is protected."""
    keys = {0: "".join(region.model_dump_json() for region in protect)}
    for number, step in enumerate(steps, 1):
        places = {"source", "under", "over", "rendered_prompt", "weights_sha256"}
        text = step.model_dump_json(exclude=places)
        for source in sources_of(number, step):
            text += keys[source]
        keys[number] = hashlib.sha256(text.encode()).hexdigest()
    return tuple(keys[number] for number in range(1, len(steps) + 1))


def pinned(
    treatment: Treatment, made: Mapping[str, Made], protect: tuple[Region, ...]
) -> tuple[Treatment, dict[str, Made]]:
    """The treatment with what its restorers chose for themselves, and its pictures by their new keys.

    So a later wish changes the strength and nothing else: `classical-gamma` would take another curve for a little more light.
    """
    kept: dict[str, Made] = {}

    def pin(node: Treatment) -> Treatment:
        if isinstance(node, Untouched):
            return node
        there = made[keys_of(recipe_steps(node), protect)[-1]]
        if isinstance(node, Treat):
            chosen = there.configuration or node.configuration
            update = {"source": pin(node.source), "configuration": chosen}
        else:
            update = {"under": pin(node.under), "over": pin(node.over)}
        new: Treatment = node.model_copy(update=update)
        kept[keys_of(recipe_steps(new), protect)[-1]] = there
        return new

    return pin(treatment), kept
