"""DDIM over whole pictures: schedule, determinism, tiles that agree."""

from dataclasses import replace

import pytest
import torch

from conservator.restorers.base import RecordedGuidance, SpatialGuidance, StagedGuidance
from conservator.restorers.errors import UsageError
from conservator.restorers.spire.config import CONFIGS, Sampling
from conservator.restorers.spire.diffusion import Diffusion, checked, drawn, timesteps
from conservator.restorers.spire.network import Spire, schedule
from tiny_spire import TINY

SAMPLING = Sampling(steps=3, guidance=1.0, start="degraded")


@pytest.fixture(scope="module")
def model() -> Spire:
    torch.manual_seed(0)
    made = Spire(TINY).eval().requires_grad_(False)
    for parameter in made.parameters():
        if not parameter.any():
            parameter.normal_(0, 0.05)
    return made


def photo(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def z0(model: Spire, image: torch.Tensor, sampling: Sampling, seed: int = 0) -> torch.Tensor:
    return Diffusion(model, image, "Deblur with sigma 2.0;", "a cat", sampling, seed=seed).latent


def test_the_schedule_ends_in_pure_noise_and_begins_where_it_is_told() -> None:
    compact = schedule(CONFIGS["compact"])
    assert float(compact.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-9)
    assert timesteps(compact, Sampling(steps=10)) == list(range(999, 0, -100))
    lower = timesteps(compact, Sampling(steps=8, start="degraded", strength=0.8))
    assert lower == list(range(799, 0, -100))
    paper = schedule(CONFIGS["paper"])
    assert float(paper.alphas_cumprod[-1]) > 1e-3
    assert len(timesteps(paper, CONFIGS["paper"].sampling)) == 50


@pytest.mark.parametrize("start", ["noise", "degraded"])
def test_the_same_seed_draws_the_same(model: Spire, start: str) -> None:
    sampling = replace(SAMPLING, start=start)  # type: ignore[arg-type]
    first = z0(model, photo(64, 96), sampling)
    assert torch.equal(first, z0(model, photo(64, 96), sampling))
    assert not torch.equal(first, z0(model, photo(64, 96), sampling, seed=1))


def test_guidance_changes_the_result_only_with_a_semantic_prompt(model: Spire) -> None:
    image = photo(64, 64)
    strong = replace(SAMPLING, guidance=4.0)
    assert not torch.equal(z0(model, image, SAMPLING), z0(model, image, strong))
    silent = [Diffusion(model, image, "Deblur;", "", s, seed=0).latent for s in (SAMPLING, strong)]
    assert torch.equal(*silent)


def test_a_model_that_sees_no_further_than_a_pixel_gives_the_same_in_tiles(
    model: Spire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise, schedule and fusion add nothing of the tiles' own."""

    def local(z, t, condition, restoring, showing):  # type: ignore[no-untyped-def]
        return torch.tanh(z) + 0.1 * condition.mean(1, keepdim=True)

    monkeypatch.setattr(model, "predict", local)
    monkeypatch.setattr(
        model,
        "encode",
        lambda x: torch.nn.functional.avg_pool2d(x, 8).mean(1, keepdim=True).expand(-1, 32, -1, -1),
    )
    monkeypatch.setattr(model.branch, "conditioned", lambda y, e: e)
    image = photo(256, 208)
    whole = z0(model, image, replace(SAMPLING, tile=64))
    tiled = z0(model, image, replace(SAMPLING, tile=16, overlap=4))
    torch.testing.assert_close(whole, tiled, atol=1e-5, rtol=1e-5)


def test_tiles_of_a_network_agree_at_their_seams(model: Spire) -> None:
    image = photo(128, 384)
    job = Diffusion(model, image, "Deblur;", "", replace(SAMPLING, tile=24, overlap=8), seed=0)
    assert job.pieces == len(job._tiles) * 4
    assert len(job._tiles) >= 2
    steps = [None for _ in job.make()]
    assert len(steps) == job.pieces
    z = job.latent
    seams = (z[..., 1:] - z[..., :-1]).abs().mean(dim=(0, 1, 2))
    # No column differs from its neighbour much more than others do.
    assert float(seams.max() / seams.median()) < 2.5


def test_a_job_is_guidance_of_every_sort(model: Spire) -> None:
    job = Diffusion(model, photo(50, 70), "Deblur;", "a cat", SAMPLING, seed=0)
    assert isinstance(job, StagedGuidance)
    assert isinstance(job, SpatialGuidance)
    assert isinstance(job, RecordedGuidance)
    assert job.facts["steps"] == 3
    assert job.facts["semantic"] == "a cat"
    part = job.crop(16, 32, 34, 38)
    assert torch.equal(part.latent, job.latent[..., 2:, 4:])
    assert job.latent.shape == (1, 32, 8, 10)


def test_batches_are_drawn_as_single_pictures(model: Spire) -> None:
    image = photo(64, 64)
    single = Diffusion(model, image, "Dejpeg;", "", SAMPLING, seed=3).latent
    noise = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(3))
    asked, shown = model.restoring(["Dejpeg;"] * 2), model.showing([""] * 2)
    both = drawn(
        model, image.expand(2, -1, -1, -1), asked, shown, SAMPLING, noise.expand(2, -1, -1, -1)
    )
    torch.testing.assert_close(both, single.expand(2, -1, -1, -1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "steps=0"),
        ({"strength": 0.0}, "strength=0"),
        ({"fidelity": 1.5}, "fidelity=1.5"),
        ({"start": "middle"}, "start='middle'"),
        ({"guidance": float("nan")}, "guidance=nan"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        checked(replace(SAMPLING, **change))  # type: ignore[arg-type]
