"""MoFE-IR's training: the pictures, what weights are taken over, and a short run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.guides.qwen import QwenGuide, fingerprint
from conservator.restorers.mofe_ir.config import CONFIGS
from conservator.restorers.mofe_ir.network import MoFEIR
from conservator.restorers.mofe_ir.pictures import Composites, Gallery, written_answer
from conservator.restorers.mofe_ir.restorer import GUIDES, MoFEIRRestorer
from conservator.restorers.mofe_ir.train import take_over, train
from conservator.restorers.prompts.mofe import QUESTION, parse
from conservator.restorers.training.data import CropBank
from conservator.restorers.weights import PACKAGED, load_weights, save_weights
from tiny_mofe import TINY

LLMRA = PACKAGED / "llmra/weights/compact.safetensors"
CDD11 = {Kind.LOW_LIGHT, Kind.RAIN, Kind.SNOW, Kind.HAZE}


@pytest.fixture(scope="module")
def bank(photos: Path) -> CropBank:
    return CropBank(photos)


def test_half_of_the_pictures_are_composites(bank: CropBank) -> None:
    maker = Composites(seed=1)
    clean = bank.patches(80, 32, maker.rng)
    pairs, texts = maker.asked(clean)
    named = [set(kinds) for kinds in pairs.present]
    of_cdd11 = [
        kinds for kinds in named if kinds and kinds <= CDD11 | {Kind.NOISE} and kinds & CDD11
    ]
    assert 28 < len(of_cdd11) < 65
    assert any(len(kinds & CDD11) == 3 for kinds in named)
    assert any(kinds & {Kind.DEFOCUS_BLUR, Kind.JPEG, Kind.LOW_RESOLUTION} for kinds in named)
    untouched = [i for i, kinds in enumerate(named) if not kinds]
    assert 2 <= len(untouched) <= 18
    for i in untouched:
        assert torch.equal(pairs.target[i], pairs.clean[i])
    assert 25 < texts.count(QUESTION) < 55


def test_the_target_keeps_what_the_answer_does_not_name(bank: CropBank) -> None:
    maker = Composites(seed=2)
    maker.partial, maker.answered, maker.others, maker.alarmed = 1.0, 1.0, 0.0, 0.0
    pairs, texts = maker.asked(bank.patches(40, 32, maker.rng))
    rows = [i for i, kinds in enumerate(pairs.present) if kinds and not pairs.asked[i]]
    assert rows
    for i in rows:
        assert texts[i] == f"{QUESTION} none."
        difference = (pairs.degraded[i].clamp(0, 1) - pairs.target[i].clamp(0, 1)).abs()
        assert float(difference.max()) < 0.02
    some = [i for i, kinds in enumerate(pairs.asked) if kinds]
    assert some
    for i in some:
        assert set(pairs.asked[i]) < set(pairs.present[i])
        assert set(parse(texts[i]).degradations) <= set(pairs.asked[i])


def test_others_at_the_end_ask_for_everything(bank: CropBank) -> None:
    maker = Composites(seed=6)
    maker.partial, maker.answered, maker.others = 1.0, 1.0, 1.0
    pairs, texts = maker.asked(bank.patches(30, 32, maker.rng))
    open_ended = [i for i, text in enumerate(texts) if text.endswith("others.")]
    assert len(open_ended) > 5
    for i in open_ended:
        assert parse(texts[i]).blind
        assert set(parse(texts[i]).degradations) < set(pairs.present[i])
    assert pairs.asked == pairs.present
    torch.testing.assert_close(pairs.target, pairs.clean)


def test_bare_questions_ask_for_everything(bank: CropBank) -> None:
    maker = Composites(seed=3)
    maker.answered = 0.0
    pairs, texts = maker.asked(bank.patches(20, 32, maker.rng))
    assert set(texts) == {QUESTION}
    assert pairs.asked == pairs.present
    torch.testing.assert_close(pairs.target, pairs.clean)


def test_written_answers_are_near_the_truth() -> None:
    maker = Composites(seed=4)
    for _ in range(40):
        said = parse(written_answer({Kind.NOISE: 30.0, Kind.HAZE: 1.5}, maker.rng))
        assert said.unmapped == ()
        assert 15 <= said.degradations[Kind.NOISE] <= 50
        assert set(said.degradations) == {Kind.NOISE, Kind.HAZE}


def test_patches_come_with_their_pictures_embeddings(bank: CropBank, guide_folder: Path) -> None:
    gallery = Gallery(bank, Composites(seed=5), QwenGuide(guide_folder), side=160, size=6, first=4)
    taken = gallery.take(4, 32, torch.device("cpu"))
    assert taken.degraded.shape == taken.target.shape == (4, 3, 32, 32)
    assert taken.whole.shape == (4, 3, 54, 54)
    assert taken.guide.image.shape == (4, 4, 256)
    assert taken.guide.answer.shape == (4, 256)
    before = [given.answer for given in gallery._guided]
    gallery.grow(3)
    assert len(gallery._guided) == 6
    kept = [any(given.answer is old for given in gallery._guided) for old in before]
    assert kept == [False, True, True, True]
    # More patches than pictures: some come twice.
    assert gallery.take(9, 32, torch.device("cpu")).degraded.shape[0] == 9


def test_llmra_s_backbone_is_taken_over() -> None:
    model = MoFEIR(CONFIGS["compact"])
    share = take_over(model, LLMRA)
    given = load_weights(LLMRA)
    assert 0.6 < share < 0.75
    assert torch.equal(model.embed.weight, given["network.embed.weight"])
    assert not model.mofe["encoder1"].project.weight.any()


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_weights({"head.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="has no part of MoFEIR"):
        take_over(MoFEIR(TINY), tmp_path / "other.safetensors")


def run(photos: Path, out: Path, guide: Path, minutes: float, **more: object) -> list[str]:
    lines: list[str] = []
    settings = {"batch": 4, "sizes": ((0.0, 32),), "pictures": 8, "device": "cpu", "seed": 1}
    path = train(
        "compact", photos, out, minutes=minutes, guide=guide, say=lines.append, **(settings | more)
    )  # type: ignore[arg-type]
    assert path == out / "mofe-ir-compact.safetensors"
    return lines


def test_a_short_run_writes_weights_that_restore(
    photos: Path, tmp_path: Path, guide_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "compact", TINY)
    monkeypatch.setitem(GUIDES, "compact", guide_folder)
    run(photos, tmp_path / "run", guide_folder, 0.02)
    weights = tmp_path / "run" / "mofe-ir-compact.safetensors"
    restorer = MoFEIRRestorer("compact", weights)
    assert restorer.model.config is TINY
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] > 0
    started = MoFEIR(TINY)
    moved = [
        name
        for name, value in started.state_dict().items()
        if name.startswith(("mofe.", "mgfb."))
        and name.endswith("project.weight")
        and not value.any()
        and state["model"][name].any()
    ]
    assert moved
    spent = state["spent_s"] / 60
    more = run(photos, tmp_path / "run", guide_folder, spent + 0.01, resume=True)
    assert more[0].startswith(f"resumed at step {state['step']}")
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] > state["step"]


def test_ablations_leave_their_part_out(
    photos: Path, tmp_path: Path, guide_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "compact", TINY)
    plain = {"use_mofe": False, "encoder_guide": None, "decoder_guide": None}
    run(photos, tmp_path / "plain", guide_folder, 0.005, switches=plain)
    names = load_weights(tmp_path / "plain" / "mofe-ir-compact.safetensors")
    assert not [name for name in names if name.startswith(("mofe.", "mgfb.", "router."))]


def test_a_guide_must_be_as_wide_as_the_configuration(
    photos: Path, tmp_path: Path, guide_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "compact", replace(TINY, guide_width=64))
    with pytest.raises(UsageError, match="is 256 wide, configuration compact takes 64"):
        run(photos, tmp_path, guide_folder, 0.01)


def test_the_command_trains(
    photos: Path,
    tmp_path: Path,
    guide_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(
        CONFIGS, "compact", replace(TINY, channels=(8, 8, 8, 8), heads=(1, 1, 1, 1))
    )
    words = ["--data", str(photos), "--out", str(tmp_path / "run"), "--minutes", "0.005"]
    code = main(["train", "mofe-ir", *words, "--guide", str(guide_folder), "--device", "cpu"])
    assert code == ExitCode.DONE
    written = Path(capsys.readouterr().out.strip())
    assert written.name == "mofe-ir-compact.safetensors"
    assert written.is_file()
    assert fingerprint(guide_folder)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["mofe-ir", "--stage", "1"], "no stages"),
        (["llmra", "--guide", "somewhere"], "--guide"),
        (["mofe-ir", "--config", "huge"], "configuration of mofe-ir 'huge'"),
        (["mofe-ir", "--guide", "nobody/no-such-guide"], "downloads are off"),
        (["mofe-ir", "--guide", "http://127.0.0.1:1"], "give the model itself"),
    ],
)
def test_the_command_refuses_what_does_not_go(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    code = main(["train", *words, "--data", str(photos), "--out", str(tmp_path / "out")])
    assert code in (ExitCode.USAGE, ExitCode.BACKEND_MISSING)
    assert named in capsys.readouterr().err
