"""The command that writes labels, for messages that say what to type next.

Those of an expert come from `engine dump-labels`. Imported and derived ones have no run that could
be dumped again: their identity has a `source`, whose kind tells which command made them.
"""

from __future__ import annotations

from pathlib import Path

from .codecs import DENSE


def writing_command(
    store: Path,
    epochs: str,
    *,
    expert: str,
    view: str = "plain",
    codec: str = DENSE.name,
    source_kind: str | None = None,
) -> str:
    """What writes these labels; words in capitals and … are for the reader to fill in.

    epochs: as the command line takes them. source_kind: of imported labels, see `import_labels`;
    None for those of an expert.
    """
    coded = "" if codec == DENSE.name else f" --codec {codec}"
    if source_kind is None:
        seen = "" if view == "plain" else f" --view {view}"
        place = f"--data DATA --expert RUN --out {store}"
        return f"engine dump-labels {place}{seen}{coded} --epochs {epochs}"
    place = f"--out {store} --expert {expert}{coded}"
    if source_kind == "teacher":
        return f"engine derive-labels --data DATA {place} …"
    epoch = epochs if epochs.isdigit() else "EPOCH"
    return f"engine import-labels --data DATA --source FILE {place} --epoch {epoch}"
