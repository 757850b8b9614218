"""Making a label store, or finding the one there: also where its own document was removed.

In: a path and the identity of the dataset. Out: a `LabelStore`. A place where anything else lies is
refused and left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .disk import make_folder, write_whole
from .errors import BadArgument, StoreNotFound, WrongDataset, WrongIdentity
from .layout import (
    CHUNK_ROWS,
    METADATA,
    VIEW_KIND,
    group_document,
    require_format,
    store_attributes,
)
from .sealed import parse
from .store import LabelStore, open_store
from .tree import LocalTree


def create_store(
    path: str | Path,
    *,
    dataset_id: str,
    classes: Sequence[str],
    num_samples: int,
    chunk_rows: int | None = None,
) -> LabelStore:
    """Creates an empty store, or opens the one at `path` if it is of the same dataset and classes.

    classes: names in the dataset's order, one per class index. num_samples: rows of the training
    split. chunk_rows: rows of a chunk file, fixed for good: 16,384 by default, or num_samples if
    that is less (so that a small set is padded with nothing).
    Raises WrongDataset, WrongClasses, WrongIdentity, BadArgument, and StoreNotFound if `path` holds
    something else.
    """
    path = Path(path)
    chunk_rows = _check_extent(dataset_id, classes, num_samples, chunk_rows)
    if not (path / METADATA).exists():
        survivor = _surviving_view(path)
        if survivor:
            chunk_rows = survivor["chunk_rows"] or chunk_rows
        default = min(CHUNK_ROWS, num_samples)
        attributes = store_attributes(dataset_id, classes, num_samples, chunk_rows or default)
        if survivor and survivor["store_id"] != attributes["id"]:
            raise WrongDataset(
                f"{path}: its labels belong to store {survivor['store_id']}, but the dataset given "
                f"makes store {attributes['id']}; give another --out"
            )
        make_folder(path)
        write_whole(path / METADATA, group_document(attributes))
    store = open_store(path, dataset_id=dataset_id, classes=classes)
    for what, given, there in (
        ("num_samples", num_samples, store.num_samples),
        ("chunk_rows", chunk_rows or store.geometry.chunk_rows, store.geometry.chunk_rows),
    ):
        if given != there:
            raise WrongIdentity(
                f"{path}: the store has {what} {there}, but {given} was given; "
                "leave it out or give another --out"
            )
    return store


def find_store(path: str | Path, *, dataset_id: str, classes: Sequence[str]) -> LabelStore | None:
    """The store at `path`, or None where one can be created; nothing is touched.

    Raises what `create_store` would of a place where something else lies.
    """
    if not (Path(path) / METADATA).exists():
        _surviving_view(Path(path))
        return None
    return open_store(path, dataset_id=dataset_id, classes=classes)


def _check_extent(
    dataset_id: str, classes: Sequence[str], num_samples: int, chunk_rows: int | None
) -> int | None:
    if not dataset_id or not classes or num_samples < 1:
        raise BadArgument(
            "create_store: expected a dataset id, at least one class and one sample, found "
            f"dataset id {dataset_id!r}, {len(classes)} classes, {num_samples} samples"
        )
    if isinstance(classes, str):
        raise BadArgument("classes: expected a sequence of names, found one string")
    if chunk_rows is None:
        return None
    if chunk_rows < 1:
        raise BadArgument(f"chunk_rows: expected at least 1, found {chunk_rows}")
    return min(chunk_rows, num_samples)


def _surviving_view(path: Path) -> dict[str, Any] | None:
    """What a view says of the store whose own `zarr.json` someone removed; None in a new store.

    StoreNotFound if `path` is a file, or a folder that holds anything else. WrongFormat.
    """
    if not path.exists():
        return None
    if not path.is_dir():
        raise StoreNotFound(f"{path}: expected a folder, found a file; give another --out")
    tree, survivor = LocalTree(path), None
    for each in sorted(path.iterdir()):
        views = [tree.attributes(each.name, view) or {} for view in tree.groups(each.name)]
        views = [view for view in views if view.get("kind") == VIEW_KIND]
        if not views and each.name != METADATA + ".tmp":
            raise StoreNotFound(
                f"{path}: expected a label store or an empty folder, found {each.name!r} there; "
                "give another --out"
            )
        for view in views:
            require_format(view, each, path)
            chunk_rows = _chunk_rows(each / view["view"])
            survivor = {"store_id": view["parents"]["store"], "chunk_rows": chunk_rows}
    return survivor


def _chunk_rows(view: Path) -> int | None:
    """Rows of a chunk, as some array of a view, in whatever codec, says; None if it has none."""
    for path in sorted((*view.glob(f"*/{METADATA}"), *view.glob(f"*/*/{METADATA}"))):
        document = parse(path.read_bytes(), path)
        if document.get("node_type") == "array":
            rows: int = document["chunk_grid"]["configuration"]["chunk_shape"][1]
            return rows
    return None
