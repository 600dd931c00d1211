"""A vision-language model of the Qwen2.5-VL architecture in this process, with transformers.

It behaves as the same model does behind vLLM: greedy unless told otherwise, JSON and tool calls constrained by xgrammar
with the server's own grammars, tool calls in hermes form. So one directory gives the same answers in process and served.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from conservator.agent.vlm.hermes import CHAT_TEMPLATE, bound_choice, read_answer, structural_tag
from conservator.agent.vlm.structured import Method, Schema, structured
from conservator.agent.vlm.turns import as_served, turns_of
from conservator.restorers.errors import (
    BackendMissingError,
    MissingFileError,
    UsageError,
    WeightsError,
)

if TYPE_CHECKING:
    import torch
    from langchain_core.callbacks import CallbackManagerForLLMRun
    from PIL.Image import Image

__all__ = ["LocalChat"]

_ARCHITECTURE: Final = "qwen2_5_vl"


class LocalChat(BaseChatModel):
    """A chat model around a Hugging Face directory or hub id; loads at its first answer and stays in memory.

    Attributes:
        model: a directory, or a hub id that is in the local cache already.
        model_name: what the record calls it; by default the directory's name, or the hub id.
        download: fetch a hub id that is not there; nothing is downloaded without it.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        max_tokens: longest answer, in tokens; a question's own limit goes before it.
        temperature: 0 takes the likeliest token each time.
        seed: of the draws when the temperature is above 0.
        timeout_s: an answer that takes longer is given up with a TimeoutError.
    """

    model: str
    model_name: str = ""
    download: bool = False
    device: str = "auto"
    max_tokens: int = Field(default=512, gt=0)
    temperature: float = Field(default=0.0, ge=0)
    seed: int = 0
    timeout_s: float = Field(default=120.0, gt=0)

    @property
    def _llm_type(self) -> str:
        return "conservator-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature}

    def model_post_init(self, context: Any) -> None:
        """Name a model that was given no name."""
        super().model_post_init(context)
        folder = Path(self.model).expanduser()
        self.model_name = self.model_name or (folder.name if folder.is_dir() else self.model)

    def load(self) -> None:
        """Bring the model into memory now.

        Raises:
            MissingFileError: no such directory, or a hub id that is not in the cache.
            WeightsError: the directory holds something else, or is damaged.
            BackendMissingError: transformers or xgrammar is missing.
        """
        self._network()

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: str | Mapping[str, Any] | bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools; arguments as for `langchain_openai.ChatOpenAI.bind_tools`."""
        offered = [convert_to_openai_tool(tool) for tool in tools]
        choice = bound_choice(tool_choice, [tool["function"]["name"] for tool in offered])
        if parallel_tool_calls is not None:
            kwargs["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(tools=offered, tool_choice=choice, **kwargs)

    def with_structured_output(
        self,
        schema: Schema,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Ask for answers of a schema; see `conservator.agent.vlm.structured.structured`."""
        return structured(self, schema, method=method, include_raw=include_raw, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tools = [as_served(tool) for tool in kwargs.get("tools") or ()]
        choice = kwargs.get("tool_choice") or ("auto" if tools else "none")
        longest = kwargs.get("max_completion_tokens") or kwargs.get("max_tokens") or self.max_tokens
        turns, pictures = turns_of(messages)
        answer = self._network().answer(
            turns,
            pictures,
            tools=tools,
            grammar=_Grammar.of(kwargs, tools, choice),
            limits=_Limits(
                tokens=longest,
                seconds=kwargs.get("timeout_s") or self.timeout_s,
                stop=tuple(stop or ()),
            ),
            temperature=kwargs.get("temperature", self.temperature),
            seed=self.seed,
            on_token=_told(run_manager),
        )
        usage = UsageMetadata(
            input_tokens=answer.asked,
            output_tokens=answer.answered,
            total_tokens=answer.asked + answer.answered,
        )
        finish = answer.finish
        message = AIMessage(answer.text, usage_metadata=usage)
        if tools and choice != "none":
            message = _with_calls(answer.text, usage)
            named = isinstance(choice, Mapping)
            finish = "tool_calls" if message.tool_calls and not named else finish
        message.response_metadata = {"model_name": self.model_name, "finish_reason": finish}
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _network(self) -> _Network:
        return _loaded(self.model, self.device, self.download)


@dataclass(frozen=True)
class _Limits:
    tokens: int
    seconds: float
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answer:
    text: str
    asked: int
    answered: int
    finish: str


@dataclass(frozen=True)
class _Grammar:
    """What may be written: `kind` is `json` or `tag`, `text` its definition as JSON."""

    kind: str
    text: str

    @classmethod
    def of(
        cls, asked: Mapping[str, Any], tools: Sequence[Mapping[str, Any]], choice: Any
    ) -> _Grammar | None:
        """The grammar of a request, None for free text."""
        wanted = asked.get("response_format")
        if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
            return cls("json", json.dumps(wanted["json_schema"]["schema"]))
        if isinstance(wanted, Mapping) and wanted.get("type") == "json_object":
            return cls("json", '{"type": "object"}')
        tag = structural_tag(tools, choice, parallel=asked.get("parallel_tool_calls") is not False)
        return None if tag is None else cls("tag", json.dumps(tag))


@dataclass
class _Network:
    """A loaded model with its tokenizer and its grammars; answers one question at a time."""

    model: Any
    processor: Any
    template: str
    device: torch.device
    ends: frozenset[int]
    penalty: float
    compiler: Any
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(
        self,
        turns: list[dict[str, Any]],
        pictures: list[Image],
        *,
        tools: list[dict[str, Any]],
        grammar: _Grammar | None,
        limits: _Limits,
        temperature: float,
        seed: int,
        on_token: Callable[[], None],
    ) -> _Answer:
        """Write an answer; `on_token` is called after each token and may raise to stop it.

        Raises:
            UsageError: the question leaves no room for one.
            TimeoutError: it took too long.
        """
        text = self.processor.apply_chat_template(
            turns,
            chat_template=self.template,
            tools=tools or None,
            add_generation_prompt=True,
            tokenize=False,
        )
        inputs = self.processor(text=[text], images=pictures or None, return_tensors="pt")
        inputs = inputs.to(self.device)
        asked = int(inputs["input_ids"].shape[1])
        room = self.model.config.text_config.max_position_embeddings - asked
        if room <= 0:
            raise UsageError(
                f"a question of {asked} tokens leaves no room in {room + asked}; send fewer or smaller pictures"
            )
        tokens = self.processor.tokenizer

        def spelled(ids: Sequence[int]) -> str:
            return str(tokens.decode(ids, skip_special_tokens=not tools))

        ids: list[int] = []
        until = time.monotonic() + limits.seconds
        finish = "length"
        with self.lock:
            steps = self._steps(inputs, self._matcher(grammar), _chooser(temperature, seed))
            for _, token in zip(range(min(room, limits.tokens)), steps, strict=False):
                if token in self.ends:
                    finish = "stop"
                    ids.append(token)
                    break
                ids.append(token)
                on_token()
                if time.monotonic() > until:
                    raise TimeoutError(f"no answer within {limits.seconds:g} s")
                if limits.stop and any(word in spelled(ids) for word in limits.stop):
                    finish = "stop"
                    break
        written = spelled([token for token in ids if token not in self.ends])
        for word in limits.stop:
            written = written.split(word)[0]
        # A character that is cut off in its middle is not told by a server either.
        text = written.rstrip("\ufffd")
        return _Answer(text=text, asked=asked, answered=len(ids), finish=finish)

    def _matcher(self, grammar: _Grammar | None) -> Any:
        """A fresh matcher: it keeps the state of one answer. None for free text."""
        if grammar is None:
            return None
        import xgrammar

        if grammar.kind == "json":
            # Without blanks: weak models would write them until the limit.
            compiled = self.compiler.compile_json_schema(
                grammar.text, any_whitespace=False, separators=(",", ":")
            )
        else:
            compiled = self.compiler.compile_structural_tag(grammar.text)
        return xgrammar.GrammarMatcher(compiled, override_stop_tokens=sorted(self.ends))

    def _steps(
        self, inputs: Any, matcher: Any, choose: Callable[[torch.Tensor], int]
    ) -> Iterator[int]:
        """Tokens, one forward pass each; `generate` of transformers takes twice the time for a model this small."""
        import torch
        import xgrammar
        from transformers import DynamicCache

        from conservator.restorers.layers.qwen import cache_argument

        vocabulary = self.model.config.text_config.vocab_size
        allowed = xgrammar.allocate_token_bitmask(1, vocabulary) if matcher is not None else None
        seen = torch.zeros(vocabulary, dtype=torch.bool)
        seen[inputs["input_ids"][0].cpu()] = True
        cache = {
            cache_argument(self.model): DynamicCache(config=self.model.config.text_config),
            "use_cache": True,
        }
        # The network keeps the last question's offset of positions, which is wrong for a question without pictures.
        self.model.model.rope_deltas = None
        fed: dict[str, Any] = {**inputs, "logits_to_keep": 1}
        while True:
            with torch.inference_mode():
                output = self.model(**fed, **cache)
                logits = output.logits[0, -1].float().cpu()
                if self.penalty != 1:
                    scaled = torch.where(logits > 0, logits / self.penalty, logits * self.penalty)
                    logits = torch.where(seen, scaled, logits)
                if allowed is not None and not matcher.is_terminated():
                    matcher.fill_next_token_bitmask(allowed)
                    xgrammar.apply_token_bitmask_inplace(logits, allowed[0])
            token = choose(logits)
            if matcher is not None:
                matcher.accept_token(token)
            seen[token] = True
            yield token
            fed = {"input_ids": torch.tensor([[token]], device=self.device)}


def _chooser(temperature: float, seed: int) -> Callable[[torch.Tensor], int]:
    import torch

    if temperature == 0:
        return lambda logits: int(logits.argmax())
    draws = torch.Generator().manual_seed(seed)

    def drawn(logits: torch.Tensor) -> int:
        return int(torch.multinomial((logits / temperature).softmax(0), 1, generator=draws))

    return drawn


def _told(run_manager: CallbackManagerForLLMRun | None) -> Callable[[], None]:
    """Tell callbacks of each token, so that one who waits no longer can stop the work by raising."""
    if run_manager is None:
        return lambda: None
    return lambda: run_manager.on_llm_new_token("")


@lru_cache(maxsize=2)
def _loaded(name: str, device: str, download: bool) -> _Network:
    """Load a model once a process.

    Raises:
        MissingFileError: no such directory, or a hub id that is not in the cache.
        WeightsError: the directory holds something else, or is damaged.
        BackendMissingError: transformers or xgrammar is missing.
    """
    from safetensors import SafetensorError

    from conservator.restorers.layers.qwen import network_of, processor_of
    from conservator.restorers.training.loop import choose_device

    where = choose_device(device)
    folder = Path(name).expanduser()
    source = str(folder) if folder.is_dir() else name
    try:
        import xgrammar

        _, processor = processor_of(source, allow_download=download)
        model = network_of(source, where, allow_download=download)
    except ImportError as error:
        raise BackendMissingError(f"{error}; pip install transformers xgrammar") from error
    except OSError as error:
        if folder.is_dir():
            first = (str(error).splitlines() or [""])[0]
            raise WeightsError(f"{name!r} does not load: {first}") from error
        raise MissingFileError(
            f"no model directory {name!r}, and no such model in the local cache; "
            "give a directory, or fetch it once with CONSERVATOR_OFFLINE=0"
        ) from error
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise WeightsError(f"{name!r} does not load: {first}") from error
    own = str(processor.chat_template or processor.tokenizer.chat_template or "")
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    vocabulary = xgrammar.TokenizerInfo.from_huggingface(
        processor.tokenizer, vocab_size=model.config.text_config.vocab_size
    )
    return _Network(
        model=model,
        processor=processor,
        template=own if "tools" in own else CHAT_TEMPLATE.read_text(encoding="utf-8"),
        device=where,
        ends=frozenset([*listed, processor.tokenizer.eos_token_id]),
        penalty=float(model.generation_config.repetition_penalty or 1.0),
        compiler=xgrammar.GrammarCompiler(vocabulary, max_threads=1),
    )


def _with_calls(text: str, usage: UsageMetadata) -> AIMessage:
    answer = read_answer(text)
    good, bad = [], []
    for name, written in answer.calls:
        given = json.loads(written)
        ident = f"call_{uuid4().hex}"
        if isinstance(given, dict):
            good.append({"name": name, "args": given, "id": ident, "type": "tool_call"})
        else:
            bad.append({"name": name, "args": written, "id": ident, "error": "no object"})
    return AIMessage(answer.content, tool_calls=good, invalid_tool_calls=bad, usage_metadata=usage)
