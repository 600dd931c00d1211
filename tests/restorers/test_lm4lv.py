"""LM4LV: the paper's sizes, the conversation, the two ways through the language model, what is trained and what is not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conservator.restorers.errors import UnknownNameError, UsageError, WeightsError
from conservator.restorers.lm4lv.config import ALL_TASKS, CONFIGS
from conservator.restorers.lm4lv.language import LanguageModel
from conservator.restorers.lm4lv.mae import (
    MAE,
    Decoder,
    Encoder,
    from_transformers,
    kept_patches,
    place_codes,
)
from conservator.restorers.lm4lv.network import LM4LV, Adapters, Frame, task_numbers
from conservator.restorers.prompts.lm4lv import SEQUENCE
from tiny_lm4lv import TINY, TINY_MAE, network, network_of, write_llm


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llm(tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture(scope="module")
def tiny(llm: Path) -> LM4LV:
    return network(llm)


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randn(3, TINY_MAE.tokens, 24, generator=torch.Generator().manual_seed(1))


NUMBERS = task_numbers(["denoise", "derain", "flip"])


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


# ── sizes ───────────────────────────────────────────────────────────────────


def test_the_paper_s_sizes() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    paper = CONFIGS["paper"]
    assert (paper.mae.tokens, paper.mae.visual_width, paper.task_tokens) == (197, 1024, 10)
    with torch.device("meta"):
        vision, adapters = MAE(paper.mae), Adapters(paper)
        # The configuration of Llama 2 7B is what transformers calls its default.
        language = LlamaForCausalLM(LlamaConfig())
    assert language.get_input_embeddings().weight.shape[1] == paper.llm_width
    assert millions(language) == pytest.approx(6738.415616)
    # ViT-L/16 without a head; its codes of places are no parameters here.
    assert millions(vision.encoder) == pytest.approx(303.301632 - 0.201728)
    assert millions(vision.decoder) == pytest.approx(26.139392)
    assert tuple(adapters.inward.weight.shape) == (4096, 1024)
    assert tuple(adapters.outward.weight.shape) == (1, 1024, 4096)
    assert tuple(adapters.tasks.shape) == (7, 10, 4096)
    trained = 2 * 1024 * 4096 + 4096 + 1024 + 7 * 10 * 4096
    assert sum(p.numel() for p in adapters.parameters()) == trained


def test_the_compact_size_fits_in_the_package() -> None:
    compact = CONFIGS["compact"]
    assert compact.mae.tokens == 197
    with torch.device("meta"):
        vision, adapters = MAE(compact.mae), Adapters(compact)
    # 2 bytes each; 10 MB are what the other weights leave.
    assert millions(vision) + millions(adapters) < 5
    assert millions(adapters) < 0.2


def test_parameters_are_counted_on_the_card() -> None:
    from conservator.restorers.lm4lv.card import CARD

    for name, config in CONFIGS.items():
        with torch.device("meta"):
            vision, adapters = MAE(config.mae), Adapters(config)
        told = CARD.configurations[name].parameters_m
        assert told == pytest.approx(millions(vision) + millions(adapters), abs=0.06)


# ── the autoencoder ─────────────────────────────────────────────────────────


def test_it_is_transformers_vit_mae() -> None:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = replace(
        TINY_MAE, token_width=None, token_noise=0.0, convolutions=0, epsilon=1e-12, patch=16
    )
    torch.manual_seed(0)
    theirs = ViTMAEForPreTraining(
        ViTMAEConfig(
            image_size=32,
            patch_size=16,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            decoder_hidden_size=32,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=128,
            mask_ratio=0.0,
        )
    ).eval()
    with torch.no_grad():
        theirs.vit.embeddings.position_embeddings[:, 1:].normal_()
        theirs.decoder.decoder_pos_embed[:, 1:].normal_()
    ours = MAE(config).eval()
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scaled = (picture - ours.encoder.mean) / ours.encoder.deviation
    order = torch.arange(4.0).expand(2, 4)
    with torch.inference_mode():
        seen = theirs.vit(scaled, noise=order).last_hidden_state
        torch.testing.assert_close(ours.encoder(picture), seen, atol=1e-5, rtol=1e-4)
        flat = theirs(scaled, noise=order).logits
        expected = theirs.unpatchify(flat) * ours.decoder.deviation + ours.decoder.mean
        torch.testing.assert_close(ours.decoder(seen), expected, atol=1e-5, rtol=1e-4)


def test_both_ways_of_writing_its_names_are_known() -> None:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    with torch.device("meta"):
        state = ViTMAEForPreTraining(ViTMAEConfig(num_hidden_layers=2)).state_dict()
    older = {
        name.replace("vit.layers", "vit.encoder.layer")
        .replace("attention.q_proj", "attention.attention.query")
        .replace("attention.k_proj", "attention.attention.key")
        .replace("attention.v_proj", "attention.attention.value")
        .replace("attention.o_proj", "attention.output.dense")
        .replace("mlp.fc1", "intermediate.dense")
        .replace("mlp.fc2", "output.dense"): value
        for name, value in state.items()
    }
    assert older.keys() != state.keys()
    assert from_transformers(older).keys() == from_transformers(state).keys()
    with pytest.raises(WeightsError, match="is no weight of a ViTMAE"):
        from_transformers({"bert.something": torch.zeros(1)})


def test_masked_patches_are_not_looked_at(tokens: torch.Tensor) -> None:
    torch.manual_seed(0)
    vision = MAE(TINY_MAE).eval()
    picture = torch.rand(2, 3, 32, 32)
    kept = kept_patches(2, TINY_MAE, 0.75, torch.device("cpu"))
    assert kept.shape == (2, 4)
    assert all(len(set(row.tolist())) == 4 for row in kept)
    other = torch.rand(2, 3, 32, 32)
    for row in range(2):
        for number in kept[row].tolist():
            top, left = 8 * (number // 4), 8 * (number % 4)
            place = (row, slice(None), slice(top, top + 8), slice(left, left + 8))
            other[place] = picture[place]
    with torch.inference_mode():
        assert torch.equal(vision.encoder(picture, kept), vision.encoder(other, kept))
        assert not torch.equal(vision.encoder(picture), vision.encoder(other))
        assert vision(picture, kept).shape == picture.shape
        # All of them kept, in whatever order, is the whole picture.
        every = torch.stack([torch.randperm(16) for _ in range(2)])
        shuffled = vision.decoder(vision.encoder(picture, every), every)
        torch.testing.assert_close(shuffled, vision(picture), atol=1e-5, rtol=1e-4)


def test_compact_tokens_have_one_size() -> None:
    torch.manual_seed(0)
    made = Encoder(TINY_MAE)(torch.rand(2, 3, 32, 32))
    assert made.shape == (2, 17, 24)
    sizes = made.square().mean(-1).sqrt()
    torch.testing.assert_close(sizes, torch.ones_like(sizes), atol=1e-3, rtol=0)


def test_noise_on_the_tokens_is_drawn_anew() -> None:
    torch.manual_seed(0)
    vision = MAE(TINY_MAE).eval()
    with torch.no_grad():
        for parameter in vision.decoder.parameters():
            parameter.add_(0.05)
        picture = torch.rand(1, 3, 32, 32)
        assert not torch.equal(vision(picture, noise=0.3), vision(picture, noise=0.3))
        assert torch.equal(vision(picture), vision(picture))


def test_places_are_those_of_published_weights() -> None:
    """MAE's `get_2d_sincos_pos_embed`: half of the numbers for the column, then half for the row, sines before cosines."""
    codes = place_codes(14, 1024)
    rates = 10000 ** -(np.arange(256) / 256)
    for number in (0, 13, 14, 100, 195):
        row, column = divmod(number, 14)
        waves = [
            np.sin(column * rates),
            np.cos(column * rates),
            np.sin(row * rates),
            np.cos(row * rates),
        ]
        np.testing.assert_allclose(codes[number].numpy(), np.concatenate(waves), atol=1e-6)


def test_a_patch_lands_where_it_was_cut() -> None:
    """A decoder that copies numbers puts each patch's back into its own place."""
    config = replace(TINY_MAE, token_width=192, decoder_width=192, decoder_depth=0, convolutions=0)
    decoder = Decoder(config)
    picture = torch.rand(1, 3, 32, 32)
    cut = picture.view(1, 3, 4, 8, 4, 8).permute(0, 2, 4, 3, 5, 1).reshape(1, 16, 192)
    with torch.no_grad():
        decoder.embed.weight.copy_(torch.eye(192))
        decoder.embed.bias.zero_()
        decoder.pixels.weight.copy_(torch.eye(192))
        decoder.pixels.bias.zero_()
        decoder.places.zero_()
        decoder.norm = torch.nn.Identity()  # type: ignore[assignment]
        decoder.deviation.fill_(1)
        decoder.mean.zero_()
        made = decoder(torch.cat([torch.zeros(1, 1, 192), cut], dim=1))
    torch.testing.assert_close(made, picture)


# ── the conversation ────────────────────────────────────────────────────────


def test_the_frame_is_the_paper_s_template(tiny: LM4LV) -> None:
    frame, words = tiny.frame, tiny.speaker.tokenizer
    parts = [
        words.decode(ids)
        for ids in (frame.opening, frame.asking, frame.turn, frame.tag, frame.close)
    ]
    assert parts == ["Human: <Img>", "</Img> ", " Assistant:", " <Img>", "</Img>"]
    written = f"{parts[0]}<LQ-image>{parts[1]}{{task}}{parts[2]}{parts[3]}<HQ-image>{parts[4]}"
    assert written == SEQUENCE


def test_tokens_are_as_many_as_the_paper_says(llm: Path) -> None:
    config = replace(TINY, mae=replace(TINY_MAE, side=112), task_tokens=10)
    made = network(llm, config)
    frame = made.frame
    words = sum(len(ids) for ids in (frame.opening, frame.asking, frame.turn, frame.tag))
    picture = torch.rand(1, 3, 112, 112)
    seen = made.mae.encoder(picture)
    assert seen.shape[1] == 197
    assert made.asked(seen, NUMBERS[:1]).shape[1] == words + 197 + 10


def test_a_model_s_own_first_token_opens_the_conversation(llm: Path) -> None:
    language = LanguageModel.load(llm)
    before = Frame.of(language)
    language.tokenizer.bos_token = "<|endoftext|>"
    after = Frame.of(language)
    assert after.opening.tolist() == [language.tokenizer.bos_token_id, *before.opening.tolist()]
    assert torch.equal(after.close, before.close)


def test_tasks_are_told_apart(tiny: LM4LV, tokens: torch.Tensor) -> None:
    same = tokens[:1].expand(len(ALL_TASKS), -1, -1)
    with torch.inference_mode():
        answers = tiny.generate(same, task_numbers(ALL_TASKS))
    for i in range(1, len(answers)):
        assert float((answers[0] - answers[i]).abs().max()) > 1e-4
    with pytest.raises(UnknownNameError, match=r"task of lm4lv 'dehaze'.*denoise"):
        task_numbers(["dehaze"])


def test_task_tokens_begin_at_zero() -> None:
    assert not Adapters(TINY).tasks.any()


def test_visual_tokens_begin_as_loud_as_they_are_said_to_be(
    llm: Path, tokens: torch.Tensor
) -> None:
    torch.manual_seed(0)
    language = LanguageModel.load(llm)
    made = LM4LV(TINY, language)
    size = made.adapters.embedded(tokens).detach().square().mean().sqrt()
    assert float(size) == pytest.approx(TINY.loudness * language.size, rel=0.3)


# ── the two ways through the language model ─────────────────────────────────


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2_5_vl"])
def test_told_and_generated_agree_on_the_same_prefix(
    kind: str, tmp_path: Path, guide_folder: Path, tokens: torch.Tensor
) -> None:
    """Any causal language model: what it generates with its cache is what it answers at once when told just that."""
    config = TINY
    if kind == "qwen2_5_vl":
        made = network(guide_folder, replace(config, llm_width=256))
    else:
        made = network(write_llm(tmp_path / kind, kind), config)
    with torch.inference_mode():
        generated = made.generate(tokens, NUMBERS)
        told, _ = made.teacher_forced(tokens, NUMBERS, generated)
        assert generated.shape == tokens.shape
        torch.testing.assert_close(told, generated, atol=2e-4, rtol=1e-3)
        # A token hears those before it, and not those behind.
        other = generated.clone()
        other[:, 9] += 1
        heard, _ = made.teacher_forced(tokens, NUMBERS, other)
        torch.testing.assert_close(heard[:, :10], told[:, :10], atol=1e-5, rtol=1e-4)
        assert float((heard[:, 10:] - told[:, 10:]).abs().max()) > 1e-4


def test_the_answer_hears_the_picture_and_the_task(tiny: LM4LV, tokens: torch.Tensor) -> None:
    other = tokens.clone()
    other[:, 5] += 1
    with torch.inference_mode():
        before, after = tiny.generate(tokens, NUMBERS), tiny.generate(other, NUMBERS)
    assert float((before - after).abs().max()) > 1e-4


def test_the_text_loss_is_that_of_the_answer_s_tags(tiny: LM4LV, tokens: torch.Tensor) -> None:
    frame = tiny.frame
    with torch.inference_mode():
        asked = tiny.asked(tokens, NUMBERS)
        shown = torch.cat([tiny.adapters.shown(tokens[:, 1:]), torch.zeros(3, 1, 32)], dim=1)
        fed = tiny.adapters.embedded(tokens) + shown
        close = tiny.speaker.embedded(frame.close).expand(3, -1, -1)
        hidden = tiny.speaker.hidden(torch.cat([asked, fed, close], dim=1))
        scores = tiny.speaker.logits(hidden).log_softmax(-1)
        at = asked.shape[1]
        wanted = [(at - len(frame.tag) + i, int(t)) for i, t in enumerate(frame.tag)]
        wanted += [(at + tokens.shape[1] + i, int(t)) for i, t in enumerate(frame.close)]
        expected = -torch.stack([scores[:, place - 1, token] for place, token in wanted]).mean()
        _, text = tiny.teacher_forced(tokens, NUMBERS, tokens)
    assert float(text) == pytest.approx(float(expected), rel=1e-4)


def test_a_degraded_token_is_heard_from_where_it_is_answered(
    tiny: LM4LV, tokens: torch.Tensor
) -> None:
    """With `beside` the picture before the answer may be silent, and a token still moves its own answer and later ones only."""
    other = tokens.clone()
    other[:, 5] += 1
    with torch.inference_mode():
        asked = tiny.asked(tokens, NUMBERS)
        tiny.asked = lambda *_: asked  # type: ignore[method-assign]
        before, _ = tiny.teacher_forced(tokens, NUMBERS, tokens)
        after, _ = tiny.teacher_forced(other, NUMBERS, tokens)
    torch.testing.assert_close(after[:, :5], before[:, :5])
    assert float((after[:, 5] - before[:, 5]).abs().amin(dim=0).max()) > 1e-4


def test_without_beside_the_paper_s_layout(llm: Path, tokens: torch.Tensor) -> None:
    adapters = network(llm, replace(TINY, beside=False)).adapters
    assert adapters.beside is None
    assert not adapters.shown(tokens).any()


def test_a_conversation_longer_than_the_model_is_refused(llm: Path) -> None:
    config = replace(TINY, mae=replace(TINY_MAE, side=96))
    made = network(llm, config)
    with pytest.raises(UsageError, match="this language model takes 128"):
        made.generate(torch.zeros(1, 145, 24), NUMBERS[:1])


def test_a_model_of_another_width_is_refused(llm: Path) -> None:
    with pytest.raises(WeightsError, match="is 32 wide, this size of lm4lv takes 64"):
        LM4LV(replace(TINY, llm_width=64), LanguageModel.load(llm))
    with pytest.raises(WeightsError, match="is 0 wide"):
        LM4LV(TINY)


# ── what is trained ─────────────────────────────────────────────────────────


def test_only_adapters_and_task_tokens_have_gradients(llm: Path, tokens: torch.Tensor) -> None:
    made = network(llm)
    made.mae.requires_grad_(False)
    answer, text = made.teacher_forced(tokens, NUMBERS, tokens)
    (answer.square().mean() + text).backward()
    moved = {name for name, p in made.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {
        "adapters.inward.weight",
        "adapters.inward.bias",
        "adapters.beside.weight",
        "adapters.beside.bias",
        "adapters.outward.weight",
        "adapters.outward.bias",
        "adapters.tasks",
    }
    assert all(p.grad is None for p in made.speaker.network.parameters())
    used = made.adapters.tasks.grad.abs().sum(dim=(1, 2)) > 0
    assert [ALL_TASKS[i] for i in used.nonzero().flatten()] == ["denoise", "derain", "flip"]


def test_the_language_model_is_no_part_of_the_weights(tiny: LM4LV) -> None:
    assert {name.partition(".")[0] for name in tiny.state_dict()} == {"mae", "adapters"}


# ── control experiments ─────────────────────────────────────────────────────


@pytest.fixture(params=["random", "none", "mlp", "transformer"])
def control(request: pytest.FixtureRequest, llm: Path) -> Iterator[LM4LV]:
    config = replace(TINY, body=request.param)
    language = LanguageModel.load(llm, random=True, seed=3) if config.speaks else None
    torch.manual_seed(0)
    yield LM4LV(config, language).eval()


def test_controls_answer_in_the_same_shape(control: LM4LV, tokens: torch.Tensor) -> None:
    with torch.inference_mode():
        assert control(tokens, NUMBERS).shape == tokens.shape
    assert (control.language is None) == (control.config.body != "random")


def test_per_token_controls_cannot_move_a_token(tokens: torch.Tensor) -> None:
    other = tokens.clone()
    other[:, 5] += 1
    for body, alone in (("none", True), ("mlp", True), ("transformer", False)):
        torch.manual_seed(0)
        made = LM4LV(replace(TINY, body=body)).eval()
        with torch.inference_mode():
            changed = (made(tokens, NUMBERS) - made(other, NUMBERS)).abs().amax(dim=(0, 2)) > 1e-6
        assert changed[5]
        assert (int(changed.sum()) == 1) == alone


def test_random_weights_are_others_and_repeatable(llm: Path) -> None:
    given, random, again, other = (
        LanguageModel.load(llm, random=seed is not None, seed=seed or 0) for seed in (None, 3, 3, 4)
    )
    names = dict(given.network.named_parameters())
    assert torch.equal(
        random.network.get_input_embeddings().weight, again.network.get_input_embeddings().weight
    )
    for language in (random, other):
        changed = [
            name
            for name, p in language.network.named_parameters()
            if not torch.equal(p, names[name])
        ]
        assert any("layers.1" in name for name in changed)
    assert not torch.equal(
        random.network.get_input_embeddings().weight, other.network.get_input_embeddings().weight
    )


def test_random_weights_of_the_embedded_architecture(guide_folder: Path) -> None:
    given, random = (LanguageModel.load(guide_folder, random=r, seed=5) for r in (False, True))
    assert random.width == given.width == 256
    assert random.size == pytest.approx(0.02, rel=0.1)
    assert random.network.model.visual is None


def test_a_single_pass_hears_what_comes_before_only(llm: Path, tokens: torch.Tensor) -> None:
    made = network(llm, replace(TINY, generation="single-pass"))
    other = tokens.clone()
    other[:, 9] += 1
    with torch.inference_mode():
        before, after = made(tokens, NUMBERS), made(other, NUMBERS)
        task = made(tokens, task_numbers(["demask"] * 3))
    assert before.shape == tokens.shape
    torch.testing.assert_close(before[:, :9], after[:, :9], atol=1e-5, rtol=1e-4)
    assert float((before[:, 9:] - after[:, 9:]).abs().max()) > 1e-4
    assert float((before - task).abs().max()) > 1e-4


def test_no_model_at_all_is_one_line(tmp_path: Path) -> None:
    from conservator.restorers.errors import BackendMissingError

    with pytest.raises(BackendMissingError, match="language model 'nobody/nothing' is not on"):
        LanguageModel.load("nobody/nothing")
    with pytest.raises(WeightsError, match="no language model at"):
        LanguageModel.load(tmp_path / "absent")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"language model .* does not load"):
        LanguageModel.load(tmp_path)


def test_tiny_models_differ_in_kind() -> None:
    assert type(network_of("gpt2")) is not type(network_of("llama"))
