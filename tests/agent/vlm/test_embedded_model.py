"""The embedded model: its language, its views, its conversations, a little training, and the directory that comes out of it."""

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.main import main
from conservator.agent.prompts import prompt_names, prompt_text
from conservator.agent.vlm.answers import ConditionAnswer, RefineAnswer, VerdictAnswer
from conservator.agent.vlm.embedded import MODEL, missing
from conservator.agent.vlm.embedded.build import build_model, config_of, write_directory
from conservator.agent.vlm.embedded.case import Case, Dialogue, Pair
from conservator.agent.vlm.embedded.conversations import Amounts, Conversation, gather, read
from conservator.agent.vlm.embedded.dialogues import about, judged, read_aloud, refinements
from conservator.agent.vlm.embedded.language import SPECIAL, TAGS, fixed_texts, tokenizer_of
from conservator.agent.vlm.embedded.pictures import Studio, overviews_of, random_crops
from conservator.agent.vlm.embedded.remarks import changes_of
from conservator.agent.vlm.embedded.sight import fit_head, labels_of, train_tower
from conservator.agent.vlm.embedded.speech import (
    Lesson,
    lessons_of,
    loss_of,
    places_of,
    words_of,
)
from conservator.agent.vlm.embedded.tower import SIDE, Sight, tower_features
from conservator.agent.vlm.embedded.train import train
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.errors import BackendMissingError, UsageError
from conservator.restorers.prompts import llmra, mofe
from conservator.restorers.training.data import CropBank

TEXTS = ['Readings: noise high sigma 30.0 (0.93)\n{"scene":"a photo","degradations":[]}'] * 8


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea"):
        picture = Image.fromarray(getattr(skimage.data, name)())
        picture.resize((330, 330)).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def bank(photos: Path) -> CropBank:
    return CropBank(photos)


@pytest.fixture(scope="module")
def case() -> Case:
    clean = np.asarray(skimage.data.astronaut()[:288, :288], np.float32) / 255
    noise = np.random.default_rng(0).normal(0, 30 / 255, clean.shape).astype(np.float32)
    noisy = np.clip(clean + noise, 0, 1)
    found = Finding(kind=Kind.NOISE, value=28, confidence=0.9, source="instrument")
    report = ConditionReport(findings=(found,))
    return Case(noisy, clean, {Kind.NOISE: 30.0, Kind.JPEG: 96.0}, report)


def text_of(dialogue: Dialogue) -> str:
    content = dialogue.question.messages[-1].content
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return "\n".join(part["text"] for part in parts if part["type"] == "text")


def test_every_special_token_and_fixed_text_is_one_token_and_comes_back() -> None:
    tokenizer = tokenizer_of(TEXTS, 1024, fixed_texts())
    for place, text in enumerate((*SPECIAL, *TAGS)):
        assert tokenizer.encode(text, add_special_tokens=False) == [place]
    for text in (*SPECIAL, *TAGS, *fixed_texts()):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert len(ids) == 1, text
        assert tokenizer.decode(ids) == text
    for text in ("déjà vu 12.5\n\n  you're <b>", "Größe 漢字 0.07", TEXTS[0]):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_digits_stand_alone() -> None:
    tokenizer = tokenizer_of(["sigma 30.0 sigma 30.0 12345"] * 50, 1024)
    words = tokenizer.convert_ids_to_tokens(tokenizer.encode("12345 30.0"))
    assert [word for word in words if any(c.isdigit() for c in word)] == [*"12345300"]


def test_the_template_shows_pictures_tools_and_calls() -> None:
    tokenizer = tokenizer_of(TEXTS, 1024)
    tool = {"type": "function", "function": {"name": "llmra", "description": "x" * 500}}
    tool["function"]["parameters"] = {"properties": {"noise": {}, "source": {}, "jpeg": {}}}  # type: ignore[index]
    called = {"type": "function", "function": {"name": "llmra", "arguments": {"noise": 25.0}}}
    turns = [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What now?"}]},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "done"},
    ]
    text = tokenizer.apply_chat_template(
        turns, tools=[tool], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>system\nLook.\nllmra: noise jpeg<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What now?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "llmra", "arguments": {"noise": 25.0}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>done</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_quick_tower_is_transformers_own_tower(tmp_path: Path) -> None:
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    folder = write_directory(build_model(), tokenizer_of(TEXTS, 1024), tmp_path / "model")
    assert sum(p.stat().st_size for p in folder.iterdir()) < 20e6
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(folder)
    pictures = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    text = "<|vision_start|><|image_pad|><|vision_end|>" * 2
    asked = processor(
        text=[text], images=[Image.fromarray(p) for p in pictures], return_tensors="pt"
    )
    views = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        theirs = model.model.visual(asked["pixel_values"], grid_thw=asked["image_grid_thw"])
        ours = tower_features(model.model.visual, views)
    assert torch.allclose(theirs.pooler_output.view(ours.shape), ours, atol=1e-4)
    tokens = asked["input_ids"][0]
    places, _ = model.model.get_rope_index(
        asked["input_ids"], asked["mm_token_type_ids"], image_grid_thw=asked["image_grid_thw"]
    )
    assert torch.equal(places[:, 0], places_of(tokens, 4))


def test_detail_is_there_from_the_first_step() -> None:
    visual = build_model().model.visual
    grey = torch.full((1, 3, SIDE, SIDE), 0.5)
    noise = torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, noisy = (tower_features(visual, grey + s * noise) for s in (0.0, 15 / 255))
    assert (noisy - plain).norm() > 0.2 * plain.norm()


def test_conversations_say_the_truth_in_the_forms_that_are_asked_for(case: Case) -> None:
    said = {
        d.question.name + str("Readings" in text_of(d)): d for d in about(case, random.Random(0))
    }
    assert set(said) == {
        "conditionTrue", "conditionFalse", "sentencesFalse", "guideFalse", "planTrue",
    }  # fmt: skip
    for name in ("conditionTrue", "conditionFalse"):
        answer = ConditionAnswer.model_validate_json(said[name].answer)
        # JPEG at 96 is nothing.
        assert [(f.kind, f.value) for f in answer.findings()] == [(Kind.NOISE, 30.0)]
    assert llmra.parse(said["sentencesFalse"].answer).degradations == {Kind.NOISE: 30.0}
    assert mofe.parse(said["guideFalse"].answer).degradations == {Kind.NOISE: 30.0}
    plan = said["planTrue"]
    call = json.loads(plan.answer.split("<tool_call>\n")[1].removesuffix("\n</tool_call>"))
    offered = {tool["function"]["name"]: tool["function"] for tool in plan.question.tools}
    assert set(call["arguments"]) <= set(offered[call["name"]]["parameters"]["properties"])
    assert call["arguments"]["noise"] == pytest.approx(30, abs=6)


def test_a_verdict_follows_the_clean_picture(case: Case) -> None:
    findings = case.report.findings if case.report is not None else ()

    def verdict(after: np.ndarray, left: tuple[Finding, ...]) -> VerdictAnswer:
        pair = Pair(
            case.pixels, after, case.clean, {Kind.NOISE: 30.0}, case.present, findings, left
        )
        return VerdictAnswer.model_validate_json(judged(pair).answer)

    better = verdict(case.clean, ())
    assert (better.better, better.remaining, better.harm) == ("after", [], [])
    worse = verdict(np.clip(case.pixels * 0.4, 0, 1), findings)
    assert worse.better == "before"
    assert Kind.NOISE in worse.remaining
    assert "brightness" in worse.harm
    assert verdict(case.pixels, findings).better == "same"


def test_remarks_are_many_and_mean_what_they_say() -> None:
    rng = random.Random(1)
    texts = set()
    for _ in range(400):
        dialogue = refinements(rng)
        RefineAnswer.model_validate_json(dialogue.answer)
        texts.add(text_of(dialogue).split("The user says: ")[1].split("\n")[0])
    assert len(texts) > 350
    assert changes_of([(Kind.NOISE, "up"), (Kind.RAIN, "up")], [Kind.NOISE]) == {
        Kind.NOISE: "more",
        Kind.RAIN: "add",
    }
    assert changes_of([(Kind.NOISE, "down"), (Kind.HAZE, "away")], [Kind.NOISE]) == {
        Kind.NOISE: "less"
    }


def test_the_same_seed_gives_the_same_conversations(
    bank: CropBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conservator.agent.vlm.embedded.conversations._PART", 4)
    amounts = Amounts(inspected=4, looked_at=4, planned=4, treated=0, remarks=4, read=4)
    for name in ("a", "b"):
        gather(bank, tmp_path / name, amounts, seed=3)
    (views, said), (again, repeated) = (read(tmp_path / name) for name in ("a", "b"))
    assert torch.equal(views, again)
    assert [vars(x) for x in said] == [vars(x) for x in repeated]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").iterdir()}
    gather(bank, tmp_path / "a", amounts, seed=3)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "a").iterdir()} == before
    whole = next(x for x in said if x.inspected and x.name == "condition")
    alone = next(
        x for x in said if x.first == whole.first and not x.inspected and x.name == "condition"
    )
    assert whole.count == alone.count > 0
    with pytest.raises(UsageError, match="no conversations"):
        read(tmp_path / "nothing")


def test_labels_share_a_severity_between_two_rungs() -> None:
    there, levels = labels_of([{Kind.NOISE: 22.5}, {}])
    noise = list(Kind).index(Kind.NOISE)
    assert there[0, noise] == 1
    assert levels[0, noise].tolist() == pytest.approx([0, 0, 0.5, 0.5, 0])
    assert there[1].sum() == 0
    assert torch.equal(levels[1, :, 0], torch.ones(len(Kind)))


def rows_of(case: Case) -> list[Conversation]:
    rows = []
    for dialogue in about(case, random.Random(0)):
        tools = {t["function"]["name"]: ("noise",) for t in dialogue.question.tools}
        system = str(dialogue.question.messages[0].content)
        row = (dialogue.question.name, system, text_of(dialogue), tools, dialogue.answer)
        rows.append(Conversation(*row, first=0, count=2, present=case.present, inspected=False))
    return rows


def test_the_guides_hidden_states_can_be_held_to_those_of_another_model(case: Case) -> None:
    rows = rows_of(case)
    lessons = lessons_of(rows, words_of(rows, 1024), 16)
    guiding = [lesson for lesson in lessons if lesson.name == "guide"]
    others = [lesson for lesson in lessons if lesson.name != "guide"]
    features = torch.randn(32, config_of().text_config.hidden_size)
    model = build_model(vocabulary=1024)

    def loss(shown: list[Lesson], before: object = None) -> float:
        with torch.no_grad():
            return float(
                loss_of(model, shown, lambda lesson: features, torch.device("cpu"), before)
            )

    same, other = build_model(vocabulary=1024), build_model(seed=5, vocabulary=1024)
    assert loss(guiding, same) == pytest.approx(loss(guiding), abs=1e-5)
    assert loss(guiding, other) > loss(guiding) + 0.5
    assert loss(others, other) == loss(others)


def test_a_tower_gets_its_head_again(case: Case) -> None:
    """Features that tell noise from none are read after a short fit."""
    sight = Sight(build_model().model.visual, 256)
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(200, 2, 256, generator=generator)
    there = [i % 2 for i in range(200)]
    pooled[:, 0, 0] += 6 * torch.tensor(there)
    fit_head(sight, pooled, [{Kind.NOISE: 30.0} if yes else {} for yes in there], steps=60)
    assert not sight.training
    noise = list(Kind).index(Kind.NOISE)
    for row, yes in list(zip(pooled, there, strict=True))[:20]:
        crops, overview = row[0].expand(2, 1, -1), row[1].view(1, 1, -1)
        read = sight.whole(torch.cat([overview, crops]))[noise, 0]
        assert (read > 0) == bool(yes)


def test_what_is_read_aloud_repeats_the_readings_without_a_picture() -> None:
    rng = random.Random(2)
    for _ in range(60):
        dialogue = read_aloud(rng)
        content = dialogue.question.messages[-1].content
        assert all(isinstance(p, dict) and p["type"] == "text" for p in content)
        text = text_of(dialogue)
        read = re.findall(r"[\d.]+(?= \()", text.split("Kinds, value")[0])
        said = re.findall(r'"(?!confidence)[a-z_]+":([\d.]+)', dialogue.answer)
        assert said
        if "a1:" not in text:
            assert all(any(float(a) == float(b) for b in read) for a in said)


def test_a_little_training_lowers_the_loss_of_the_text_model(case: Case) -> None:
    rows = rows_of(case)
    tokenizer = words_of(rows, 1024)
    lessons = lessons_of(rows, tokenizer, 16)
    for lesson, row in zip(lessons, rows, strict=True):
        written = tokenizer.decode(lesson.tokens[lesson.answer :].tolist())
        assert written == row.answer + "<|im_end|>"
    model = build_model(vocabulary=1024)
    features = torch.randn(32, config_of().text_config.hidden_size)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(model, lessons, lambda lesson: features, torch.device("cpu"))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_the_tower_learns_what_noise_is(bank: CropBank) -> None:
    """Presence of strong noise alone: a few steps are enough."""
    sight = Sight(build_model().model.visual, 256)
    optimiser = torch.optim.AdamW(sight.parameters(), 1e-3)
    rng = random.Random(0)
    generator = torch.Generator().manual_seed(0)
    noise = list(Kind).index(Kind.NOISE)
    losses = []
    for _ in range(12):
        views = bank.patches(8, SIDE, rng)
        there = torch.tensor([i % 2 for i in range(8)]).float()
        field = torch.randn(views.shape, generator=generator) * 30 / 255
        read = sight((views + field * there.view(-1, 1, 1, 1)).clamp(0, 1)[:, None], views)[0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(read[:, 0, noise, 0], there)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert min(losses[-3:]) < 0.5 * losses[0]


def test_the_studio_degrades_as_it_says(bank: CropBank) -> None:
    taken = Studio(bank, seed=2).take(12, 160)
    assert taken.degraded.shape == (12, 3, 160, 160)
    assert torch.equal(taken.degraded, (taken.degraded * 255).round() / 255)
    for degraded, clean, kinds in zip(taken.degraded, taken.clean, taken.present, strict=True):
        bad = any(level_of(k, v) > Level.LOW for k, v in kinds.items())
        changed = float((degraded - clean).abs().mean())
        assert changed > 0.003 if bad else changed < 0.1
    crops = random_crops(taken.degraded, 3, random.Random(0))
    assert crops.shape == (12, 3, 3, SIDE, SIDE)
    assert overviews_of(taken.degraded).shape == (12, 3, SIDE, SIDE)


def test_training_is_resumed_where_it_stopped(bank: CropBank, tmp_path: Path) -> None:
    def run(minutes: float, *, resume: bool) -> list[str]:
        lines: list[str] = []
        visual = build_model().model.visual
        cpu = torch.device("cpu")
        train_tower(
            visual, 256, bank, tmp_path, minutes=minutes, device=cpu, batch=2, resume=resume, say=lines.append,
        )  # fmt: skip
        return lines

    run(0.01, resume=False)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    step = state["step"]
    assert step > 0
    more = state["spent_s"] / 60 + 0.01
    assert f"resumed at step {step}" in run(more, resume=True)[0]
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] > step


def test_a_model_that_is_not_there_is_said_before_the_work(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendMissingError, match="nowhere"):
        train(photos, tmp_path, weights=tmp_path / "nowhere")
    assert not (tmp_path / "conversations").exists()


def test_a_stage_says_what_it_needs(photos: Path, tmp_path: Path) -> None:
    nothing = Amounts(inspected=0, looked_at=0, planned=0, treated=0, remarks=1, read=1)
    with pytest.raises(UsageError, match="run the stage before it"):
        train(photos, tmp_path, minutes=0.01, stage=2, amounts=nothing)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["vlm", "--weights", "model", "--stage", "1"], "--stage 1"),
        (["vlm", "--config", "paper"], "--config"),
        (["llmra", "--stage", "3"], "stages 1 and 2"),
    ],
)
def test_the_command_refuses_what_a_network_does_not_have(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    code = main(["train", *words, "--data", str(photos), "--out", str(tmp_path / "out")])
    assert code == ExitCode.USAGE
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_all_three_stages_leave_a_model_that_loads_and_keeps_to_a_form(
    photos: Path, tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conservator.agent.vlm.local import LocalChat

    monkeypatch.setattr("conservator.agent.vlm.embedded.conversations._PART", 8)
    amounts = Amounts(inspected=8, looked_at=8, planned=8, treated=8, remarks=100, read=100)
    folder = train(photos, tmp_path / "new", minutes=0.5, amounts=amounts)
    # And once more from there.
    folder = train(photos, tmp_path / "again", minutes=0.2, weights=folder, amounts=amounts)
    # Half a minute teaches no number to end, so only the form is asked of it.
    schema = {"name": "condition", "schema": ConditionAnswer.model_json_schema()}
    chat = LocalChat(model=str(folder), max_tokens=48)
    bound = chat.bind(response_format={"type": "json_schema", "json_schema": schema})
    question = next(about(case, random.Random(0))).question
    assert bound.invoke(list(question.messages)).text.startswith('{"scene":"')


shipped = pytest.mark.skipif(bool(missing()), reason=f"the embedded model: {missing()}")


@shipped
def test_the_shipped_model_answers_in_form(case: Case) -> None:
    from conservator.agent.vlm.local import LocalChat

    assert sum(p.stat().st_size for p in MODEL.iterdir()) < 20e6
    chat = LocalChat(model=str(MODEL))
    question = next(about(case, random.Random(0))).question
    answer = chat.with_structured_output(ConditionAnswer, method="json_schema").invoke(
        list(question.messages)
    )
    assert isinstance(answer, ConditionAnswer)
    assert Kind.NOISE in {finding.kind for finding in answer.findings()}


@shipped
def test_the_shipped_model_was_trained_on_the_questions_as_they_stand() -> None:
    """A text that changed is read word by word: train again, or take the change back."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    for name in prompt_names():
        assert len(tokenizer.encode(prompt_text(name), add_special_tokens=False)) == 1, name
