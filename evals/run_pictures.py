"""The pictures of a run: what was given, what came back, what it should have looked like.

Degraded pictures and answers lie in the run folder, if it kept them. Clean pictures stay where the user has them; they are found
again by listing the task's samples, and missing when the images have moved.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from conservator.evals.datasets import materialise, specs
from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import AnswerRecord, Image, SampleSpec
from conservator.evals.summary import UNTOUCHED
from conservator.evals.task import Task
from conservator.restorers.errors import ConservatorError
from conservator.tools.image_io import load

__all__ = ["RunPictures"]


class RunPictures:
    """Finds the pictures of some samples of a run."""

    def __init__(self, run: RunFolder, sample_ids: Iterable[str]) -> None:
        """Look for no other samples than these: listing reads every file it lists."""
        self.run = run
        self._ids = frozenset(sample_ids)

    def degraded(self, sample_id: str) -> Path | None:
        """What the systems were given."""
        row, _, rest = sample_id.rpartition("/")
        return self._inside(f"images/{slug(row)}/{slug(rest)}/degraded.png")

    def answer(self, record: AnswerRecord) -> Path | None:
        """What a system returned; for `untouched` and for those that ran out of time the degraded picture."""
        if record.image:
            return self._inside(record.image)
        if record.system == UNTOUCHED or record.status == "limit":
            return self.degraded(record.sample_id)
        return None

    def reference(self, sample_id: str) -> Path | None:
        """The clean picture's file."""
        spec = self._specs.get(sample_id)
        path = (spec.picture if spec.recipe else spec.reference) if spec else ""
        return Path(path) if path and Path(path).is_file() else None

    def reference_pixels(self, sample_id: str) -> Image | None:
        """The clean picture, cut to what the degraded one shows."""
        spec, path = self._specs.get(sample_id), self.reference(sample_id)
        if spec is None or path is None:
            return None
        try:
            if spec.recipe and not spec.crop:
                return load(path).pixels
            with TemporaryDirectory(prefix="conservator-eval-") as scratch:
                return materialise(spec, Path(scratch)).clean
        except ConservatorError:
            return None

    @cached_property
    def _specs(self) -> dict[str, SampleSpec]:
        config = self.run.config
        try:
            listing = specs(
                Task.model_validate(config["task"]),
                config["images"],
                seed=config["seed"],
                crop=config.get("crop"),
                sample_ids=self._ids,
            )
        except (ConservatorError, KeyError, ValueError):
            return {}
        return {spec.sample_id: spec for spec in listing.samples}

    def _inside(self, name: str) -> Path | None:
        """A file of the run folder; a record that points elsewhere points to nothing."""
        root = self.run.path.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
