"""What a result was measured with: versions, revision, weights, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["data_fingerprint", "provenance"]

_ROOTS = ("agent", "policies", "restorers", "tools")
_DATA = {".safetensors", ".npz", ".yaml", ".yml", ".txt", ".json", ".sqlite"}
_PACKAGES = (
    "conservator",
    "torch",
    "numpy",
    "scikit-image",
    "opencv-python-headless",
    "pyiqa",
    "pillow",
)


def provenance() -> dict[str, Any]:
    """JSON data about this installation and machine."""
    return {
        "versions": {"python": platform.python_version()} | {n: _version(n) for n in _PACKAGES},
        "revision": _revision(),
        "data": data_fingerprint(),
        "weights": _weights(),
        "hardware": _hardware(),
        "allocator": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


@cache
def data_fingerprint() -> str:
    """sha256 over what is not code but decides results: weights, calibrations, policies, prompts."""
    import conservator

    digest = hashlib.sha256()
    base = Path(conservator.__file__).parent
    for root in _ROOTS:
        folder = (base / root).resolve()
        for path in sorted(p for p in folder.rglob("*") if p.suffix in _DATA and p.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _revision() -> str:
    """Of the source tree, with `+` when it was changed; "" for an installed package."""
    folder = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
    except OSError:
        return ""
    return head.stdout.strip() if head.returncode == 0 else ""


def _weights() -> dict[str, str]:
    from conservator.restorers import catalog

    found = {}
    for name, card in catalog.cards().items():
        for size, configuration in card.configurations.items():
            if configuration.sha256:
                found[f"{name}/{size}"] = configuration.sha256
    return found


def _hardware() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
