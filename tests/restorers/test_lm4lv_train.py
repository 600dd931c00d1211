"""Training LM4LV: what it trains on, what moves, what never does, and the command."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.restorers.degradations import synthesis
from conservator.restorers.errors import UsageError
from conservator.restorers.lm4lv import train as training
from conservator.restorers.lm4lv.config import ALL_TASKS, CONFIGS, PROBES
from conservator.restorers.lm4lv.language import MODELS, LanguageModel, fingerprint
from conservator.restorers.lm4lv.losses import perceptual_distance, picture_loss
from conservator.restorers.lm4lv.pictures import WEIGHTS, Crops, Degrader, blocks, probed, tiles
from conservator.restorers.lm4lv.restorer import LM4LVRestorer
from conservator.restorers.lm4lv.train import train
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.validation import psnr
from conservator.restorers.weights import load_weights, metadata_of
from tiny_lm4lv import TINY, write_llm

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llm(tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture(scope="module")
def bank(photos: Path) -> CropBank:
    return CropBank(photos)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, llm: Path) -> None:
    monkeypatch.setitem(CONFIGS, "compact", TINY)
    monkeypatch.setitem(MODELS, "compact", llm)
    monkeypatch.setattr(training, "_START_BATCHES", 2)


# ── pictures ────────────────────────────────────────────────────────────────


def test_crops_are_parts_of_the_images() -> None:
    ramp = torch.arange(40)[:, None] + torch.arange(40)[None, :] * 2
    bank = CropBank.__new__(CropBank)
    bank.images = ramp.to(torch.uint8).expand(2, 3, 40, 40).contiguous()
    crops = Crops(bank, 36, CPU, seed=1)
    assert len(crops.levels) == 1
    taken = crops.take(16) * 255
    steps = {
        tuple(
            sorted(
                (
                    abs(round(float(c[0, 1, 0] - c[0, 0, 0]))),
                    abs(round(float(c[0, 0, 1] - c[0, 0, 0]))),
                )
            )
        )
        for c in taken
    }
    assert steps == {(1, 2)}
    turned = {
        (round(float(c[0, 1, 0] - c[0, 0, 0])), round(float(c[0, 0, 1] - c[0, 0, 0])))
        for c in taken
    }
    assert len(turned) == 8


def test_crops_come_in_three_sizes(bank: CropBank) -> None:
    crops = Crops(bank, 32, CPU)
    assert [level.shape[-1] for level in crops.levels] == [320, 226, 160]
    taken = crops.take(10)
    assert taken.shape == (10, 3, 32, 32)
    assert 0 <= float(taken.min()) <= float(taken.max()) <= 1
    assert torch.equal(taken, Crops(bank, 32, CPU).take(10))


def test_tiles_are_a_picture_cut(bank: CropBank) -> None:
    picture = torch.rand(2, 3, 64, 32)
    cut = tiles(picture, 32)
    assert torch.equal(cut[0], picture[0, :, :32])
    assert torch.equal(cut[3], picture[1, :, 32:])


def test_blocks_are_the_suites_own() -> None:
    picture = torch.rand(6, 3, 48, 56, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    shares = [0.005, 0.01, 0.03, 0.05, 0.08, 0.08]
    ours = blocks(picture, shares, torch.Generator().manual_seed(5))
    theirs = synthesis.mask(picture, shares, torch.Generator().manual_seed(5))
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours, picture)


@pytest.mark.parametrize("task", [t for t in ALL_TASKS if t not in PROBES])
def test_each_task_hurts_its_own_pictures(task: str, bank: CropBank) -> None:
    clean = Crops(bank, 64, CPU).take(6)
    maker = Degrader(3, CPU)
    other = "flip"
    made = maker.degraded(clean, [task] * 5 + [other])
    assert torch.equal(made[5], clean[5])
    hurt = psnr(made[:5], clean[:5])
    assert float(hurt.min()) < 35
    assert len({round(float(x), 3) for x in hurt}) == 5
    assert torch.equal(made[:5], synthesis.quantise8(made[:5]))
    again = Degrader(3, CPU).degraded(clean, [task] * 5 + [other])
    assert torch.equal(made, again)


def test_a_picture_s_tiles_share_its_task(bank: CropBank) -> None:
    clean = Crops(bank, 64, CPU).take(24)
    degraded, wanted, tasks = Degrader(1, CPU).pairs(clean, 32)
    assert degraded.shape == wanted.shape == (96, 3, 32, 32)
    assert all(len(set(tasks[i : i + 4])) == 1 for i in range(0, 96, 4))
    own = tiles(clean, 32)
    for row, task in enumerate(tasks):
        if task in PROBES:
            assert torch.equal(degraded[row], own[row])
            assert torch.equal(wanted[row], probed(own[row : row + 1], task)[0])
        else:
            assert torch.equal(wanted[row], own[row])
    assert set(WEIGHTS) == set(ALL_TASKS)


def test_probes_turn_and_mirror() -> None:
    picture = torch.arange(4.0).view(1, 1, 2, 2)
    assert probed(picture, "rotate").flatten().tolist() == [1, 3, 0, 2]
    assert probed(picture, "flip").flatten().tolist() == [1, 0, 3, 2]


# ── losses ──────────────────────────────────────────────────────────────────


def test_missing_texture_costs_about_the_same_in_calm_and_busy_places() -> None:
    """L1 differs by twenty, as the textures do."""
    random = torch.Generator().manual_seed(0)
    texture = torch.randn(1, 3, 64, 64, generator=random)
    costs = []
    for strength in (0.2, 4.0):
        busy = 0.5 + strength * texture
        costs.append(float(perceptual_distance(torch.full_like(busy, 0.5), busy)))
    assert 0.2 < costs[0] / costs[1] <= 1
    assert float(picture_loss(busy, busy)) == 0


# ── the stages ──────────────────────────────────────────────────────────────


def run(photos: Path, out: Path, **more: Any) -> tuple[Path, list[str]]:
    lines: list[str] = []
    settings: dict[str, Any] = {"steps": 3, "batch": 8, "device": "cpu", "seed": 1}
    path = train("compact", photos, out, say=lines.append, **(settings | more))
    return path, lines


def digest(language: LanguageModel) -> str:
    found = hashlib.sha256()
    for name, value in language.network.state_dict().items():
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


@pytest.mark.usefixtures("tiny")
def test_one_command_trains_all_three_stages(
    photos: Path, tmp_path: Path, llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[LanguageModel] = []
    load = LanguageModel.load

    def kept(*given: Any, **more: Any) -> LanguageModel:
        loaded.append(load(*given, **more))
        return loaded[-1]

    monkeypatch.setattr(LanguageModel, "load", kept)
    before = digest(load(llm))
    path, lines = run(photos, tmp_path / "run", validation=photos)
    assert [line for line in lines if line.startswith("stage")] == [
        "stage mae",
        "stage decoder",
        "stage adapters",
    ]
    assert path == tmp_path / "run" / "lm4lv-compact.safetensors"
    # Bit for bit: the language model is as it was.
    assert len(loaded) == 1
    assert digest(loaded[0]) == before == digest(load(llm))
    # Each stage moved its own part, and nothing else.
    stages = {}
    for name in training.STAGES:
        state = torch.load(tmp_path / "run" / name / "state.pt", weights_only=True)
        assert state["step"] == 3
        stages[name] = state["ema"]
    first, second = stages["mae"], stages["decoder"]
    moved = {key.partition(".")[0] for key in first if not torch.equal(first[key], second[key])}
    assert moved == {"decoder"}
    written = load_weights(path)
    for key, value in second.items():
        torch.testing.assert_close(written[f"mae.{key}"], value, atol=1e-3, rtol=1e-3)
    assert {"inward.weight", "outward.weight", "tasks"} <= set(stages["adapters"])
    assert stages["adapters"]["tasks"].any()
    facts = metadata_of(path)
    assert facts["llm_sha256"] == fingerprint(llm)
    log = (tmp_path / "run" / "adapters" / "validation.csv").read_text()
    assert all(task in log for task in (*ALL_TASKS, "gain_over_mae"))
    assert "psnr_noisy" in (tmp_path / "run" / "mae" / "validation.csv").read_text()
    # And it restores.
    with torch.inference_mode():
        made = LM4LVRestorer("compact", path).restored(torch.rand(1, 3, 40, 40), ("denoise",))
    assert made.isfinite().all()


@pytest.mark.usefixtures("tiny")
def test_a_stopped_run_goes_on(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, steps=2)
    _, lines = run(photos, tmp_path, steps=4, resume=True)
    assert sum(line.startswith("resumed at step 2, ") for line in lines) == 3
    for name in training.STAGES:
        assert torch.load(tmp_path / name / "state.pt", weights_only=True)["step"] == 4


@pytest.mark.usefixtures("tiny")
def test_stages_one_by_one(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no .*mae-compact\.safetensors: run the stages before"):
        run(photos, tmp_path / "a", stage="adapters")
    first, _ = run(photos, tmp_path / "a", stage="mae")
    assert first.name == "mae-compact.safetensors"
    mae = load_weights(first)
    second, _ = run(photos, tmp_path / "a", stage="decoder")
    assert second == first
    tuned = load_weights(second)
    changed = {k.split(".")[1] for k in mae if not torch.equal(mae[k], tuned[k])}
    assert changed == {"decoder"}
    third, _ = run(photos, tmp_path / "b", stage="adapters", weights=second)
    whole = load_weights(third)
    assert all(torch.equal(whole[name], value) for name, value in tuned.items())


def figures(path: Path) -> list[float]:
    header, *rows = path.read_text().splitlines()
    place = header.split(",").index("loss")
    return [float(row.split(",")[place]) for row in rows]


@pytest.mark.usefixtures("tiny")
def test_losses_fall(photos: Path, tmp_path: Path) -> None:
    """A few hundred steps of a second altogether; the log has the mean of each hundred."""
    path, _ = run(photos, tmp_path, stage="mae", steps=200, batch=4, lr=3e-3)
    first, last = figures(tmp_path / "mae" / "log.csv")
    assert last < 0.96 * first
    run(photos, tmp_path, stage="adapters", weights=path, steps=200, batch=4, lr=3e-3)
    first, last = figures(tmp_path / "adapters" / "log.csv")
    assert last < 0.995 * first


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "switches",
    [{"body": "random"}, {"body": "none"}, {"body": "transformer"}, {"generation": "single-pass"}],
)
def test_controls_train_and_restore(photos: Path, tmp_path: Path, switches: dict[str, str]) -> None:
    mae, _ = run(photos, tmp_path / "eyes", stage="mae", steps=1)
    path, _ = run(photos, tmp_path / "run", stage="adapters", weights=mae, switches=switches)
    restorer = LM4LVRestorer("compact", path)
    assert restorer.network.config == replace(TINY, **switches)  # type: ignore[arg-type]
    with torch.inference_mode():
        assert restorer.restored(torch.rand(1, 3, 32, 32), ("denoise",)).isfinite().all()


def test_the_paper_s_vision_module_comes_from_transformers(
    photos: Path, tmp_path: Path, llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    small = replace(TINY.mae, token_width=None, token_noise=0.0, convolutions=0, epsilon=1e-12)
    monkeypatch.setitem(
        CONFIGS,
        "paper",
        replace(
            TINY,
            mae=small,
            loudness=1.0,
            beside=False,
            readings=False,
            text_loss=1.0,
            picture_loss=0.0,
        ),
    )
    monkeypatch.setitem(MODELS, "paper", llm)
    torch.manual_seed(0)
    theirs = ViTMAEForPreTraining(
        ViTMAEConfig(
            image_size=32,
            patch_size=8,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            decoder_hidden_size=32,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=128,
        )
    )
    theirs.save_pretrained(tmp_path / "vit-mae")
    with pytest.raises(UsageError, match="give a ViT-MAE with --mae"):
        train("paper", photos, tmp_path / "run", steps=1, device="cpu")
    path = train(
        "paper",
        photos,
        tmp_path / "run",
        steps=2,
        batch=2,
        device="cpu",
        mae=str(tmp_path / "vit-mae"),
    )
    written = load_weights(path)
    patches = theirs.state_dict()["vit.embeddings.patch_embeddings.projection.weight"]
    torch.testing.assert_close(written["mae.encoder.patches.weight"], patches, atol=1e-3, rtol=1e-3)
    moved = theirs.state_dict()["decoder.decoder_embed.weight"]
    assert not torch.allclose(written["mae.decoder.embed.weight"], moved, atol=1e-5)


# ── the command ─────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("tiny")
def test_the_command_trains(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(photos), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["train", "lm4lv", *words, "--minutes", "0.01"]) == ExitCode.DONE
    written = Path(capsys.readouterr().out.strip())
    assert written.name == "lm4lv-compact.safetensors"
    assert written.is_file()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["lm4lv", "--stage", "1"], "stages mae, decoder and adapters"),
        (["llmra", "--stage", "adapters"], "llmra has no stage adapters"),
        (["mofe-ir", "--llm", "somewhere"], "mofe-ir takes no --llm"),
        (["lm4lv", "--stage", "mae", "--mae", "somewhere"], "takes the place of the stage mae"),
        (["lm4lv", "--config", "huge"], "configuration of lm4lv 'huge'"),
        (["lm4lv", "--guide", "x"], "lm4lv takes no --guide"),
        (["lm4lv", "--llm", "nobody/no-such-model"], "downloads are off"),
        (["lm4lv", "--config", "paper"], "give a ViT-MAE with --mae"),
        (["lm4lv", "--stage", "decoder"], "run the stages before it"),
    ],
)
def test_the_command_refuses_what_does_not_go(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    code = main(["train", *words, "--data", str(photos), "--out", str(tmp_path / "out")])
    assert code in (ExitCode.USAGE, ExitCode.BACKEND_MISSING)
    assert named in capsys.readouterr().err
