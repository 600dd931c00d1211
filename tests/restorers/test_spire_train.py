"""SPIRE's training: every stage learns, the order of stages, resuming, ablations, and the command."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.restorers.errors import UsageError
from conservator.restorers.spire.config import CONFIGS
from conservator.restorers.spire.network import Spire
from conservator.restorers.spire.parts import stages_in, switches_in
from conservator.restorers.spire.pictures import Bank, Ring
from conservator.restorers.spire.restorer import SpireRestorer
from conservator.restorers.spire.stages import STEPS, Bench, diffusion_loss
from conservator.restorers.spire.train import PLANS, train
from conservator.restorers.training.loop import Budget, Trainer
from conservator.restorers.weights import load_weights
from tiny_spire import TINY, write_base

CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "compact", TINY)


def run(photos: Path, out: Path, **more: object) -> tuple[Path, list[str]]:
    lines: list[str] = []
    settings: dict[str, object] = {"device": "cpu", "batch": 4, "size": 64, "steps": 2, "seed": 1}
    path = train("compact", photos, out, say=lines.append, **(settings | more))  # type: ignore[arg-type]
    return path, lines


@pytest.mark.parametrize("stage", ["autoencoder", "prior", "branch", "fidelity"])
def test_every_stage_lowers_its_loss(stage: str, photos: Path, tmp_path: Path) -> None:
    import random

    torch.manual_seed(0)
    model = Spire(replace(TINY, partial=0.0)).requires_grad_(False)
    part = getattr(model, stage).requires_grad_(True)
    bench = Bench(
        model=model, bank=Bank(photos, CPU), device=CPU, rng=random.Random(0),
        batch=8, size=64, fresh=1, ring=Ring(16),
    )  # fmt: skip
    losses: list[float] = []
    step = STEPS[stage](bench)

    def recorded() -> torch.Tensor:
        loss = step()
        losses.append(float(loss.detach()))
        return loss

    budget = Budget(minutes=1, steps=40, lr=4e-3, warmup=5)

    def forever():  # type: ignore[no-untyped-def]
        while True:
            yield recorded

    Trainer(part, budget, tmp_path).run(forever())
    assert sum(losses[-10:]) < 0.97 * sum(losses[:10])


def test_the_loss_is_the_noise_s_or_the_velocity_s() -> None:
    model = Spire(TINY)
    z = torch.randn(64, 32, 2, 2)
    # Nothing predicted: what is left is the target's own power, 1 for noise and for velocity alike.
    nothing = diffusion_loss(model, z, lambda noisy, t: torch.zeros_like(noisy))
    assert float(nothing) == pytest.approx(1, abs=0.15)
    seen: list[torch.Tensor] = []

    def watch(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t)
        return noisy

    model.config = replace(TINY, late=3.0)
    diffusion_loss(model, torch.randn(4000, 32, 1, 1), watch)
    # P(t < 500) = (1/2)^3.
    assert float((seen[0] < 500).float().mean()) == pytest.approx(0.125, abs=0.03)
    assert int(seen[0].max()) <= 999


def test_all_stages_one_after_the_other(photos: Path, tmp_path: Path, tiny: None) -> None:
    path, lines = run(photos, tmp_path, validation=photos)
    assert path == tmp_path / "spire-compact.safetensors"
    assert stages_in(path) == ("autoencoder", "prior", "branch", "fidelity")
    assert [line for line in lines if line.startswith("stage")] == [
        f"stage {name}" for name in PLANS
    ]
    for name in ("autoencoder", "branch", "fidelity"):
        with (tmp_path / name / "validation.csv").open() as file:
            assert next(csv.DictReader(file))
    restorer = SpireRestorer("compact", path)
    assert restorer.sampling.fidelity == 1
    scale = restorer.model.autoencoder.deviation
    assert not torch.equal(scale, torch.ones_like(scale))
    assert sum(plan.share for plan in PLANS.values()) == pytest.approx(1)


def test_stages_are_trained_in_order_and_later_ones_are_forgotten(
    photos: Path, tmp_path: Path, tiny: None
) -> None:
    with pytest.raises(UsageError, match="stage branch needs autoencoder, prior first"):
        run(photos, tmp_path / "early", stage="branch")
    first, _ = run(photos, tmp_path / "a", stage="autoencoder")
    before = load_weights(first)
    second, _ = run(photos, tmp_path / "b", stage="prior", weights=first)
    assert stages_in(second) == ("autoencoder", "prior")
    after = load_weights(second)
    changed = {n.split(".")[0] for n in after if not torch.equal(after[n], before[n])}
    # The branch is begun again from the prior when its own stage comes.
    assert changed == {"prior"}
    third, _ = run(photos, tmp_path / "c", stage="branch", weights=second)
    last = load_weights(third)
    changed = {n.split(".")[0] for n in last if not torch.equal(last[n], after[n])}
    assert changed == {"branch"}
    again, _ = run(photos, tmp_path / "d", stage="prior", weights=third)
    assert stages_in(again) == ("autoencoder", "prior")


def test_a_run_goes_on_where_it_stopped(photos: Path, tmp_path: Path, tiny: None) -> None:
    run(photos, tmp_path, stage="autoencoder")
    path, lines = run(photos, tmp_path, stage="autoencoder", steps=3, resume=True)
    assert any(line.startswith("resumed at step 2") for line in lines)
    # The weights before come from the folder.
    path, _ = run(photos, tmp_path, stage="prior", resume=True)
    assert stages_in(path) == ("autoencoder", "prior")


def test_stages_that_are_left_behind_are_not_gone_into_again(
    photos: Path, tmp_path: Path, tiny: None
) -> None:
    run(photos, tmp_path, steps=1)
    path, lines = run(photos, tmp_path, steps=2, resume=True)
    assert [line for line in lines if line.startswith("stage")] == ["stage fidelity"]
    assert len(stages_in(path)) == 4


def test_pictures_are_made_several_at_once(photos: Path) -> None:
    import random

    bench = Bench(
        model=Spire(TINY), bank=Bank(photos, CPU), device=CPU, rng=random.Random(0),
        batch=4, size=64, fresh=2.5, ring=Ring(64),
    )  # fmt: skip
    made: list[int] = []

    def make(count: int) -> None:
        made.append(count)
        bench.ring.add(x=torch.zeros(count, 1))

    for _ in range(9):
        bench.full(make)
    # First enough for four batches, then eight whenever they are due: 8 x 2.5 = 20.
    assert made == [8, 8, 8, 8]


def test_ablations_are_kept_with_the_weights(photos: Path, tmp_path: Path, tiny: None) -> None:
    switches = {"fusion": "add", "semantic": False, "numbers": False, "modulate_up": True}
    path, _ = run(photos, tmp_path, switches=switches, steps=1)
    assert switches_in(path) == switches
    names = load_weights(path)
    width = TINY.channels[0]
    assert names["branch.skip_fusion.0.weight"].shape == (width, width, 1, 1)
    assert "branch.up_fusion.0.weight" in names
    config = SpireRestorer("compact", path).model.config
    assert (config.fusion, config.semantic) == ("add", False)


def test_the_branch_trains_on_a_base(photos: Path, tmp_path: Path) -> None:
    base = write_base(tmp_path / "base")
    path = train(
        "paper", photos, tmp_path / "run", base=base, steps=2, batch=2, size=64, device="cpu"
    )
    assert path.name == "spire-paper.safetensors"
    assert "branch" in stages_in(path)
    state = torch.load(tmp_path / "run" / "branch" / "state.pt", weights_only=True)
    assert state["model"]["skip_fusion.0.weight"].any()
    with pytest.raises(UsageError, match="paper has branch to train, no stage 'prior'"):
        train("paper", photos, tmp_path / "run", stage="prior", base=base, steps=1, device="cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile's own
def test_compiled_functions_trace(
    photos: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch.compile would run on a GPU is one graph a function."""
    import random

    monkeypatch.setattr(
        Bench,
        "compiled",
        lambda self, function: torch.compile(function, backend="eager", fullgraph=True),
    )
    model = Spire(TINY)
    for stage in ("autoencoder", "prior", "branch", "fidelity"):
        bench = Bench(
            model=model, bank=Bank(photos, CPU), device=CPU, rng=random.Random(0),
            batch=2, size=64, fresh=1, ring=Ring(8), compile=True,
        )  # fmt: skip
        assert torch.isfinite(STEPS[stage](bench)())


# ── the command ─────────────────────────────────────────────────────────────
def test_the_command_trains(
    photos: Path, tmp_path: Path, tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(photos), "--out", str(tmp_path), "--minutes", "0.002"]
    code = main(["train", "spire", *words, "--stage", "autoencoder", "--device", "cpu"])
    assert code == ExitCode.DONE
    assert Path(capsys.readouterr().out.strip()).name == "spire-compact.safetensors"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["spire", "--stage", "1"], "spire has the stages autoencoder, prior, branch, fidelity"),
        (["spire", "--base", "b"], "--base is for spire's size paper"),
        (["spire", "--config", "huge"], "configuration of spire 'huge'"),
        (["llmra", "--stage", "branch"], "no stage branch"),
        (["llmra", "--base", "b"], "llmra takes no --base"),
        (["spire", "--guide", "g"], "spire takes no --guide"),
        (["spire", "--config", "paper"], "CONSERVATOR_SPIRE_BASE"),
    ],
)
def test_the_command_refuses_what_does_not_go(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    code = main(["train", *words, "--data", str(photos), "--out", str(tmp_path / "out")])
    assert code == ExitCode.USAGE
    assert named in capsys.readouterr().err
