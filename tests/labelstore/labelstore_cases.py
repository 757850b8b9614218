"""Small stores for the tests of `labelstore`, and the plain arrays that they must equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import labelstore

NUM_SAMPLES, NUM_CLASSES, CHUNK_ROWS = 5_000, 6, 2_048  # three chunks, the last one padded
EPOCHS = (0, 1, 4)
IDENTITY = {"run_id": "run-1", "transform": "plain", "precision": "fp32"}
CLASSES = tuple(f"class {i}" for i in range(NUM_CLASSES))
CHECKPOINTS = {epoch: f"checkpoint-{epoch}" for epoch in range(10)}
LABELS = np.random.default_rng(7).integers(0, NUM_CLASSES, NUM_SAMPLES)


def logits_of(epoch: int) -> np.ndarray:
    """The oracle: float32 (sample, class)."""
    rng = np.random.default_rng([11, epoch])
    return rng.normal(0, 4, (NUM_SAMPLES, NUM_CLASSES)).astype(np.float32)


def new_view(
    path: Path, expert: str = "expert-a", view: str = "plain", *, codec: str = "dense"
) -> labelstore.LabelView:
    store = labelstore.create_store(
        path,
        dataset_id="dataset-1",
        classes=CLASSES,
        num_samples=NUM_SAMPLES,
        chunk_rows=CHUNK_ROWS,
    )
    return store.add_view(expert, view, identity=IDENTITY, codec=codec)


def fill(
    view: labelstore.LabelView,
    epochs: tuple[int, ...] = EPOCHS,
    *,
    rank: int = 0,
    world: int = 1,
    block_rows: int = 700,
) -> int:
    """Writes what is missing of `epochs`; returns the number of blocks written."""
    oracle = {epoch: logits_of(epoch) for epoch in epochs}
    written = 0
    with view.writer(epochs, CHECKPOINTS, rank=rank, world=world, block_rows=block_rows) as writer:
        for start, stop, missing in writer.missing_blocks():
            for epoch in missing:
                writer.write(epoch, start, oracle[epoch][start:stop], LABELS[start:stop])
                written += 1
    return written


def filled(
    path: Path, epochs: tuple[int, ...] = EPOCHS, *, codec: str = "dense"
) -> labelstore.LabelView:
    view = new_view(path, codec=codec)
    fill(view, epochs)
    return view


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` and its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
