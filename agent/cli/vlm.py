"""`conservator vlm`: a vLLM server of one's own, from start to stop."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from conservator.agent.cli.console import bar, columns, emit, emit_json, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.options import Command, above, json_option

__all__ = ["vlm"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def vlm() -> None:
    """Serve a vision-language model with vLLM.

    A running server is what `--vlm served` asks, and `--vlm auto` too.
    """


@vlm.command(cls=Command)
@click.argument("model", metavar="[MODEL]", required=False)
@click.option(
    "--vllm",
    metavar="PATH",
    help="The vllm command, or the Python of its environment. Default: CONSERVATOR_VLLM, else vllm on the PATH.",
)
@click.option("--name", metavar="NAME", help="What the model is called in requests.")
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Listen on."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Listen on."
)
@click.option(
    "--tensor-parallel",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="GPUs that share the model.",
)
@click.option(
    "--max-model-len",
    metavar="N",
    type=click.IntRange(min=256),
    help="Longest question with its answer, in tokens. Default: 16384, of the embedded model 4096.",
)
@click.option(
    "--max-num-seqs",
    metavar="N",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Questions answered at once.",
)
@click.option(
    "--gpu-memory",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of a GPU's memory to use. Default: vLLM's.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "bfloat16", "float16", "float32"]),
    default="auto",
    show_default=True,
    help="Numbers to compute with.",
)
@click.option("--cpu", is_flag=True, help="For a build of vLLM for CPUs.")
@click.option("--download", is_flag=True, help="Fetch the model if it is not in the local cache.")
@click.option(
    "--timeout",
    metavar="S",
    type=float,
    callback=above(0),
    default=900,
    show_default=True,
    help="Give up when it is not ready after so many seconds.",
)
@click.option(
    "--vllm-arg",
    "extra",
    metavar="ARG",
    multiple=True,
    help="One more argument for vLLM, as it is; any number of times.",
)
def serve(
    model: str | None,
    vllm: str | None,
    name: str | None,
    host: str,
    port: int,
    tensor_parallel: int,
    max_model_len: int | None,
    max_num_seqs: int,
    gpu_memory: float | None,
    dtype: str,
    cpu: bool,
    download: bool,
    timeout: float,
    extra: tuple[str, ...],
) -> None:
    """Start a server, wait until it is ready, and write its URL to stdout.

    MODEL is a hub id, a directory, or `embedded` for the model of this package. Default: Qwen/Qwen2.5-VL-7B-Instruct.
    vLLM is not installed with this package; it takes an environment of its own.
    """
    from conservator.agent.settings import load_settings
    from conservator.agent.vlm import serve as serving

    settings = load_settings()
    options = serving.ServeOptions(
        model=model or settings.vlm_model or serving.DEFAULT_MODEL,
        name=name,
        vllm=vllm or settings.vllm,
        host=host,
        port=port,
        tensor_parallel=tensor_parallel,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        gpu_memory=gpu_memory,
        dtype=dtype,
        cpu=cpu,
        download=download,
        extra=extra,
    )
    with bar() as shown:

        def started(command: Sequence[str], log: Path) -> None:
            variables = [f"{k}={v}" for k, v in serving.environment_of(options).items()]
            say(f"running: {shlex.join([*variables, *command])}")
            say(f"log: {log}")
            shown.stage("starting vLLM")

        server = serving.start(options, settings, timeout_s=timeout, on_started=started)
    say(f"{server.model} is ready, process {server.pid}; stop it with: conservator vlm stop")
    emit(server.url)


@vlm.command(cls=Command)
@json_option
def status(as_json: bool) -> ExitCode:
    """Tell whether a server runs.

    Exit code 3 when none does, or when it does not answer.
    """
    from conservator.agent.settings import load_settings
    from conservator.agent.vlm.endpoint import healthy
    from conservator.agent.vlm.serve import running_server

    server = running_server(load_settings())
    answers = server is not None and healthy(server.url)
    found = {
        "running": server is not None,
        "healthy": answers,
        "url": server.url if server else None,
        "model": server.model if server else None,
        "pid": server.pid if server else None,
        "command": list(server.command) if server else [],
        "log": server.log if server else None,
    }
    if as_json:
        emit_json(found)
    elif server is None:
        emit("no server runs; start one with: conservator vlm serve")
    else:
        state = "ready" if answers else "does not answer (starting, or stuck; see the log)"
        rows = [("url", server.url), ("model", server.model), ("state", state)]
        rows += [("process", str(server.pid)), ("log", server.log)]
        for line in columns([*rows, ("command", shlex.join(server.command))], indent=""):
            emit(line)
    return ExitCode.DONE if answers else ExitCode.BACKEND_MISSING


@vlm.command(cls=Command)
def stop() -> None:
    """Stop the server that `conservator vlm serve` started, and no other process."""
    from conservator.agent.settings import load_settings
    from conservator.agent.vlm import serve as serving

    server = serving.stop(load_settings())
    if server is None:
        say("no server runs")
    else:
        say(f"stopped process {server.pid}, which served {server.model} at {server.url}")
