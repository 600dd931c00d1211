"""Clean photos must come back as they are: bit-identical, or at least 45 dB to themselves.

python -m conservator.evals.clean_unchanged --images DIR [--policy balanced] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from conservator.agent.api import restore
from conservator.evals.cases import image_paths, read_rgb
from conservator.evals.fidelity import fidelity
from conservator.evals.restorer_table import machine

__all__ = ["FLOOR_DB", "main"]

FLOOR_DB = 45.0


def main() -> int:
    """Run, print a line for each photo that changed and the count; 1 when one fell below the floor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for path in image_paths(options.images):
        clean = read_rgb(path)
        result = restore(np.round(clean * 255).astype(np.uint8), policy=options.policy)
        psnr = fidelity(result.array, clean).psnr
        found = [f"{f.kind}:{f.value:.3g}@{f.confidence:.2f}" for f in result.before.present()]
        rows.append(
            {"image": path.name, "psnr": round(psnr, 2), "outcome": result.outcome, "found": found}
        )
        sys.stderr.write(json.dumps(rows[-1]) + "\n")
    kept = sum(row["psnr"] >= FLOOR_DB for row in rows)
    sys.stdout.write(f"{kept} of {len(rows)} unchanged (at least {FLOOR_DB:g} dB to themselves)\n")
    if options.out:
        record = {"machine": machine(), "policy": options.policy, "unchanged": kept, "rows": rows}
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0 if kept == len(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
