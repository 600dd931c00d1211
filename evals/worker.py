"""A worker process: answers samples with resident models, one JSON line a request, one a record.

Started by the runner, which it does not outlive, as `python -m conservator.evals.worker RUN PID`. For each system of a `Request` it
says `{"begin": system}` when the clock starts and `{"record": AnswerRecord}` when it is done, then `{"end": sample_id}`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from conservator.evals.datasets import materialise
from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import Answer, AnswerRecord, Cost, Request, Sample, SampleSpec
from conservator.evals.scorers import score
from conservator.evals.systems import System, build
from conservator.restorers.errors import ConservatorError

__all__ = ["Worker", "main"]

P = ParamSpec("P")
T = TypeVar("T")

GRACE_S = 10.0
"""What a worker has to end in before it is killed."""


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

    def answered(
        self, sample: Sample, request: Request, name: str, on_begin: Callable[[], None]
    ) -> AnswerRecord:
        """One system's answer, scored.

        Args:
            sample: from `sample`.
            request: that asks for it.
            name: of the system.
            on_begin: called when the system is loaded and the clock starts.
        """
        system = self.system(name)
        on_begin()
        started, before = time.perf_counter(), _cpu_seconds()
        answer = system.answer(sample, seed=self.seed, seconds=request.seconds)
        cost = Cost(
            seconds=round(time.perf_counter() - started, 4),
            cpu_seconds=round(_cpu_seconds() - before, 4),
            peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            tools=answer.tools,
            vlm_calls=answer.vlm_calls,
            tokens=answer.tokens,
        )
        return self._scored(sample, name, answer, cost, request.digests[name])

    def stand_in(self, sample: Sample, request: Request, name: str) -> AnswerRecord:
        """The untouched input in the name of a system that ran out of time."""
        answer, cost = Answer(image=sample.degraded), Cost(seconds=request.seconds)
        record = self._scored(sample, name, answer, cost, request.digests[name])
        return record.model_copy(
            update={"status": "limit", "reason": request.stand_in, "image": ""}
        )

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


def _attempt(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | str:
    """What `work` gives, or why it gives nothing: that is a result too, and the run goes on."""
    try:
        return work(*args, **kwargs)
    except ConservatorError as error:
        return str(error)
    except Exception as error:
        # A bug in a system under test; the log has the trace.
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"


def _cpu_seconds() -> float:
    own, others = os.times(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.user + own.system + others.ru_utime + others.ru_stime


def serve(run: Path, requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are none."""

    def reply(data: Mapping[str, Any]) -> None:
        replies.write(json.dumps(data) + "\n")
        replies.flush()

    worker = Worker(run, RunFolder.open(run).config)
    for line in requests:
        request = Request.model_validate_json(line)
        with tempfile.TemporaryDirectory(prefix="conservator-eval-") as scratch:
            for record in _records(worker, request, Path(scratch), reply):
                reply({"record": record.model_dump(mode="json")})
        reply({"end": request.spec.sample_id})


def _records(
    worker: Worker, request: Request, scratch: Path, reply: Callable[[Mapping[str, Any]], None]
) -> Iterator[AnswerRecord]:
    """The record of every system that a request names."""
    sample = _attempt(worker.sample, request.spec, scratch)
    for name, digest in request.digests.items():
        record: AnswerRecord | str
        if isinstance(sample, str):
            record = sample
        elif request.stand_in:
            record = _attempt(worker.stand_in, sample, request, name)
        else:
            begin = partial(reply, {"begin": name})
            record = _attempt(worker.answered, sample, request, name, begin)
        if isinstance(record, str):
            record = AnswerRecord.failed(request.spec, name, record, digest)
        yield record


def main(arguments: list[str] | None = None) -> int:
    """Serve on stdin and stdout."""
    given = sys.argv[1:] if arguments is None else arguments
    # Libraries print to stdout: the runner's channel is a copy of it, and stdout becomes stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    # Also where it was ignored when the runner was started (`nohup`, `&` in a script).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with, args=(int(given[1]),), daemon=True).start()
    try:
        serve(Path(given[0]), sys.stdin, channel)
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with(runner: int) -> None:
    """End when the runner is gone: a resumed run must not share the machine with what nobody waits for."""
    while os.getppid() == runner:
        time.sleep(1)
    # Unwinds, so that nothing stays in the temporary folder; then all that was started here.
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main())
