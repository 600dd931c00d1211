"""A vLLM server of one's own: start it, find it again, stop exactly it.

vLLM lives in an environment of its own (it pins its own torch), so it is started as a process and spoken to over HTTP. A
started server is noted in the user's state folder with its process id and start time; the agent looks there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conservator.agent.settings import state_folder
from conservator.agent.vlm import embedded
from conservator.agent.vlm.endpoint import healthy
from conservator.agent.vlm.hermes import CHAT_TEMPLATE
from conservator.restorers.errors import (
    BackendMissingError,
    MissingFileError,
    OutputError,
    UsageError,
)

if TYPE_CHECKING:
    from conservator.agent.settings import Settings

__all__ = [
    "DEFAULT_MODEL",
    "EMBEDDED",
    "ServeOptions",
    "Server",
    "command_of",
    "environment_of",
    "running_server",
    "start",
    "stop",
]

DEFAULT_MODEL: Final = "Qwen/Qwen2.5-VL-7B-Instruct"
"""What is served, and loaded as `local`, when no model is named."""

EMBEDDED: Final = "conservator-embedded"
"""The embedded model's name, in records and behind a server."""

_RECORD: Final = "server.json"
_LOG: Final = "server.log"
_POLL_S: Final = 0.5
_GRACE_S: Final = 20.0
_STRUCTURED: Final = '{"backend":"xgrammar","disable_any_whitespace":true}'


_children: Final[dict[int, subprocess.Popen[bytes]]] = {}
"""Servers that this process started: they outlive it, or are waited for when it stops them."""


@dataclass(frozen=True)
class Server:
    """A server that this user started.

    Attributes:
        url: where it answers, with `/v1`.
        model: the name to ask for.
        pid: its process.
        started: that process's start time as the system tells it; process ids are used again, the pair is not.
        command: what was run.
        log: the file with what it says.
    """

    url: str
    model: str
    pid: int
    started: str
    command: tuple[str, ...]
    log: str


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to serve.

    Attributes:
        model: a hub id, a directory, or `embedded`.
        name: what it is called in requests; None for the model as it was given.
        vllm: a `vllm` command, or the Python of the environment that has vLLM; None to look for one.
        host: address to listen on.
        port: port to listen on.
        tensor_parallel: GPUs that share the model.
        max_model_len: longest question and answer in tokens; None for a fitting one.
        max_num_seqs: questions answered at once.
        gpu_memory: share of a GPU's memory to use; None for vLLM's own.
        dtype: `auto`, `bfloat16`, `float16`, `float32`.
        cpu: for a build of vLLM for CPUs.
        download: fetch the model if it is not in the local cache.
        extra: more arguments for vLLM, as they are.
    """

    model: str
    name: str | None = None
    vllm: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    tensor_parallel: int = 1
    max_model_len: int | None = None
    max_num_seqs: int = 8
    gpu_memory: float | None = None
    dtype: str = "auto"
    cpu: bool = False
    download: bool = False
    extra: tuple[str, ...] = field(default=())

    @property
    def served_name(self) -> str:
        """What the model is called in requests."""
        if self.name is not None:
            return self.name
        return EMBEDDED if self.model == "embedded" else self.model


def command_of(options: ServeOptions) -> list[str]:
    """The command line that serves.

    Raises:
        BackendMissingError: no vLLM is found, or no embedded model.
        MissingFileError: the model is not here and may not be fetched.
    """
    source, known_template = _source(options)
    length = options.max_model_len or (4096 if options.model == "embedded" else 16384)
    command = [
        *_launcher(options.vllm, source),
        *("--served-model-name", options.served_name),
        *("--host", options.host),
        *("--port", str(options.port)),
        *("--dtype", "float32" if options.cpu and options.dtype == "auto" else options.dtype),
        *("--max-model-len", str(length)),
        *("--max-num-seqs", str(options.max_num_seqs)),
        *("--limit-mm-per-prompt", '{"image":16,"video":0}'),
        "--enable-prefix-caching",
        "--enable-auto-tool-choice",
        *("--tool-call-parser", "hermes"),
        *("--tool-strict-level", "parameter"),
        *("--structured-outputs-config", _STRUCTURED),
    ]
    if not known_template:
        command += ["--chat-template", str(CHAT_TEMPLATE)]
    if options.tensor_parallel > 1:
        command += ["--tensor-parallel-size", str(options.tensor_parallel)]
    if options.gpu_memory is not None:
        command += ["--gpu-memory-utilization", str(options.gpu_memory)]
    if options.cpu:
        command += ["--enforce-eager"]
    return [*command, *options.extra]


def environment_of(options: ServeOptions) -> dict[str, str]:
    """The variables a server is started with, on top of this process's own."""
    chosen = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if options.cpu:
        room = "1" if options.model == "embedded" else "4"
        chosen |= {"VLLM_CPU_KVCACHE_SPACE": room, "VLLM_WORKER_MULTIPROC_METHOD": "fork"}
    # What is set already is the user's own choice; on downloads the option has the last word.
    kept = {name: value for name, value in chosen.items() if name not in os.environ}
    return kept | {"HF_HUB_OFFLINE": "0" if options.download else "1"}


def start(
    options: ServeOptions,
    settings: Settings,
    *,
    timeout_s: float = 900.0,
    on_started: Callable[[Sequence[str], Path], None] = lambda command, log: None,
    on_wait: Callable[[float], None] = lambda seconds: None,
) -> Server:
    """Start a server, wait until it is healthy, and note it where the agent looks.

    Args:
        options: what and how to serve.
        settings: the user's; they say where to note it.
        timeout_s: a server that is not healthy by then is stopped again.
        on_started: told the command and the log as soon as the process runs.
        on_wait: told the seconds waited, now and then.

    Raises:
        UsageError: one is running already, or something else answers at that port.
        BackendMissingError: no vLLM is found, or it ended or was not healthy in time.
        MissingFileError: the model is not here and may not be fetched.
        OutputError: the note or the log cannot be written.
    """
    running = running_server(settings)
    if running is not None:
        raise UsageError(
            f"a server runs already at {running.url} (process {running.pid}); "
            "stop it with `conservator vlm stop`"
        )
    url = f"http://{_reachable(options.host)}:{options.port}/v1"
    if healthy(url, timeout_s=1.0):
        raise UsageError(f"something answers at {url} already; give another --port")
    command = command_of(options)
    folder = _folder(settings)
    log = folder / _LOG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = log.open("wb")
    except OSError as error:
        raise OutputError(
            f"cannot write {str(log)!r}: {error.strerror or error}; set CONSERVATOR_STATE_DIR"
        ) from error
    try:
        with stream:
            process = subprocess.Popen(
                command,
                env=os.environ | environment_of(options),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in this terminal is not meant for it, and its workers can be found.
                start_new_session=True,
            )
    except OSError as error:
        raise OutputError(f"cannot start {command[0]!r}: {error.strerror or error}") from error
    _children[process.pid] = process
    on_started(command, log)
    server = Server(
        url=url,
        model=options.served_name,
        pid=process.pid,
        started=_start_time(process.pid),
        command=tuple(command),
        log=str(log),
    )
    try:
        _note(server, folder)
        _wait(process, server, timeout_s, on_wait)
    except BaseException:
        stop(settings, server)
        raise
    return server


def running_server(settings: Settings) -> Server | None:
    """The server this user started, if its process still lives."""
    path = _folder(settings) / _RECORD
    try:
        data = json.loads(path.read_bytes())
        server = Server(**{**data, "command": tuple(data["command"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return server if _alive(server) else None


def stop(settings: Settings, server: Server | None = None) -> Server | None:
    """Stop the server this user started, and the workers it started; returns it, or None when none runs."""
    server = server or running_server(settings)
    record = _folder(settings) / _RECORD
    if server is None:
        record.unlink(missing_ok=True)
        return None
    _signal(server, signal.SIGTERM)
    until = time.monotonic() + _GRACE_S
    while _alive(server) and time.monotonic() < until:
        time.sleep(0.1)
    # Its workers are in its session, and nothing else is: whatever is left of it ends with it.
    _signal_session(server.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    child = _children.pop(server.pid, None)
    if child is not None:
        child.wait()
    record.unlink(missing_ok=True)
    return server


def _wait(
    process: subprocess.Popen[bytes],
    server: Server,
    timeout_s: float,
    on_wait: Callable[[float], None],
) -> None:
    """Wait for health.

    Raises:
        BackendMissingError: the process ended, or time is up.
    """
    began = time.monotonic()
    while not healthy(server.url, timeout_s=2.0):
        waited = time.monotonic() - began
        if process.poll() is not None:
            raise BackendMissingError(
                f"vLLM ended with code {process.returncode}: {_last_words(Path(server.log))}"
            )
        if waited > timeout_s:
            raise BackendMissingError(
                f"vLLM was not ready within {timeout_s:.0f} s; see {server.log}, "
                "or give it longer with --timeout"
            )
        on_wait(waited)
        time.sleep(_POLL_S)


def _last_words(log: Path) -> str:
    """Why a server ended, as its log tells."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "Failed to infer device type" in text:
        return (
            f"it found no GPU; use one, a build of vLLM for CPUs with --cpu, or --vlm embedded "
            f"({log})"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "error:" in line]
    said = (errors or lines or ["it said nothing"])[-1]
    return f"{said[-300:]} ({log})"


def _source(options: ServeOptions) -> tuple[str, bool]:
    """The model for vLLM, and whether its own chat template knows tools."""
    if options.model == "embedded":
        if reason := embedded.missing():
            raise BackendMissingError(f"the embedded model cannot be served: {reason}")
        return str(embedded.MODEL), True
    folder = Path(options.model).expanduser()
    if folder.is_dir():
        return str(folder), _knows_tools(folder)
    cached = _cached(options.model)
    if cached is not None:
        return options.model, _knows_tools(cached)
    if not options.download:
        raise MissingFileError(
            f"no model directory {options.model!r}, and no such model in the local cache; "
            "fetch it with --download"
        )
    return options.model, "qwen2.5-vl" not in options.model.lower()


def _cached(name: str) -> Path | None:
    """The folder of a hub id in the local cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def _knows_tools(folder: Path) -> bool:
    names = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
    templates = [folder / name for name in names if (folder / name).is_file()]
    # The first of them is the one that is used.
    return bool(templates) and "tools" in templates[0].read_text(encoding="utf-8")


def _launcher(given: str | None, source: str) -> list[str]:
    """How vLLM's server for a model is called.

    Raises:
        BackendMissingError: it is not to be found.
    """
    module = ["-m", "vllm.entrypoints.openai.api_server", "--model", source]
    found = shutil.which(given or "vllm")
    if found is None and given is None and find_spec("vllm") is not None:
        return [sys.executable, *module]
    if found is None:
        what = f"no executable {given!r}" if given else "vLLM is not installed here"
        raise BackendMissingError(
            f"{what}; install it in an environment of its own (Linux with a GPU: pip install vllm) "
            "and name its `vllm` or its Python with --vllm or CONSERVATOR_VLLM"
        )
    # The console script of some builds cannot find its own metadata, and a Python is as good a name.
    if Path(found).name.startswith("python"):
        return [found, *module]
    return [found, "serve", source]


def _reachable(host: str) -> str:
    """Where a server that listens on `host` is spoken to."""
    return "127.0.0.1" if host in ("0.0.0.0", "") else host


def _folder(settings: Settings) -> Path:
    return state_folder(settings) / "vlm"


def _note(server: Server, folder: Path) -> None:
    part = folder / f"{_RECORD}.part"
    part.write_text(json.dumps(asdict(server), indent=1), encoding="utf-8")
    part.replace(folder / _RECORD)


def _start_time(pid: int) -> str:
    """When a process started, in a form that tells it from a later one with its number; "" when it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        # Fields 3 (state) and 22 (start time, ticks since boot) of proc_pid_stat(5); a zombie has ended.
        return "" if fields[0] == "Z" else fields[19]
    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def _alive(server: Server) -> bool:
    return bool(server.started) and _start_time(server.pid) == server.started


def _signal(server: Server, number: int) -> None:
    if _alive(server):
        os.kill(server.pid, number)


def _signal_session(pid: int, number: int) -> None:
    """Signal what is left of the session that a server led."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
