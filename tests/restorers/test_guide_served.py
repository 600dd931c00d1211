"""A guide behind a server of vLLM's shape that really runs the network, and what goes wrong with servers."""

import base64
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from conservator.restorers.errors import BackendMissingError, UsageError
from conservator.restorers.guides.qwen import QwenGuide
from conservator.restorers.guides.served import ServedGuide
from conservator.restorers.mofe_ir.restorer import GUIDES, MoFEIRRestorer
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.prompts.mofe import QUESTION
from openai_server import Reply, Spoken, fails, openai_server
from tiny_mofe import write_weights

ANSWERED = f"{QUESTION} high gaussian noise (sigma 30.0), low rain (value 5)."


@pytest.fixture(scope="module")
def guide(guide_folder: Path) -> QwenGuide:
    return QwenGuide(guide_folder)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    pixels = np.asarray(skimage.data.coffee()[100:300, 100:400], np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def pooling(guide: QwenGuide) -> Reply:
    """As vLLM does it: the chat template, the last message left open, every token's hidden state as float32."""

    def reply(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        assert request["task"] == "token_embed"
        assert request["use_activation"] is False
        assert request["add_generation_prompt"] is not request["continue_final_message"]
        pictures = []
        turns = []
        for message in request["messages"]:
            content = message["content"]
            if isinstance(content, list):
                for part in content:
                    if part["type"] == "image_url":
                        coded = part["image_url"]["url"].partition(";base64,")[2]
                        pictures.append(Image.open(BytesIO(base64.b64decode(coded))))
                content = [
                    {"type": "image"} if part["type"] == "image_url" else part for part in content
                ]
            turns.append({"role": message["role"], "content": content})
        processor = guide.form.processor
        text = processor.apply_chat_template(
            turns,
            add_generation_prompt=request["add_generation_prompt"],
            continue_final_message=request["continue_final_message"],
            tokenize=False,
        )
        inputs = processor(text=[text], images=pictures, return_tensors="pt")
        guide.model.model.rope_deltas = None
        with torch.inference_mode():
            hidden = guide.model.model(**inputs, use_cache=False).last_hidden_state[0]
        return 200, answer(hidden.numpy())

    return reply


def answer(hidden: Any) -> dict[str, Any]:
    data = base64.b64encode(np.asarray(hidden, "<f4").tobytes()).decode()
    return {"object": "list", "model": "guide", "data": [{"index": 0, "data": data}]}


@pytest.fixture
def server(guide: QwenGuide) -> Iterator[Spoken]:
    with openai_server(pooling(guide), models=("guide",)) as spoken:
        yield spoken


@pytest.mark.parametrize("text", [QUESTION, ANSWERED])
def test_a_served_guide_gives_the_same_embeddings(
    server: Spoken, guide: QwenGuide, guide_folder: Path, photo: torch.Tensor, text: str
) -> None:
    served = ServedGuide(server.url, guide_folder)
    assert served.model == "guide"
    given, own = served.embed(photo, text), guide.embed(photo, text)
    assert served.width == guide.width
    for one, other in (
        (given.image, own.image),
        (given.joint, own.joint),
        (given.answer, own.answer),
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    served.embed(photo, text)
    assert len(server.requests) == 1


def test_a_restorer_is_guided_by_a_server(
    server: Spoken,
    guide_folder: Path,
    tmp_path: Path,
    photo: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = write_weights(tmp_path / "tiny.safetensors", guide_folder, monkeypatch)
    prompt = RestorationPrompt(blind=True)
    own = MoFEIRRestorer("compact", weights).prepare(photo, prompt, seed=0)
    monkeypatch.setenv("CONSERVATOR_GUIDE", server.url)
    assert GUIDES["compact"] == guide_folder
    restorer = MoFEIRRestorer("compact", weights)
    assert isinstance(restorer.guide, ServedGuide)
    restorer.to(torch.device("cpu"), torch.float32)
    torch.testing.assert_close(
        restorer.prepare(photo, prompt, seed=0).weights, own.weights, atol=1e-5, rtol=1e-5
    )


def test_the_key_is_shown(guide: QwenGuide, guide_folder: Path, photo: torch.Tensor) -> None:
    with openai_server(pooling(guide), key="secret") as spoken:
        with pytest.raises(BackendMissingError, match="refuses the key"):
            ServedGuide(spoken.url, guide_folder)
        ServedGuide(spoken.url, guide_folder, api_key="secret").embed(photo, QUESTION)
        assert spoken.keys == ["secret"]


def says(data: Any) -> Reply:
    return lambda request: (200, data)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (lambda: fails(400), r"answers 400 to /pooling \(busy\)"),
        (lambda: says({"data": []}), "gives no hidden states"),
        (lambda: says({"data": [{"data": "not base64!"}]}), "gives no hidden states"),
        (lambda: says(answer(np.zeros(256))), "gives 256 numbers for"),
        (lambda: says(answer(np.zeros((3, 999)))), "gives 2997 numbers for"),
        (lambda: says([]), "gives no hidden states"),
    ],
)
def test_what_a_server_may_get_wrong_is_named(
    reply: Callable[[], Reply], named: str, guide_folder: Path, photo: torch.Tensor
) -> None:
    with openai_server(reply()) as spoken:
        with pytest.raises(BackendMissingError, match=named):
            ServedGuide(spoken.url, guide_folder).embed(photo, QUESTION)


def test_a_slow_server_is_not_waited_for(guide_folder: Path, photo: torch.Tensor) -> None:
    with openai_server(delay_s=0.5) as spoken:
        served = ServedGuide(spoken.url, guide_folder, timeout_s=0.05)
        with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
            served.embed(photo, QUESTION)


def test_nobody_there_and_no_address(guide_folder: Path) -> None:
    with openai_server() as spoken:
        pass
    with pytest.raises(BackendMissingError, match="no guide answers at"):
        ServedGuide(spoken.url, guide_folder)
    for wrong in ("host:8000", "ftp://host", "http://", "http://host:x"):
        with pytest.raises(UsageError, match="no address"):
            ServedGuide(wrong, guide_folder)
