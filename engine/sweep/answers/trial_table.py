"""Every trial of a sweep as one flat, typed row, kept in SWEEP/results.parquet.

In: ``trials/*/*.json``, which stay the only truth. Out: a table with a column for whatever the
records say; no key of a cell is known here by name, so an axis that a sweep gains becomes a column.

| In the record | Columns |
|---|---|
| ``id``, ``status``, ``error``, ``images_per_second``, ``protocol`` | as named |
| every key of ``cell`` and of ``seeds`` | as named: ``ipc``, ``expert_epoch``, ``subset_seed``, … |
| ``result`` | ``final_test``, ``selected_validation``, ``max_on_test``, ``test_per_class``, … |
| ``student``, ``seconds``, ``environment``, ``parents``, … | ``student_lr``, ``parent_codec``, … |
| any other key | ``record_KEY`` |

Accuracies are fractions from 0 to 1; lists are their JSON; the curve of evaluations stays in the
record. A damaged record is a row too, of status ``damaged``, with the reason as its error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from engine.errors import ArtefactError
from engine.records import write_bytes
from engine.sweep.ledger import Ledger

FILE = "results.parquet"
LAYOUT = b"2"
"""Of the columns; a file that says another one, or none, is written anew."""

TEXT, NUMBER, COUNT = pa.string(), pa.float64(), pa.int64()
TIME = pa.timestamp("us")
"""The finest that Python's datetime has: pyarrow reads nanoseconds with pandas alone."""

_KNOWN: dict[str, tuple[str, pa.DataType]] = {
    "id": ("trial", TEXT),
    "status": ("trial", TEXT),
    "ipc": ("cell", COUNT),
    "labels": ("cell", TEXT),
    "expert": ("cell", TEXT),
    "expert_epoch": ("cell", COUNT),
    "final_test": ("result", NUMBER),
    "final_validation": ("result", NUMBER),
    "final_epoch": ("result", COUNT),
    "selected_test": ("result", NUMBER),
    "selected_validation": ("result", NUMBER),
    "selected_epoch": ("result", COUNT),
    "max_on_test": ("result", NUMBER),
    "max_on_test_epoch": ("result", COUNT),
    "train_loss": ("result", NUMBER),
    "images_per_second": ("seconds", NUMBER),
    "protocol": ("parents", COUNT),
    "error": ("record", TEXT),
    "recorded_at": ("record", TIME),
    "record_bytes": ("record", COUNT),
}
"""Columns that every table has, empty or not, first in their section; with section and type."""

_PREFIXES = {"cell": "", "seeds": "", "result": "", "parents": "parent_"} | {
    section: f"{section}_" for section in ("seconds", "student", "teacher", "scorer", "environment")
}
_SECTIONS = (
    "trial",
    "cell",
    "seeds",
    "result",
    "seconds",
    "student",
    "teacher",
    "scorer",
    "environment",
    "parents",
    "record",
)

Row = dict[str, Any]
Sections = dict[str, str]  # name of a column → the part of the record that it comes from
Stamps = dict[str, tuple[int, int]]  # trial id → when its record was written (µs), and its size


def read_trial_table(sweep: str | Path) -> pa.Table:
    """Every trial of a sweep, one row each, sorted by id.

    ``results.parquet`` is written anew when records came, went or changed (told by name, time and
    size), or when its bytes don't match the checksum beside it; where records only came, no other
    is read again. A folder that can't be written to costs the file, not the answer.

    Returns:
        a table; the metadata of each field names its ``section`` of the record.

    Raises:
        ArtefactError: no sweep lies there. DamageError: its head is damaged.
    """
    ledger = Ledger(sweep)
    ledger.head()
    stamps = _stamps(ledger.path / "trials")
    kept = _read_kept(ledger.path / FILE)
    known = {} if kept is None else _stamps_of(kept)
    if kept is not None and known == stamps:
        return kept
    table = None
    if kept is not None and known.items() <= stamps.items():
        new = {trial: stamp for trial, stamp in stamps.items() if trial not in known}
        table = _joined(kept, _build(ledger, new))
    if table is None:
        table = _build(ledger, stamps)
    with contextlib.suppress(ArtefactError):
        _keep(table, ledger.path / FILE)
    return table


def section_of(table: pa.Table, column: str) -> str:
    """The part of the record that a column comes from: cell, seeds, student, …"""
    metadata = table.schema.field(column).metadata or {}
    return metadata.get(b"section", b"record").decode()


def _stamps(trials: Path) -> Stamps:
    found = {}
    folders = (
        [entry.path for entry in os.scandir(trials) if entry.is_dir()] if trials.is_dir() else []
    )
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                about = entry.stat()
                found[entry.name.removesuffix(".json")] = (about.st_mtime_ns // 1000, about.st_size)
    return found


def _stamps_of(table: pa.Table) -> Stamps:
    times = table["recorded_at"].cast(COUNT).to_pylist()
    pairs = zip(times, table["record_bytes"].to_pylist(), strict=True)
    return dict(zip(table["id"].to_pylist(), pairs, strict=True))


def _build(ledger: Ledger, stamps: Stamps) -> pa.Table:
    sections = {name: section for name, (section, _) in _KNOWN.items()}
    rows = []
    for trial, (written_us, size) in sorted(stamps.items()):
        try:
            row = _flat(ledger.read(trial), sections)
        except ArtefactError as error:
            row = {"id": trial, "status": "damaged", "error": str(error)}
        rows.append(row | {"recorded_at": written_us, "record_bytes": size})
    columns = {name: _typed(name, [row.get(name) for row in rows]) for name in sections}
    return _arranged(pa.table(columns), sections)


def _flat(record: Mapping[str, Any], sections: Sections) -> Row:
    """A record as a row; the sections of columns not seen before are added to ``sections``."""
    row: Row = {}
    for key, value in record.items():
        if key == "kind" or (value is None and key in _PREFIXES):
            continue
        if key in _PREFIXES and isinstance(value, dict):
            part = _flattened(value, _PREFIXES[key])
            if key == "result":
                part = _measures(value)
        elif key in _KNOWN:
            part = {key: value}
            key = _KNOWN[key][0]
        else:
            part = _flattened({key: value}, "record_")
            key = "record"
        for name, plain in part.items():
            if sections.setdefault(name, key) != key:
                name = f"{key}_{name}"  # two parts of the record use one name
                sections[name] = key
            row[name] = plain
    return row


def _measures(result: Mapping[str, Any]) -> Row:
    there = {k: v for k, v in result.items() if k != "evaluations" and v is not None}
    flat = _flattened(there, "")
    if "max_on_test_test" in flat:
        flat["max_on_test"] = flat.pop("max_on_test_test")
    return flat


def _flattened(tree: Mapping[str, Any], prefix: str) -> Row:
    flat: Row = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{prefix}{key}_")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _typed(name: str, values: list[Any]) -> pa.Array:
    """A column of the one type that holds all its values; of their texts where none does."""
    try:
        return pa.array(values, _KNOWN[name][1] if name in _KNOWN else None)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        return pa.array(texts, TEXT)


def _joined(kept: pa.Table, new: pa.Table) -> pa.Table | None:
    """Both tables as one, or None where a column holds what one type can't."""
    sections = {name: section_of(t, name) for t in (new, kept) for name in t.column_names}
    try:
        both = pa.concat_tables([kept, new], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    return _arranged(both.sort_by("id"), sections)


def _arranged(table: pa.Table, sections: Sections) -> pa.Table:
    """Columns in their order, whatever order records were read in, with their sections."""
    known = list(_KNOWN)

    def place(name: str) -> tuple[int, int, str]:
        first = known.index(name) if name in _KNOWN else len(known)
        return _SECTIONS.index(sections[name]), first, name

    names = sorted(table.column_names, key=place)
    fields = [
        pa.field(name, table.schema.field(name).type, metadata={"section": sections[name]})
        for name in names
    ]
    schema = pa.schema(fields, metadata={"layout": LAYOUT})
    return pa.table([table[name].combine_chunks() for name in names], schema=schema)


def _keep(table: pa.Table, path: Path) -> None:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    write_bytes(path, data)
    write_bytes(_checksum_path(path), _checksum_line(path, data))


def _read_kept(path: Path) -> pa.Table | None:
    """The table as it was written, or None where there is none to rely on."""
    try:
        data = path.read_bytes()
        if _checksum_path(path).read_bytes() != _checksum_line(path, data):
            return None
    except OSError:
        return None
    table = pyarrow.parquet.read_table(pa.BufferReader(data))
    return table if (table.schema.metadata or {}).get(b"layout") == LAYOUT else None


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum_line(path: Path, data: bytes) -> bytes:
    """In the form that ``sha256sum --check`` reads."""
    return f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode()
