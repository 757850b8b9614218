"""The same labels in another codec, beside those that are there.

In: a store with dense labels. Out: the same epochs in another codec, written block by block, so
that memory does not grow and a stopped conversion resumes. Statistics and crop boxes are copied:
they describe the expert, not the code. Labels in any other codec are refused: what it lost would
pass for what the expert said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .codecs import DENSE, codec_named
from .errors import BadArgument, EpochNotDumped
from .store import open_store
from .view import LabelView

Progress = Callable[[str, int, int], None]


def convert_labels(
    path: str | Path,
    codec: str,
    *,
    expert: str | None = None,
    view: str = "plain",
    epochs: Sequence[int] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the dense labels of `expert` under `view` in `codec` too.

    epochs: all complete ones by default.
    Returns {"status", "store", "expert", "view", "codec", "epochs_written", "bytes_per_sample",
    "table": [{"epoch", "max_abs", "kl_mean", "kl_worst", "against"}]}; the errors are against what
    was read, float16 logits. Raises EpochNotDumped, ViewNotFound (there are no dense labels, or not
    of that name), BadArgument, StoreFull.
    """
    store = open_store(path)
    source = store.view(expert, view, DENSE.name)
    if codec_named(codec) == DENSE:
        raise BadArgument(
            f"{source.folder}: its labels are dense already; give another --codec, such as "
            "quantised:8"
        )
    wanted = list(source.epochs) if epochs is None else sorted(set(epochs))
    for epoch in wanted:
        if epoch not in source.epochs:
            raise EpochNotDumped(
                f"{source.folder}: epoch {epoch} is not complete; write it with "
                f"`{source.dump_command([epoch])}`"
            )
    named = source.expert, source.name
    there = store.view(*named, codec).epochs if codec in store.codecs(*named) else ()
    missing = [epoch for epoch in wanted if epoch not in there]
    answer: dict[str, Any] = {
        "store": str(path),
        "expert": source.expert,
        "view": source.name,
        "codec": codec,
    }
    if dry_run:
        return {"plan": "convert-labels", **answer, "epochs": wanted, "epochs_missing": missing}
    target = store.add_view(*named, identity=source.identity, codec=codec, crops=source.crops)
    checkpoints = {epoch: source.checkpoint_id(epoch) for epoch in wanted}
    target.prepare(wanted, checkpoints, {epoch: source.about(epoch) for epoch in wanted})
    if missing:
        _copy(source, target, missing, progress or _silent)
    return {
        "status": "converted" if missing else "finished already",
        **answer,
        "epochs_written": missing,
        "bytes_per_sample": target.geometry.rows.row_bytes,
        "table": [{"epoch": epoch, **target.codec_error(epoch)} for epoch in target.epochs],
    }


def _copy(source: LabelView, target: LabelView, epochs: Sequence[int], progress: Progress) -> None:
    total = source.geometry.num_samples * len(epochs)
    checkpoints = {epoch: source.checkpoint_id(epoch) for epoch in epochs}
    with target.writer(epochs, checkpoints) as writer:
        for start, stop, missing in writer.missing_blocks():
            rows = range(start, stop)
            for number, epoch in enumerate(missing):
                writer.write_stored(
                    epoch,
                    start,
                    source.read(epoch, rows),
                    source.entropy(epoch, rows),
                    source.cross_entropy(epoch, rows),
                    source.crop_boxes(epoch, rows) if source.crops else None,
                )
                progress("convert labels", start * len(epochs) + (stop - start) * number, total)
    progress("convert labels", total, total)


def _silent(stage: str, done: int, total: int) -> None:
    return None
