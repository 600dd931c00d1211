"""Contracts from request to end: real instruments and restorers on small pictures degraded by known recipes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from conservator import RestorationResult, replay, restore, resume
from conservator.agent import events
from conservator.agent.cli.restore import code_of
from conservator.agent.errors import InputError, PromptError
from conservator.agent.execution import begin
from conservator.agent.options import Options
from conservator.policies.preset import Preset
from conservator.policies.targets import Clause
from conservator.restorers import catalog
from conservator.restorers.degradations.recipe import Recipe as Damage
from conservator.restorers.degradations.recipe import apply
from conservator.restorers.degradations.vocabulary import Kind, Level

BEST = {
    Kind.NOISE: "classical-nlm",
    Kind.LOW_LIGHT: "classical-gamma",
    Kind.JPEG: "classical-deblock",
    Kind.HAZE: "classical-dehaze",
    Kind.DEFOCUS_BLUR: "classical-deblur",
}
GROUND = (190, 180, 160)
"""Colour of the sign that the words stand on."""


@pytest.fixture(scope="module")
def policy(quick: Preset) -> Preset:
    """The quick policy on all kinds of `BEST`."""
    leave = tuple(kind for kind in Kind if kind not in BEST)
    return quick.model_copy(update={"leave": leave, "brightening_estimate": 0.0})


@pytest.fixture(autouse=True, scope="module")
def preferences(surroundings: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each kind for its classical restorer, whatever else is installed."""
    table = {
        kind.value: {
            level.label: dict.fromkeys(catalog.cards(), -1.0) | {name: 5.0}
            for level in list(Level)[1:]
        }
        for kind, name in BEST.items()
    }
    path = tmp_path_factory.mktemp("table") / "preferences.yaml"
    path.write_text(yaml.safe_dump({"lead": "classical-nlm", "gains": table}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSERVATOR_PREFERENCES", str(path))
        yield


def damaged(clean: np.ndarray, recipe: str) -> np.ndarray:
    tensor = torch.from_numpy(clean / 255).permute(2, 0, 1)[None].float()
    made = apply(tensor, Damage.parse(recipe).draw(5, *clean.shape[:2]))
    return (made[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(clean: np.ndarray, noisy: np.ndarray) -> dict[str, np.ndarray]:
    page = Image.new("RGB", (320, 160), GROUND)
    page.paste(Image.fromarray(clean), (0, 0))
    font = ImageFont.load_default(size=20)
    ImageDraw.Draw(page).text((180, 65), "HOTEL Europa", font=font, fill=(20, 20, 30))
    small = Image.fromarray(clean).resize((40, 40), Image.Resampling.BOX)
    return {
        "clean": clean,
        "noisy": noisy,
        "clean sign": np.asarray(page),
        "sign": damaged(np.asarray(page), "noise:sigma=20"),
        "dark": damaged(clean, "low_light:stops=2+noise:sigma=15"),
        "hazy": damaged(clean, "haze:beta=1.5"),
        "soft": damaged(clean, "defocus_blur:radius=4"),
        "noisy jpeg": damaged(clean, "noise:sigma=20+jpeg:quality=40"),
        "enlarged": np.asarray(small.resize((160, 160), Image.Resampling.BICUBIC)),
    }


class Watch:
    """A clock that only moves when something happens."""

    def __init__(self, moves: dict[type[events.Event], float]) -> None:
        self.now = 0.0
        self._moves = moves

    def __call__(self) -> float:
        return self.now

    def heard(self, event: events.Event) -> None:
        self.now += self._moves.get(type(event), 0.0)


@dataclass(frozen=True)
class Case:
    """A contract, and how it ends.

    Attributes:
        picture: its name.
        asked: arguments of a run.
        outcome: of the run.
        blocking: what the reason names, "" where nothing blocks.
        tools: calls of restorers.
        not_met: texts of the clauses that are not met.
        takes: event -> seconds that pass at it, on a clock of its own.
        code: exit code.
    """

    picture: str
    asked: dict[str, Any]
    outcome: str
    blocking: str = ""
    tools: int = 1
    not_met: tuple[str, ...] = ()
    takes: dict[type[events.Event], float] = field(default_factory=dict)
    code: int = 0


CASES = {
    "a kind": Case("noisy", {"targets": "noise<=low"}, "met"),
    "a kind, and how far from the input": Case(
        "noisy",
        {"targets": "noise<=low, ssim_to_input>=0.5, psnr_to_input>=18, change<=30"},
        "met",
    ),
    "a bound that half of the treatment holds": Case(
        "noisy",
        {"targets": "noise<=medium,ssim_to_input>=0.75"},
        "met",
    ),
    "a bound that leaves too much noise": Case(
        "noisy",
        {"targets": "noise<=low,ssim_to_input>=0.75"},
        "not_met",
        "noise<=low: noise is medium",
        2,
        ("noise<=low",),
    ),
    "a bound that nothing holds": Case(
        "noisy",
        {"targets": "noise<=low,ssim_to_input>=0.99"},
        "not_met",
        "ssim_to_input>=0.99: ssim_to_input is 0.",
        1,
        ("noise<=low",),
    ),
    "only a bound": Case("noisy", {"targets": "change<=1"}, "unchanged", "change<=1: change is"),
    "a metric that falls": Case("noisy", {"targets": "piqe-=5"}, "met"),
    "metrics out of reach": Case(
        "noisy",
        {"targets": "noise<=low,piqe<=1,quality+=0.9"},
        "not_met",
        "piqe<=1: piqe is",
        1,
        ("piqe<=1", "quality+=0.9"),
    ),
    "met before it begins": Case("clean", {"targets": "noise<=low,piqe<=90"}, "unchanged", tools=0),
    "no detail comes back": Case(
        "enlarged",
        {"targets": "low_resolution<=absent"},
        "not_met",
        "low_resolution<=absent: low_resolution is",
        1,
        ("low_resolution<=absent",),
    ),
    "keep the grain": Case("noisy", {"keep": "the grain"}, "unchanged", "noise left alone", 0),
    "keep the grain from the undoing of blocks": Case(
        "noisy jpeg",
        {"keep": "the grain", "targets": "jpeg<=low"},
        "not_met",
        "keep the grain: noise fell",
        1,
        ("jpeg<=low",),
    ),
    "keep the bokeh": Case(
        "soft", {"keep": "the bokeh"}, "unchanged", "defocus_blur, motion_blur left alone", 0
    ),
    "keep it dark": Case("dark", {"keep": "it dark", "targets": "noise<=low"}, "met"),
    "keep the fog": Case("hazy", {"keep": "the fog"}, "unchanged", "haze left alone", 0),
    "keep the colours": Case("noisy", {"keep": "the colours", "targets": "noise<=low"}, "met"),
    "keep the colours in haze": Case(
        "hazy",
        {"keep": "the colours", "targets": "haze<=low"},
        "not_met",
        "keep the colours: they moved by",
        1,
        ("haze<=low",),
    ),
    "protect a box": Case("noisy", {"protect": "10,20,40,30", "targets": "noise<=low"}, "met"),
    "protect text": Case("sign", {"protect": "text", "targets": "noise<=low"}, "met"),
    "protect who is not there": Case(
        "noisy", {"protect": ["face"], "targets": "noise<=low"}, "met"
    ),
    "one call is enough": Case("noisy", {"targets": "noise<=low", "max_tools": 1}, "met"),
    "one call is too few": Case(
        "dark",
        {"targets": "noise<=low,low_light<=low", "max_tools": 1},
        "limit",
        "limit of 1 tools was reached; kept a1",
        1,
        ("low_light<=low",),
        code=4,
    ),
    "no call": Case(
        "noisy",
        {"targets": "noise<=low", "max_tools": 0},
        "limit",
        "limit of 0 tools was reached; the input is kept",
        0,
        ("noise<=low",),
        code=4,
    ),
    "no second": Case(
        "noisy",
        {"targets": "noise<=low", "max_seconds": 0},
        "limit",
        "limit of 0 seconds was reached; the input is kept",
        0,
        ("noise<=low",),
        code=4,
    ),
    "two seconds, gone after the first call": Case(
        "dark",
        {"targets": "noise<=low,low_light<=low", "max_seconds": 2},
        "limit",
        "limit of 2 seconds was reached; kept a1",
        1,
        ("low_light<=low",),
        {events.ToolFinished: 3.0},
        code=4,
    ),
    "two seconds, gone at the look": Case(
        "noisy",
        {"targets": "noise<=low", "max_seconds": 2},
        "limit",
        "the input is kept as it is",
        0,
        ("noise<=low",),
        {events.Inspected: 3.0},
        code=4,
    ),
    "hardly a second": Case(
        "noisy",
        {"targets": "noise<=low", "max_seconds": 1e-6},
        "limit",
        "the input is kept as it is",
        0,
        ("noise<=low",),
        {events.RunStarted: 0.001},
        code=4,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_contracts(name: str, pictures: dict[str, np.ndarray], policy: Preset) -> None:
    case = CASES[name]
    watch = Watch(case.takes)
    options = Options(policy=policy, **case.asked)
    if case.takes:
        options = Options(policy=policy, clock=watch, **case.asked)
    result = begin(pictures[case.picture], options, on_event=watch.heard, cancel=None)
    assert (result.outcome, code_of(result)) == (case.outcome, case.code), result.reason
    assert case.blocking in result.reason
    assert result.spent.tools == case.tools
    assert tuple(clause.text for clause in result.contract if not clause.met) == case.not_met
    wanted = str(case.asked.get("targets", "")).replace(" ", "").split(",")
    asked = [clause.text for clause in result.contract if clause.about == "target"]
    assert asked == [text for text in wanted if text]
    assert all(clause.value is not None for clause in result.contract if clause.about == "target")
    kept = {kind for attempt in result.attempts for kind in attempt.call.kinds}
    assert not kept & {k for words in _kept(case) for k in words}


def _kept(case: Case) -> list[set[Kind]]:
    said = {
        "the grain": {Kind.NOISE},
        "the bokeh": {Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR},
        "it dark": {Kind.LOW_LIGHT},
        "the fog": {Kind.HAZE},
    }
    return [kinds for words, kinds in said.items() if words == case.asked.get("keep")]


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 255).round().astype(np.uint8)


def inside(pixels: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, width, height = box
    return pixels[top : top + height, left : left + width]


@pytest.fixture(scope="module")
def protected(
    noisy: np.ndarray, policy: Preset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RestorationResult]:
    """A run on a file that protects a box and blends, with the picture."""
    path = tmp_path_factory.mktemp("protected") / "noisy.png"
    Image.fromarray(noisy).save(path)
    result = restore(
        path,
        policy=policy,
        protect="10,20,40,30",
        targets="noise<=medium,ssim_to_input>=0.75",
    )
    return path, result


BOX = (10, 20, 40, 30)


def test_protected_pixels_are_the_same_in_the_file(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray
) -> None:
    _, result = protected
    assert result.changed and result.path is not None
    saved = np.asarray(Image.open(result.path).convert("RGB"))
    np.testing.assert_array_equal(inside(saved, BOX), inside(noisy, BOX))
    far = saved[80:].astype(float) - noisy[80:]
    assert np.abs(far).mean() > 3
    # The border outside of the box is soft: neither the input nor the treatment.
    beside = np.abs(saved[20:50, 50:54].astype(float) - noisy[20:50, 50:54]).mean(axis=(0, 2))
    assert beside[0] < beside[-1] < np.abs(far).mean() * 1.5


def test_a_replay_protects_the_same(
    protected: tuple[Path, RestorationResult], tmp_path: Path
) -> None:
    path, result = protected
    assert result.run_dir is not None and result.path is not None
    assert [step.blend for step in result.recipe.steps] == [0.6]  # type: ignore[union-attr]
    again = replay(result.run_dir, path, output=tmp_path / "again.png")
    assert not isinstance(again, tuple) and again.path is not None
    assert again.path.read_bytes() == result.path.read_bytes()


def test_a_replay_on_another_size(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray, policy: Preset
) -> None:
    _, result = protected
    other = np.ascontiguousarray(noisy[:120, :140])
    with pytest.raises(InputError, match="px of a 160x160 photo, this one is 140x120"):
        replay(result.recipe, other)
    shares = restore(noisy, policy=policy, protect="25%,25%,50%,50%").recipe
    replayed = replay(shares, other)
    middle = (35, 30, 70, 60)
    np.testing.assert_array_equal(inside(eight_bits(replayed.array), middle), inside(other, middle))
    assert np.abs(eight_bits(replayed.array)[:15].astype(int) - other[:15]).mean() > 3


def test_a_folder_goes_on_past_a_photo_of_another_size(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray, tmp_path: Path
) -> None:
    for name, size in (("a.png", 120), ("b.png", 160)):
        Image.fromarray(noisy[:size]).save(tmp_path / name)
    small, own = replay(protected[1].recipe, tmp_path, output=tmp_path / "out")  # type: ignore[misc]
    assert "give it in percent" in small.error
    assert own.error == "" and own.path is not None


def test_text_comes_back_as_it_was(pictures: dict[str, np.ndarray], policy: Preset) -> None:
    sign = pictures["sign"]
    result = restore(sign, policy=policy, protect="text")
    assert result.changed
    ink = np.abs(pictures["clean sign"].astype(int) - GROUND).max(axis=2) > 40
    ink[:, :162] = False
    assert ink.sum() > 500
    np.testing.assert_array_equal(eight_bits(result.array)[ink], sign[ink])
    (clause,) = result.contract
    assert (clause.about, clause.text, clause.met) == ("protect", "protect the text", True)
    assert 0.02 < (clause.value or 0) < 0.2


def test_what_is_not_found_is_a_note(noisy: np.ndarray, policy: Preset) -> None:
    result = restore(noisy, policy=policy, protect=["face", "0,0,160,100"])
    assert any("protect the face: not found" in note for note in result.notes)
    assert any("62% of the photo is protected" in note for note in result.notes)


def test_lossy_outputs_are_protected_before_coding(
    noisy: np.ndarray, policy: Preset, tmp_path: Path
) -> None:
    result = restore(noisy, policy=policy, protect="10,20,40,30", output=tmp_path / "out.jpg")
    (clause,) = result.contract
    assert clause.says.endswith("as it came in before coding")
    np.testing.assert_array_equal(inside(eight_bits(result.array), BOX), inside(noisy, BOX))


@pytest.mark.parametrize("depth", ["uint16", "profile"])
def test_other_depths_and_profiles_keep_their_samples(
    depth: str, noisy: np.ndarray, policy: Preset, tmp_path: Path
) -> None:
    if depth == "uint16":
        deep = noisy.astype(np.uint16) * 257 + 3
        result = restore(deep, policy=policy, protect="10,20,40,30")
        got = (result.array * 65535).round().astype(np.uint16)
        np.testing.assert_array_equal(inside(got, BOX), inside(deep, BOX))
        assert result.changed
        return
    path = tmp_path / "p3.png"
    Image.fromarray(noisy).save(path, icc_profile=imagecodecs.cms_profile("adobergb"))
    saved = restore(path, policy=policy, protect="10,20,40,30").path
    assert saved is not None
    np.testing.assert_array_equal(
        inside(np.asarray(Image.open(saved).convert("RGB")), BOX), inside(noisy, BOX)
    )


def test_scores_are_those_of_the_protected_picture(
    protected: tuple[Path, RestorationResult], noisy: np.ndarray
) -> None:
    from skimage.metrics import structural_similarity

    _, result = protected
    weights = np.array([0.299, 0.587, 0.114])
    expected = structural_similarity(
        noisy / 255 @ weights,
        np.asarray(result.array, float) @ weights,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    clause = next(c for c in result.contract if c.text.startswith("ssim_to_input"))
    assert clause.value == pytest.approx(expected, abs=1e-4)


def test_the_report_holds_the_contract(protected: tuple[Path, RestorationResult]) -> None:
    _, result = protected
    assert result.run_dir is not None
    report = json.loads((result.run_dir / "report.json").read_text())
    clauses = [Clause.model_validate(row) for row in report["contract"]]
    assert tuple(clauses) == result.contract
    assert [(c.about, c.met) for c in clauses] == [
        ("target", True),
        ("target", True),
        ("protect", True),
    ]
    assert report["recipe"]["protect"][0]["size"] == [160, 160]


def test_a_limited_contract_is_resumed_as_it_was(
    noisy: np.ndarray, policy: Preset, tmp_path: Path
) -> None:
    path = tmp_path / "noisy.png"
    Image.fromarray(noisy).save(path)
    asked: dict[str, Any] = {
        "policy": policy,
        "protect": "10,20,40,30",
        "keep": "the colours",
        "targets": "noise<=low",
    }
    whole = restore(noisy, **asked)
    limited = restore(path, max_tools=0, **asked)
    assert limited.outcome == "limit" and limited.run_dir is not None
    resumed = resume(limited.run_dir, max_tools=3)
    assert resumed.outcome == "met"
    np.testing.assert_array_equal(resumed.array, whole.array)
    assert [c.text for c in resumed.contract] == [c.text for c in whole.contract]


def test_a_policy_file_holds_a_contract(noisy: np.ndarray, policy: Preset) -> None:
    own = policy.model_copy(
        update={"targets": ("noise<=low,piqe<=90",), "protect": ("10,20,40,30",)}
    )
    result = restore(noisy, policy=own, targets="noise<=medium", keep="the colours")
    assert [clause.text for clause in result.contract] == [
        "noise<=medium",
        "piqe<=90",
        "protect the box 10,20,40,30",
        "keep the colours",
    ]


def test_without_a_contract_nothing_is_different(
    noisy: np.ndarray, policy: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = restore(noisy, policy=policy)
    assert bare.contract == ()
    assert bare.recipe.protect == ()
    names = {check.name for a in bare.attempts if a.verdict for check in a.verdict.checks}
    assert not names & {"target", "kept"}
    empty = restore(noisy, policy=policy, protect=[], keep=())
    np.testing.assert_array_equal(bare.array, empty.array)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"targets": "noise<=low", "keep": "the grain"}, "contradict"),
        ({"protect": "200,0,10,10"}, "leaves the photo, which is 160x160"),
        ({"protect": "nose"}, "none that can be found"),
        ({"protect": "0%,0%,100%,100%"}, "nothing would be restored"),
        ({"keep": "the vibe"}, "cannot read 'the vibe'"),
        ({"targets": "ssim_to_input<=0.8"}, "bounded from below"),
    ],
)
def test_wrong_contracts_leave_nothing_behind(
    asked: dict[str, Any], named: str, noisy_png: Path, policy: Preset
) -> None:
    with pytest.raises(PromptError, match=named) as caught:
        restore(noisy_png, policy=policy, **asked)
    assert "\n" not in str(caught.value)
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


def test_photos_of_faces_keep_the_face(policy: Preset) -> None:
    photo = np.ascontiguousarray(data.astronaut()[:300, 60:380])
    noise = np.random.default_rng(2).normal(0, 20, photo.shape)
    noisy = np.clip(photo + noise, 0, 255).round().astype(np.uint8)
    result = restore(noisy, policy=policy, protect="face", targets="noise<=low")
    assert result.changed
    got = eight_bits(result.array)
    # Eyes, nose and mouth.
    np.testing.assert_array_equal(got[80:140, 140:190], noisy[80:140, 140:190])
    (_, clause) = result.contract
    assert clause.value and clause.met
