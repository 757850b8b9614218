"""Labels learned in seconds, for the tests of learning them."""

from __future__ import annotations

from pathlib import Path

import engine

QUICK = {
    "inner.horizon": 6,
    "inner.window": 3,
    "outer.batch_size": 16,
    "held_out.every": 2,
    "held_out.epochs": 2,
    "checkpoint_every": 2,
}
MODEL = "convnet-d2-w8"


def learn(data: Path, out: Path, **options):
    overrides = QUICK | options.pop("overrides", {})
    given = {"model": MODEL, "ipc": 2, "steps": 4, "overrides": overrides}
    return engine.learn_labels(data, out, **{**given, **options})


def stored(folder: Path) -> dict[str, bytes]:
    """All files that say nothing of how long something took."""
    return {
        str(f.relative_to(folder)): f.read_bytes()
        for f in sorted(folder.rglob("*"))
        if f.is_file() and f.suffix in (".npz", ".safetensors")
    }
