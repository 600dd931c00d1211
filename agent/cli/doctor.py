"""`conservator doctor`: what is here, what is not, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import conservator
from conservator.agent.cli.console import bar, columns, emit, emit_json
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.options import Command, json_option

__all__ = ["doctor"]

_PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "open_clip_torch",
    "pyiqa",
    "langgraph",
    "langgraph-checkpoint-sqlite",
    "langchain-core",
    "langchain-openai",
    "xgrammar",
    "pydantic",
    "textual",
    "numpy",
    "pillow",
    "scikit-image",
    "opencv-python-headless",
    "imagecodecs",
    "vllm",
)
_OPTIONAL = ("vllm",)


@click.command(cls=Command)
@json_option
def doctor(as_json: bool) -> ExitCode:
    """Check this installation.

    Versions, device, memory, weights and their checksums, metrics that can run, licences. Exit code 1 when shipped weights are missing or damaged, 3 when a package is missing.
    """
    import platform

    with bar() as shown:
        shown.stage("looking")
        found: dict[str, Any] = {
            "conservator": conservator.__version__,
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "packages": {name: _version(name) for name in _PACKAGES},
            "device": _device(),
            "memory_gib": _memory(),
            "settings": _settings(),
            "vlm": _vlm(),
            "weights": _weights(),
            "metrics": _metrics(),
            "licences": _licences(),
        }
    damaged = [w for w in found["weights"] if w["state"] in ("missing", "damaged")]
    missing = [n for n, v in found["packages"].items() if v is None and n not in _OPTIONAL]
    found["problems"] = [
        *(f"weights of {w['of']} ({w['file']}) are {w['state']}; install again" for w in damaged),
        *(f"package {name} is missing; pip install {name}" for name in missing),
        *((found["vlm"]["problem"],) if found["vlm"]["problem"] else ()),
    ]
    if as_json:
        emit_json(found)
    else:
        _print(found)
    if damaged:
        return ExitCode.FAILED
    return ExitCode.BACKEND_MISSING if missing else ExitCode.DONE


def _version(package: str) -> str | None:
    # Costs every other command a tenth of a second when imported above.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device() -> dict[str, Any]:
    from conservator.restorers.training.loop import choose_device, supports_bf16

    try:
        import torch
    except ImportError as error:
        return {"auto": None, "why": str(error)}
    chosen = choose_device("auto")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "auto": str(chosen),
        "gpus": gpus,
        "cpu_cores": cores,
        "torch_threads": torch.get_num_threads(),
        "native_bfloat16": supports_bf16(chosen),
    }


def _memory() -> dict[str, float | None]:
    """Total and available memory of the machine, GiB."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {"total": None, "available": None}
    kib = {
        name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
    }
    return {
        "total": round(kib["MemTotal"] / 2**20, 1),
        "available": round(kib.get("MemAvailable", kib["MemFree"]) / 2**20, 1),
    }


def _settings() -> dict[str, Any]:
    from conservator.agent.settings import load_settings

    return load_settings().model_dump(mode="json")


def _vlm() -> dict[str, Any]:
    """Who would take the vision-language model's seat, and what there is to take it."""
    from conservator.agent.errors import ConservatorError
    from conservator.agent.settings import load_settings, settings_file
    from conservator.agent.vlm import embedded
    from conservator.agent.vlm.endpoint import base_url, served_models
    from conservator.agent.vlm.opening import resolved_spec
    from conservator.agent.vlm.serve import running_server

    settings = load_settings()
    key = settings.vlm_api_key.get_secret_value() if settings.vlm_api_key else None
    server = running_server(settings)
    url = settings.vlm_url or (server.url if server else None)
    file = settings_file()
    found: dict[str, Any] = {
        "chosen": None,
        "embedded": embedded.missing() or "ok",
        "server": url,
        "models": [],
        "settings_file": str(file) if file.is_file() else None,
        "problem": None,
    }
    try:
        found["chosen"] = resolved_spec("auto", settings)
        if url is not None:
            found["models"] = list(served_models(base_url(url), api_key=key))
    except ConservatorError as error:
        found["problem"] = str(error)
    return found


def _weights() -> list[dict[str, Any]]:
    """Every file of weights that ships, and whether it is what its card says."""
    from conservator.restorers import catalog
    from conservator.restorers.weights import PACKAGED, checksum
    from conservator.tools import gain
    from conservator.tools.gain.predictor import GainPredictor
    from conservator.tools.instruments import estimator
    from conservator.tools.instruments.estimator.predictor import Predictor

    rows = []
    for card in catalog.cards().values():
        for size, chosen in card.configurations.items():
            if chosen.weights is None:
                if chosen.parameters_m or size == "paper":
                    rows.append(_row(f"{card.name} {size}", None, "not shipped", None))
                continue
            path = PACKAGED / chosen.weights
            digest = checksum(path) if path.is_file() else None
            state = "missing" if digest is None else "damaged"
            if digest is not None and chosen.sha256 in (None, digest):
                state = "ok" if chosen.sha256 else "not verified"
            rows.append(_row(f"{card.name} {size}", chosen.weights, state, digest))
    rows.append(_tool_row("estimator", estimator.WEIGHTS, Predictor.from_weights))
    rows.append(_tool_row("gain", gain.WEIGHTS, GainPredictor.from_weights))
    return rows


def _tool_row(of: str, path: Path, load: Callable[[Path], object]) -> dict[str, Any]:
    """A tool's network has no card with a checksum: its file is whole when it loads."""
    from conservator.agent.errors import WeightsError
    from conservator.restorers.weights import checksum

    if not path.is_file():
        return _row(of, path.name, "missing", None)
    try:
        load(path)
    except WeightsError:
        return _row(of, path.name, "damaged", checksum(path))
    return _row(of, path.name, "ok", checksum(path))


def _row(of: str, file: str | None, state: str, digest: str | None) -> dict[str, Any]:
    return {"of": of, "file": file, "state": state, "sha256": digest}


def _metrics() -> list[dict[str, Any]]:
    from conservator.tools import iqa

    ready = iqa.available()
    return [
        {
            "name": name,
            "ready": ready[name].ready,
            "why": ready[name].why,
            "needs_reference": card.needs_reference,
            "licence": card.licence,
            "commercial_use": card.commercial_use,
        }
        for name, card in iqa.METRICS.items()
    ]


def _licences() -> list[str]:
    """What a user must know before using results commercially."""
    from conservator.restorers import catalog
    from conservator.tools import iqa

    closed = [name for name, card in iqa.METRICS.items() if not card.commercial_use]
    notes = [
        "conservator: Apache-2.0",
        f"pyiqa: non-commercial use only (PolyForm Noncommercial 1.0.0, S-Lab 1.0); metrics: {', '.join(closed)}",
    ]
    for card in catalog.cards().values():
        if not card.commercial_use:
            notes.append(f"restorer {card.name}: {card.licence}, no commercial use")
    return notes


def _print(found: dict[str, Any]) -> None:
    device, memory = found["device"], found["memory_gib"]
    emit(f"conservator {found['conservator']}, Python {found['python']}, {found['platform']}")
    gpus = ", ".join(device.get("gpus", ())) or "no GPU"
    emit(
        f"device: {device['auto']} ({gpus}; {device.get('cpu_cores')} CPU cores, "
        f"{device.get('torch_threads')} threads)"
    )
    emit(f"memory: {memory['total']} GiB, {memory['available']} available")
    emit("packages")
    _table((name, number or "not installed") for name, number in found["packages"].items())
    emit("weights")
    _table(
        (w["of"], w["state"], w["file"] or "", (w["sha256"] or "")[:12]) for w in found["weights"]
    )
    emit("metrics")
    _table(
        (m["name"], "ready" if m["ready"] else f"not ready: {m['why']}") for m in found["metrics"]
    )
    seat = found["vlm"]
    emit("vision-language model")
    served = f"{seat['server']}: {', '.join(seat['models']) or 'no answer'}"
    _table(
        [
            ("chosen", str(seat["chosen"])),
            ("embedded", seat["embedded"]),
            ("server", served if seat["server"] else "none; start one with: conservator vlm serve"),
        ]
    )
    emit(f"settings (CONSERVATOR_*, or {seat['settings_file'] or 'a settings file'})")
    _table((name, str(value)) for name, value in found["settings"].items())
    emit("licences")
    for note in found["licences"]:
        emit(f"  {note}")
    for problem in found["problems"]:
        emit(f"problem: {problem}")
    if not found["problems"]:
        emit("all is well")


def _table(rows: Any) -> None:
    for line in columns(list(rows)):
        emit(line)
