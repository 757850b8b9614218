"""Data files that were written as `shard_writers` writes them, by us or by others.

In: a folder or a file. Out: encoded images with their labels, in the order of the rows. Column and
suffix names are Hugging Face's and WebDataset's usual ones, so sets made elsewhere are read too.
Archives are read in place, nothing is unpacked.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.distilled.encoded_images import EncodedImages
from engine.distilled.found import IMAGE_NAMES, LABEL_NAMES, SOFT_NAMES, Found
from engine.errors import ArtefactError, DamageError

IMAGE_SUFFIXES = ("jpg", "jpeg", "png")
Rows = npt.NDArray[Any]


def shard_files(path: Path, suffix: str) -> list[Path]:
    """The files of one kind at a path: itself, in the folder, or in its `data`; by name."""
    if path.is_file():
        return [path] if path.suffix == suffix else []
    for folder in (path, path / "data"):
        files = sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else []
        train = [file for file in files if file.name.startswith("train")]
        if files:
            return train or files
    return []


def read_parquet(files: Sequence[Path], path: Path) -> Found:
    """Rows of parquet files.

    Raises:
        ArtefactError: columns are missing, or rows lack a value.
        DamageError: a file is cut off or no parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tables = [pq.read_table(file) for file in files]
        table = pa.concat_tables(tables)
    except (pa.ArrowException, OSError) as error:
        raise DamageError(f"{path}: expected whole .parquet files, found: {error}") from error
    names = table.column_names
    image, label, soft = (
        next((name for name in usual if name in names), None)
        for usual in (IMAGE_NAMES, LABEL_NAMES, SOFT_NAMES)
    )
    if image is None or (label is None and soft is None):
        raise ArtefactError(
            f"{path}: expected a column image and a column label or soft_label, found "
            f"{', '.join(names)}"
        )
    for name in (image, label, soft):
        if name is not None and table[name].null_count:
            raise ArtefactError(f"{path}: column {name} has rows without a value")
    found = [
        each.get("bytes") if isinstance(each, dict) else each for each in table[image].to_pylist()
    ]
    encoded = [each for each in found if isinstance(each, bytes)]
    if len(encoded) < len(found):
        raise ArtefactError(
            f"{path}: column {image} holds {table.schema.field(image).type}, "
            "expected the bytes of JPEG or PNG files"
        )
    classes_n = None if label is None else table[label].to_numpy()
    return Found(
        images=EncodedImages(encoded, [f"in row {row}" for row in range(len(table))], path),
        classes_n=classes_n,
        soft_nk=None if soft is None else _lists(table[soft], path),
        soft_name=soft or "",
        ids=table["sample_id"].to_numpy() if "sample_id" in names else None,
        class_names=_class_names(table.schema.metadata, label),
        format="parquet",
    )


def _lists(column: Any, path: Path) -> Rows:
    """A column of lists of numbers as one array (n, k)."""
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    lists = (kinds.is_list, kinds.is_large_list, kinds.is_fixed_size_list)
    if not any(is_one(column.type) for is_one in lists):
        raise ArtefactError(f"{path}: soft labels are {column.type}, expected lists of numbers")
    lengths = set(pc.list_value_length(column).to_pylist())
    if len(lengths) != 1:
        raise _uneven(lengths, path)
    values = pc.list_flatten(column).to_numpy()
    return np.asarray(values).reshape(len(column), *lengths)


def _class_names(metadata: dict[bytes, bytes] | None, label: str | None) -> tuple[str, ...] | None:
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError):
        return None


def read_webdataset(files: Sequence[Path], path: Path) -> Found:
    """Samples of tar archives: KEY.jpg or .png, with KEY.cls, KEY.npy or KEY.json.

    Raises:
        ArtefactError: a sample lacks its image or its label.
        DamageError: an archive is cut off.
    """
    encoded, names, classes, soft, ids = [], [], [], [], []
    for file in files:
        for key, members in _samples(file):
            image = next((members[s] for s in IMAGE_SUFFIXES if s in members), None)
            if image is None:
                raise ArtefactError(
                    f"{file}: sample {key} has no .jpg or .png (it has {', '.join(members)})"
                )
            encoded.append(image)
            names.append(key)
            try:
                classes.append(int(members["cls"]) if "cls" in members else None)
                soft.append(_soft_label(members))
            except (ValueError, EOFError) as error:
                raise DamageError(f"{file}: the label of sample {key}: {error}") from error
            ids.append(int(key) if key.isdecimal() and len(key) < 19 else None)  # int64
    known = [each for each in classes if each is not None]
    rows = [each for each in soft if each is not None]
    if len(known) not in (0, len(names)) or len(rows) not in (0, len(names)) or not (known or rows):
        raise ArtefactError(
            f"{path}: expected a label for each of {len(names)} samples, found {len(known)} .cls "
            f"and {len(rows)} .npy or .json"
        )
    return Found(
        images=EncodedImages(encoded, names, path),
        classes_n=np.array(known, np.int64) if known else None,
        soft_nk=_stacked(rows, path) if rows else None,
        soft_name="soft_label",
        ids=None if None in ids else np.array(ids, np.int64),
        format="webdataset",
    )


def _samples(file: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Consecutive members with one key, as WebDataset groups them."""
    key, members = "", dict[str, bytes]()
    try:
        with tarfile.open(file, mode="r:") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, slash, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                opened = archive.extractfile(member)
                content = opened.read() if opened else b""
                if len(content) != member.size:
                    raise tarfile.ReadError(f"{member.name} is cut off")
                if folder + slash + stem != key:
                    if members:
                        yield key, members
                    key, members = folder + slash + stem, {}
                members[suffix.lower()] = content
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DamageError(f"{file}: expected a whole .tar archive, found: {error}") from error
    if members:
        yield key, members


def _soft_label(members: dict[str, bytes]) -> Rows | None:
    """The soft label of a sample, if it has one; raises ValueError for anything but a row."""
    content: Any = None
    if "npy" in members:
        content = np.load(io.BytesIO(members["npy"]), allow_pickle=False)
    elif "json" in members:
        content = json.loads(members["json"])
        if isinstance(content, dict):
            content = next((content[name] for name in SOFT_NAMES if name in content), None)
    if content is None:
        return None
    row = np.asarray(content)
    if row.ndim != 1 or row.dtype.kind not in "fiu":
        raise ValueError(f"expected a row of numbers, found {row.dtype} of shape {row.shape}")
    return row


def _stacked(rows: Sequence[Any], path: Path) -> Rows:
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise _uneven(lengths, path)
    return np.array(rows)


def _uneven(lengths: set[int], path: Path) -> ArtefactError:
    found = f"{min(lengths)} to {max(lengths)}" if lengths else "no"
    return ArtefactError(
        f"{path}: soft labels have {found} values; expected equally many, one for each class"
    )
