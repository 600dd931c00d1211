"""Runs a task: N worker processes with resident models, a time limit an answer, resume by content.

Every answer that a run owes has a digest of all it depends on: the picture's bytes, recipe, seed, system, scorers, and the package's
own data (weights, policies, calibrations). What the run folder already holds under the same digest is not done again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conservator.evals.datasets import Images, Listing, places, specs
from conservator.evals.log import RunFolder
from conservator.evals.pool import Pool, Progress
from conservator.evals.provenance import data_fingerprint, provenance
from conservator.evals.sample import AnswerRecord, Request, SampleSpec
from conservator.evals.scorers import check_metrics
from conservator.evals.summary import summarise
from conservator.evals.systems import build, expanded
from conservator.evals.task import Task, load_suite
from conservator.restorers.errors import OutputError, UsageError

__all__ = ["Run", "default_workers", "plan", "resume_run", "run_suite"]

WORKER_MB = 2500
"""Memory one worker is expected to take; how many start by default depends on it."""


def default_workers() -> int:
    """One a core, as far as memory reaches."""
    try:
        free_mb = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (ValueError, OSError):
        free_mb = WORKER_MB
    return max(1, min(len(os.sched_getaffinity(0)), int(free_mb // WORKER_MB)))


@dataclass(frozen=True)
class Run:
    """How a run ended: its folder, the summary, and every record."""

    folder: Path
    summary: Mapping[str, Any]
    records: tuple[AnswerRecord, ...] = field(repr=False)

    @property
    def failed(self) -> tuple[AnswerRecord, ...]:
        """Answers that are not there."""
        return tuple(record for record in self.records if record.status == "failed")


def plan(
    suite: str | Path | Task,
    images: Images,
    *,
    systems: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    crop: int | None = None,
    sample_ids: Collection[str] | None = None,
    seed: int = 0,
) -> tuple[Task, tuple[str, ...], Listing]:
    """What a run would do: the task, its systems (`untouched` among them), its samples.

    Raises:
        UsageError: an unknown suite, system or metric, or no sample.
        BackendMissingError: a metric or a data set that is not on this disk.
    """
    task = suite if isinstance(suite, Task) else load_suite(suite)
    chosen = expanded(systems or task.systems)
    if "full-reference" in task.scorers and "untouched" not in chosen:
        chosen = ("untouched", *chosen)
    for name in chosen:
        build(name)
    check_metrics(task.scorers, metrics or ())
    listing = specs(task, images, seed=seed, limit=limit, crop=crop, sample_ids=sample_ids or None)
    if not listing.samples:
        raise UsageError(
            f"no samples for {task.key} in {', '.join(places(images))}{_asked(sample_ids)}"
        )
    return task, chosen, listing


def _asked(sample_ids: Collection[str] | None) -> str:
    return f" with the ids {', '.join(sorted(sample_ids))}" if sample_ids else ""


def run_suite(
    suite: str | Path | Task,
    images: Images,
    out: str | Path,
    *,
    systems: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    crop: int | None = None,
    sample_ids: Collection[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
    threads: int = 1,
    seconds: float | None = None,
    retries: int = 1,
    keep_images: bool = True,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> Run:
    """Run a suite over a folder of images.

    Args:
        suite: name of a suite, a YAML file, or a task.
        images: folder, manifest, or `hf:` data set, or several; see `conservator.evals.datasets`.
        out: run folder; must be new or empty.
        systems: instead of the suite's; see `conservator.evals.systems`.
        metrics: only these; by default all that run offline.
        limit: pictures a row and folder.
        crop: only the centre of each picture, so many px a side.
        sample_ids: only these samples.
        seed: of degradations and systems.
        workers: processes; by default one a core as far as memory reaches.
        threads: of each; more than one is faster for one worker, and may turn last bits.
        seconds: limit an answer, instead of the suite's.
        retries: how often a sample is tried again after its worker died.
        keep_images: keep degraded pictures and answers in the run folder.
        overwrite: replace an earlier run in `out`.
        on_progress: is told after each answer.

    Raises:
        UsageError: unknown names, no samples, or a folder that is in use.
        OutputError: the folder cannot be written.
    """
    task, chosen, listing = plan(
        suite,
        images,
        systems=systems,
        metrics=metrics,
        limit=limit,
        crop=crop,
        sample_ids=sample_ids,
        seed=seed,
    )
    folder = Path(out)
    if overwrite:
        _clear(folder)
    config = {
        "task": task.model_dump(mode="json"),
        "images": [w if w.startswith("hf:") else str(Path(w).absolute()) for w in places(images)],
        "systems": list(chosen),
        "scorers": list(task.scorers),
        "metrics": list(metrics) if metrics else None,
        "limit": limit,
        "crop": crop,
        "sample_ids": sorted(sample_ids) if sample_ids else None,
        "seed": seed,
        "seconds": seconds or task.seconds_per_answer,
        "retries": retries,
        "threads": threads,
        "images_kept": keep_images,
        "skipped": [list(pair) for pair in listing.skipped],
        "provenance": provenance(),
    }
    run = RunFolder.create(folder, config)
    return _carry_out(run, task, listing.samples, workers, on_progress)


def resume_run(
    out: str | Path, *, workers: int | None = None, on_progress: Progress | None = None
) -> Run:
    """Go on with a run; answers whose digest still holds are kept.

    Raises:
        UsageError: there is no run in `out`.
    """
    run = RunFolder.open(Path(out))
    config = run.config
    task = Task.model_validate(config["task"])
    listing = specs(
        task,
        config["images"],
        seed=config["seed"],
        limit=config["limit"],
        crop=config.get("crop"),
        sample_ids=config["sample_ids"],
    )
    # What is measured from now on is measured by this version.
    run.write_json("config.json", {**config, "status": "started", "provenance": provenance()})
    return _carry_out(run, task, listing.samples, workers, on_progress)


def _clear(folder: Path) -> None:
    import shutil

    if folder.exists() and any(folder.iterdir()):
        if not (folder / "config.json").is_file():
            raise UsageError(f"{folder} is not a run folder; --overwrite replaces only those")
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise OutputError(f"cannot replace {folder}: {error.strerror or error}") from error


def _carry_out(
    run: RunFolder,
    task: Task,
    samples: Sequence[SampleSpec],
    workers: int | None,
    on_progress: Progress | None,
) -> Run:
    config = run.config
    fingerprint = data_fingerprint()
    wanted = {
        (spec.sample_id, system): _digest(spec, system, config, fingerprint)
        for spec in samples
        for system in config["systems"]
    }
    done = {
        record.key
        for record in run.records()
        if wanted.get(record.key) == record.digest and record.status != "failed"
    }
    jobs = []
    for spec in samples:
        owed = {
            system: wanted[spec.sample_id, system]
            for system in config["systems"]
            if (spec.sample_id, system) not in done
        }
        if owed:
            jobs.append(Request(spec=spec, digests=owed, seconds=config["seconds"]))
    tell = on_progress or (lambda done, total, record: None)
    tell(len(done), len(wanted), None)
    if jobs:
        pool = Pool(run, config, len(wanted), len(done), tell)
        asyncio.run(pool.work(jobs, min(workers or default_workers(), len(jobs))))
    records = _in_order(run.records(), wanted)
    summary = summarise(records, task, config)
    run.finish(summary)
    return Run(run.path, summary, records)


def _in_order(
    records: Iterable[AnswerRecord], wanted: Mapping[tuple[str, str], str]
) -> tuple[AnswerRecord, ...]:
    """In the order of the task, whatever finished first; records of an earlier plan are left out."""
    found = {record.key: record for record in records}
    return tuple(found[key] for key in wanted if key in found)


def _digest(spec: SampleSpec, system: str, config: Mapping[str, Any], fingerprint: str) -> str:
    data = spec.model_dump(mode="json")
    if spec.digest:
        # The bytes say what the picture is; where it lies may change between sessions.
        del data["picture"], data["reference"]
    if not spec.crop:
        # As before there were crops, so that what is done stays done.
        del data["crop"]
    keys = ("scorers", "metrics", "seed", "seconds", "threads")
    text = json.dumps([data, system, {key: config[key] for key in keys}, fingerprint])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
