"""Small run folders: real pictures, degraded for real, answered by simple filters."""

from collections.abc import Callable, Collection
from pathlib import Path

import cv2
import numpy as np
import pytest

from conservator.evals.datasets import materialise, specs
from conservator.evals.fidelity import fidelity
from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import AnswerRecord, Cost, Image
from conservator.evals.summary import summarise
from conservator.evals.task import Task

MakeRun = Callable[..., RunFolder]

TASK = Task.model_validate(
    {
        "id": "tiny",
        "version": 2,
        "title": "noise and <blocks>",
        "rows": [
            {"name": "noise 25", "recipe": "noise:sigma=25", "group": "both"},
            {"name": "jpeg 10", "recipe": "jpeg:quality=10", "group": "both"},
        ],
        "systems": ["untouched", "agent", "oracle"],
        "scorers": ["full-reference"],
        "published": {"noise 25": {"FFDNet": {"psnr": 32.25}}},
        "source": "arXiv 1710.04026",
    }
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures of 96x64, one with a name that would be markup."""
    from skimage import data

    folder = tmp_path / "photos"
    folder.mkdir()
    for name, photo in (("a", data.astronaut()), ("b", data.coffee()), ("<i>&", data.chelsea())):
        small = cv2.resize(photo[:300, :450, ::-1], (96, 64), interpolation=cv2.INTER_AREA)
        assert cv2.imwrite(str(folder / f"{name}.png"), small)
    return folder


@pytest.fixture
def make_run(tmp_path: Path, photos: Path) -> MakeRun:
    """A finished run: `make_run(name, blurred={sample_id: sigma}, failed={sample_id})`, both of the agent."""

    def make(
        name: str,
        *,
        blurred: dict[str, float] | None = None,
        failed: Collection[str] = (),
        finished: bool = True,
        systems: tuple[str, ...] = TASK.systems,
        seconds: float = 1.0,
    ) -> RunFolder:
        config = {
            "task": TASK.model_dump(mode="json"),
            "images": str(photos),
            "systems": list(systems),
            "seed": 0,
            "provenance": {"date": "2026-01-02T03:04:05+0000", "revision": "abc1234"},
        }
        run = RunFolder.create(tmp_path / name, config)
        records = []
        for spec in specs(TASK, photos).samples:
            sample = materialise(spec, tmp_path / "scratch")
            assert sample.clean is not None
            row, _, rest = spec.sample_id.rpartition("/")
            folder = run.path / "images" / slug(row) / slug(rest)
            folder.mkdir(parents=True)
            _write(folder / "degraded.png", sample.degraded)
            for system in systems:
                image = _answer(system, sample.degraded, sample.clean)
                if system == "agent" and spec.sample_id in (blurred or {}):
                    image = cv2.GaussianBlur(image, (0, 0), (blurred or {})[spec.sample_id])
                lost = system == "agent" and spec.sample_id in failed
                path = folder / f"{slug(system)}.png"
                kept = system != "untouched" and not lost
                if kept:
                    _write(path, image)
                scores = fidelity(image, sample.clean)
                records.append(
                    AnswerRecord(
                        sample_id=spec.sample_id,
                        system=system,
                        row=spec.row,
                        group=spec.group,
                        status="failed" if lost else "done",
                        reason="RestorerError: <b>it broke</b> | here" if lost else "",
                        scores={} if lost else {"psnr": scores.psnr, "ssim": scores.ssim},
                        cost=Cost(seconds=seconds, cpu_seconds=1, peak_mb=100, tools=1),
                        image=str(path.relative_to(run.path)) if kept else "",
                        details={"outcome": "met"} if system == "agent" and not lost else {},
                        draws=sample.draws,
                    )
                )
        run.append(records)
        if finished:
            run.finish(summarise(records, TASK, config))
        return run

    return make


def _answer(system: str, degraded: Image, clean: Image) -> Image:
    if system == "oracle":
        return (degraded + 2 * clean) / 3
    if system == "agent":
        return cv2.GaussianBlur(degraded, (0, 0), 0.8)
    return degraded


def _write(path: Path, image: Image) -> None:
    pixels = np.round(np.clip(image[..., ::-1], 0, 1) * 255).astype(np.uint8)
    assert cv2.imwrite(str(path), pixels)
