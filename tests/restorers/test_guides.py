"""Guides: what they see, what they are asked, and that every way to the embeddings gives the same numbers."""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from conservator.agent.vlm.questions import COMPACT_VIEWS, guide_question
from conservator.restorers.errors import BackendMissingError, UsageError, WeightsError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.form import system_text, turns
from conservator.restorers.guides.qwen import QwenGuide, fingerprint
from conservator.restorers.guides.views import COMPACT, FULL, Views, seen
from conservator.restorers.layers.qwen import cache_argument
from conservator.restorers.layers.tone import ToneCurve
from conservator.restorers.prompts.mofe import QUESTION
from tiny_vlm import write_tiny_vlm

ANSWERED = f"{QUESTION} high gaussian noise (sigma 30.0), low rain (value 5)."
SHORT = f"{QUESTION} none."


@pytest.fixture(scope="session")
def guide(guide_folder: Path) -> QwenGuide:
    return QwenGuide(guide_folder)


@pytest.fixture
def fresh(guide: QwenGuide) -> Iterator[QwenGuide]:
    guide.memory.kept.clear()
    yield guide
    guide.memory.kept.clear()


@pytest.fixture(scope="session")
def photo() -> torch.Tensor:
    pixels = np.asarray(skimage.data.astronaut()[40:360, 80:500], np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def same(a: GuideEmbeddings, b: GuideEmbeddings, tolerance: float = 1e-4) -> None:
    for one, other in ((a.image, b.image), (a.joint, b.joint), (a.answer, b.answer)):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


# ── what is seen and asked ──────────────────────────────────────────────────


def test_a_guide_sees_what_the_vision_language_model_sees(photo: torch.Tensor) -> None:
    pixels = photo[0].permute(1, 2, 0).contiguous().numpy()
    content = guide_question(pixels, COMPACT_VIEWS).messages[-1].content
    shown = []
    for part in content:
        assert isinstance(part, dict)
        if part["type"] == "image_url":
            data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
            shown.append(np.asarray(Image.open(BytesIO(data))))
    views = seen(pixels, COMPACT)
    assert len(views) == len(shown) > 2
    for one, other in zip(views, shown, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_guide_is_asked_as_the_vision_language_model_is(photo: torch.Tensor) -> None:
    system, human = guide_question(photo[0].permute(1, 2, 0).numpy(), COMPACT_VIEWS).messages
    asked, answer = turns(QUESTION, 2)
    assert asked[0]["content"] == system.content == system_text()
    assert isinstance(human.content, list)
    assert asked[1]["content"][-1] == human.content[-1]
    assert [part["type"] for part in asked[1]["content"]] == ["image", "image", "text"]
    assert answer == ""


def test_an_answer_begins_the_model_s_own_turn() -> None:
    asked, answer = turns(ANSWERED, 1)
    assert asked[1]["content"][-1]["text"] == QUESTION
    assert answer == "high gaussian noise (sigma 30.0), low rain (value 5)."
    assert turns("Is it dark?", 1)[0][1]["content"][-1]["text"] == "Is it dark?"


# ── the embeddings ──────────────────────────────────────────────────────────


def test_one_token_a_view_then_every_word(guide: QwenGuide, photo: torch.Tensor) -> None:
    views = len(seen(photo[0].permute(1, 2, 0).numpy(), guide.form.views))
    asked, answered = guide.embed(photo, QUESTION), guide.embed(photo, ANSWERED)
    assert guide.width == 256
    assert asked.image.shape == (1, views, 256)
    assert asked.answer.shape == (1, 256)
    words = guide.form.processor.tokenizer(turns(ANSWERED, 1)[1])["input_ids"]
    assert answered.joint.shape[1] - asked.joint.shape[1] == len(words) > 8
    # The question is one token; the others are the marks of the turns around it.
    assert asked.joint.shape[1] < views + 15
    for given in (asked, answered):
        assert torch.equal(given.joint[:, :views], given.image)
        assert torch.equal(given.joint[:, -1], given.answer)
        assert given.image_mask is None
        assert given.joint_mask is None
        assert given.joint.isfinite().all()


def test_text_behind_the_pictures_does_not_change_how_they_are_seen(
    guide: QwenGuide, photo: torch.Tensor
) -> None:
    asked, answered = guide.embed(photo, QUESTION), guide.embed(photo, ANSWERED)
    torch.testing.assert_close(asked.image, answered.image, atol=1e-5, rtol=1e-5)
    assert float((asked.answer - answered.answer).abs().max()) > 0.05


def test_embeddings_are_the_network_s_own_hidden_states(
    guide: QwenGuide, photo: torch.Tensor
) -> None:
    """Once by hand, with nothing but transformers."""
    views = [Image.fromarray(v) for v in seen(photo[0].permute(1, 2, 0).numpy(), guide.form.views)]
    asked, answer = turns(ANSWERED, len(views))
    text = guide.form.processor.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=False
    )
    inputs = guide.form.processor(text=[text + answer], images=views, return_tensors="pt")
    guide.model.model.rope_deltas = None
    with torch.inference_mode():
        states = guide.model(**inputs, output_hidden_states=True).hidden_states[-1][0]
    ids = inputs["input_ids"][0]
    picture = guide.model.config.image_token_id
    given = guide.embed(photo, ANSWERED)
    torch.testing.assert_close(given.answer[0], states[-1], atol=1e-4, rtol=1e-4)
    first = (ids == picture).nonzero()[0, 0]
    # The photo's overview is 128 x 97.5 px: 4 x 3 tokens.
    torch.testing.assert_close(
        given.image[0, 0], states[first : first + 12].mean(0), atol=1e-4, rtol=1e-4
    )
    assert int((ids == picture).sum()) == 12 + 16 * (len(views) - 1)


def test_samples_do_not_leak_into_each_other(fresh: QwenGuide, photo: torch.Tensor) -> None:
    """The other picture has crops elsewhere, so fewer of them fit beside each other."""
    square = photo[..., :256, :256]
    flat = square.clone()
    flat[..., 130:, :] = 0.5
    alone = [fresh.embed(one, ANSWERED) for one in (square, flat)]
    fresh.memory.kept.clear()
    both = fresh.embed(torch.cat([square, flat]), ANSWERED)
    for row, one in enumerate(alone):
        assert torch.equal(both.sample(row).image, one.image)
        assert torch.equal(both.sample(row).joint, one.joint)
    assert not torch.equal(both.answer[0], both.answer[1])


def test_a_picture_is_looked_at_once(
    fresh: QwenGuide, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fresh.embed(photo, SHORT)
    with monkeypatch.context() as patch:
        patch.setattr(QwenGuide, "_looked", None)
        assert torch.equal(fresh.embed(photo, SHORT).joint, first.joint)
    assert len(fresh.memory.kept) == 1
    fresh.embed(photo, QUESTION)
    fresh.embed(photo * 0.9, SHORT)
    assert len(fresh.memory.kept) == 3


# ── whole batches, for training ─────────────────────────────────────────────


@pytest.fixture(scope="session")
def square(photo: torch.Tensor) -> torch.Tensor:
    return (photo[:, :, :256, :256] * 255).round() / 255


def views_of(guide: QwenGuide, picture: torch.Tensor) -> torch.Tensor:
    views = seen(picture[0].permute(1, 2, 0).numpy(), guide.form.views)
    return torch.stack([torch.from_numpy(v).permute(2, 0, 1) / 255 for v in views])


def test_the_batched_path_gives_the_same_numbers(
    guide: QwenGuide, square: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conservator.restorers.training.loop.supports_bf16", lambda device: False)
    views = views_of(guide, square)
    assert views.shape[1:] == (3, guide.side, guide.side)
    other = views.flip(-1) * 0.5
    batch = torch.stack([views, other, views])
    given = guide.embed_views(batch, [QUESTION, SHORT, ANSWERED])
    assert given.joint_mask is not None
    for row, text in ((0, QUESTION), (2, ANSWERED)):
        same(given.sample(row), guide.embed(square, text))


def test_half_precision_is_near(guide: QwenGuide, square: torch.Tensor) -> None:
    given = guide.embed_views(views_of(guide, square)[None], [ANSWERED])
    exact = guide.embed(square, ANSWERED)
    difference = (given.answer - exact.answer).norm() / exact.answer.norm()
    assert float(difference) < 0.03


def test_views_larger_than_a_window_take_transformers_own_tower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conservator.restorers.training.loop.supports_bf16", lambda device: False)
    folder = write_tiny_vlm(tmp_path / "tiny")
    guide = QwenGuide(folder, views=Views(overview_side=168, crop_side=168, crops=1))
    assert guide.side == 168
    assert QwenGuide(folder).form.views == FULL
    generator = torch.Generator().manual_seed(0)
    picture = (torch.rand(1, 3, 168, 168, generator=generator) * 255).round() / 255
    views = torch.stack([picture[0], picture[0]])[None]
    same(guide.embed_views(views, [ANSWERED]), guide.embed(picture, ANSWERED), 1e-3)


def test_views_that_do_not_divide_are_refused(guide: QwenGuide) -> None:
    with pytest.raises(UsageError, match="give 128 px"):
        guide.embed_views(torch.rand(1, 2, 3, 100, 100), [QUESTION])


def test_padding_is_masked_and_left_out_of_the_tone_curve() -> None:
    def part(views: int, words: int) -> GuideEmbeddings:
        joint = torch.rand(1, views + words, 4)
        return GuideEmbeddings(joint[:, :views], joint, joint[:, -1])

    short, long = part(2, 1), part(3, 4)
    both = GuideEmbeddings.stacked([short, long])
    assert both.image.shape == (2, 3, 4)
    assert both.joint.shape == (2, 7, 4)
    assert both.image_mask is not None
    assert both.joint_mask is not None
    assert both.image_mask.sum(1).tolist() == [2, 3]
    assert both.joint_mask.sum(1).tolist() == [3, 7]
    tone, image = ToneCurve(4), torch.rand(2, 3, 8, 8)
    for parameter in tone.parameters():
        torch.nn.init.normal_(parameter)
    apart = [tone(image[i : i + 1], one.joint) for i, one in enumerate((short, long))]
    torch.testing.assert_close(tone(image, both.joint, both.joint_mask), torch.cat(apart))
    for row, one in enumerate((short, long)):
        assert torch.equal(both.sample(row).image, one.image)
        assert torch.equal(both.sample(row).joint, one.joint)
    assert GuideEmbeddings.stacked([long, long]).joint_mask is None


# ── what goes wrong ─────────────────────────────────────────────────────────


def test_what_is_no_guide_is_named(tmp_path: Path, guide_folder: Path) -> None:
    with pytest.raises(WeightsError, match="no guide at"):
        QwenGuide(tmp_path / "nothing")
    with pytest.raises(WeightsError, match=r"holds no model|does not load"):
        QwenGuide(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(WeightsError, match="'llama' model"):
        QwenGuide(tmp_path)
    with pytest.raises(BackendMissingError, match="downloads are off"):
        QwenGuide("nobody/no-such-guide")
    assert fingerprint("nobody/no-such-guide") == ""
    assert len(fingerprint(guide_folder)) == 64


def test_the_cache_goes_by_the_name_that_a_network_has_for_it() -> None:
    class Older:
        def forward(self, input_ids: object, past_key_values: object = None) -> None: ...

    class Newer:
        def forward(self, input_ids: object, cache: object = None) -> None: ...

    assert cache_argument(Older()) == "past_key_values"
    assert cache_argument(Newer()) == "cache"
