"""A worker process: answers samples with resident models, one JSON line a request, one a record.

Started by the runner as `python -m conservator.evals.worker RUN`. A request is
`{"spec": SampleSpec, "systems": [...], "seconds": S}`; for each system it says `{"begin": system}` when the clock starts and
`{"record": AnswerRecord}` when it is done, then `{"end": sample_id}`. With `"stand_in": system` nothing is run: the untouched input is
scored in that system's name, because it ran out of time.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from conservator.evals.datasets import materialise
from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import Answer, AnswerRecord, Cost, Sample, SampleSpec
from conservator.evals.scorers import score
from conservator.evals.systems import System, build
from conservator.restorers.errors import ConservatorError

__all__ = ["Worker", "main"]


class Worker:
    """Answers and scores, in this process."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        self.run = run
        self.scorers: tuple[str, ...] = tuple(config["scorers"])
        self.metrics = config.get("metrics")
        self.seed = int(config["seed"])
        self.keep_images = bool(config["images_kept"])
        self._systems: dict[str, System] = {}

    def system(self, name: str) -> System:
        """A loaded system; loading is not timed."""
        if name not in self._systems:
            system = build(name)
            system.warm()
            self._systems[name] = system
        return self._systems[name]

    def sample(self, spec: SampleSpec, scratch: Path) -> Sample:
        """The pixels of a sample; its degraded picture is kept when the run keeps pictures."""
        sample = materialise(spec, scratch)
        if self.keep_images and not self._picture(spec, "degraded").exists():
            self._keep(spec, "degraded", sample.degraded)
        return sample

    def answered(self, sample: Sample, name: str, seconds: float, digest: str) -> AnswerRecord:
        """One system's answer, scored; what goes wrong is a record too."""
        try:
            system = self.system(name)
            started, before = time.perf_counter(), _cpu_seconds()
            answer = system.answer(sample, seed=self.seed, seconds=seconds)
            cost = Cost(
                seconds=round(time.perf_counter() - started, 4),
                cpu_seconds=round(_cpu_seconds() - before, 4),
                peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                tools=answer.tools,
                vlm_calls=answer.vlm_calls,
                tokens=answer.tokens,
            )
            return self._scored(sample, name, answer, cost, digest)
        except ConservatorError as error:
            return failed(sample.spec, name, str(error), digest)
        except Exception as error:
            # A bug in one system is a result of that system; the run goes on and the log has the trace.
            traceback.print_exc()
            return failed(sample.spec, name, f"{type(error).__name__}: {error}", digest)

    def stand_in(
        self, sample: Sample, name: str, seconds: float, reason: str, digest: str
    ) -> AnswerRecord:
        """The untouched input in the name of a system that ran out of time."""
        answer = Answer(image=sample.degraded)
        record = self._scored(sample, name, answer, Cost(seconds=seconds), digest)
        return record.model_copy(update={"status": "limit", "reason": reason, "image": ""})

    def _scored(
        self, sample: Sample, name: str, answer: Answer, cost: Cost, digest: str
    ) -> AnswerRecord:
        scores, findings = score(self.scorers, answer, sample, metrics=self.metrics)
        spec, image = sample.spec, ""
        if self.keep_images and answer.image is not None and name != "untouched":
            image = self._keep(spec, slug(name), answer.image)
        return AnswerRecord(
            sample_id=spec.sample_id,
            system=name,
            row=spec.row,
            group=spec.group,
            status="limit" if answer.details.get("outcome") == "limit" else "done",
            reason=str(answer.details.get("reason", ""))
            if answer.details.get("outcome") == "limit"
            else "",
            digest=digest,
            scores=scores,
            findings=findings,
            cost=cost,
            image=image,
            details=answer.details,
            draws=sample.draws,
        )

    def _picture(self, spec: SampleSpec, name: str) -> Path:
        row, _, rest = spec.sample_id.rpartition("/")
        return self.run / "images" / slug(row) / slug(rest) / f"{name}.png"

    def _keep(self, spec: SampleSpec, name: str, image: Any) -> str:
        import cv2
        import numpy as np

        path = self._picture(spec, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.round(np.clip(image[..., ::-1], 0, 1) * 255).astype(np.uint8)
        part = path.with_suffix(".part.png")
        if not cv2.imwrite(str(part), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise ConservatorError(f"cannot write {path}; is the disk full?")
        part.replace(path)
        return str(path.relative_to(self.run))


def failed(spec: SampleSpec, system: str, reason: str, digest: str) -> AnswerRecord:
    """The record of an answer that is not there."""
    return AnswerRecord(
        sample_id=spec.sample_id,
        system=system,
        row=spec.row,
        group=spec.group,
        status="failed",
        reason=" ".join(reason.split()),
        digest=digest,
    )


def _cpu_seconds() -> float:
    own, others = os.times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.user + own.system + others.ru_utime + others.ru_stime


def serve(run: Path, requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are none."""

    def reply(data: Mapping[str, Any]) -> None:
        replies.write(json.dumps(data) + "\n")
        replies.flush()

    worker = Worker(run, RunFolder.open(run).config)
    with tempfile.TemporaryDirectory(prefix="conservator-eval-") as scratch:
        for line in requests:
            request = json.loads(line)
            spec = SampleSpec.model_validate(request["spec"])
            digests: dict[str, str] = request["digests"]
            folder = Path(scratch) / "sample"
            folder.mkdir(exist_ok=True)
            try:
                sample = worker.sample(spec, folder)
            except Exception as error:
                if not isinstance(error, ConservatorError):
                    traceback.print_exc()
                for name, digest in digests.items():
                    record = failed(spec, name, str(error) or type(error).__name__, digest)
                    reply({"record": record.model_dump(mode="json")})
                reply({"end": spec.sample_id})
                continue
            for name, digest in digests.items():
                if request.get("stand_in"):
                    reason, spent = request["stand_in"], float(request["seconds"])
                    record = worker.stand_in(sample, name, spent, reason, digest)
                else:
                    _load(worker, name)
                    reply({"begin": name})
                    record = worker.answered(sample, name, float(request["seconds"]), digest)
                reply({"record": record.model_dump(mode="json")})
            reply({"end": spec.sample_id})


def _load(worker: Worker, name: str) -> None:
    """Load before the clock starts; a system that cannot load says so when it is asked to answer."""
    try:
        worker.system(name)
    except Exception:
        return


def main(arguments: list[str] | None = None) -> int:
    """Serve on stdin and stdout."""
    given = sys.argv[1:] if arguments is None else arguments
    # Libraries print to stdout: the runner's channel is a copy of it, and stdout becomes stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    serve(Path(given[0]), sys.stdin, channel)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
