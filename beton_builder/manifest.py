"""`manifest.json`: what a dataset is, and the proof that its files are as they were written.

One line per top-level key, keys sorted, compact JSON: one content has exactly one spelling, so a
reader can tell from the bytes alone that nothing was touched, white space included. `checksum` is
the SHA-256 of the same text without that line.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from beton_builder.beton_format import SampleColumns
from beton_builder.errors import BUILD_AGAIN, DamagedDataset, DatasetNotFound

FILE_NAME = "manifest.json"
KIND = "dataset"
FORMAT_VERSION = 1
WITH_WHITENING = 2  # so that a program which knows no whitening refuses instead of leaving it out

_OF_DATASETS = {"classes", "splits", "validation"}  # together in no other kind of manifest

Manifest = dict[str, Any]


def render(content: Manifest) -> bytes:
    """The one spelling of a manifest, its own checksum included."""
    lines = _lines({key: value for key, value in content.items() if key != "checksum"})
    checksum = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    lines = _lines({**content, "checksum": checksum})
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _lines(content: Manifest) -> list[str]:
    return [
        f"{json.dumps(key)}: {json.dumps(content[key], sort_keys=True, separators=(',', ':'))}"
        for key in sorted(content)
    ]


def read(folder: Path) -> Manifest:
    """The manifest of a finished dataset folder.

    Raises DatasetNotFound when there is none, DamagedDataset when its bytes are not as written.
    """
    path = folder / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DatasetNotFound(_absence(folder)) from None
    except OSError as error:
        raise DatasetNotFound(f"{path} cannot be read: {error.strerror}") from error
    try:
        content = json.loads(data)
    except ValueError as error:
        raise DamagedDataset(_damage(path, f"it is not JSON ({error})")) from error
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind != KIND:
        if isinstance(kind, str) and not content.keys() >= _OF_DATASETS:
            raise DatasetNotFound(f"{folder} holds a {kind!r}, not a dataset")
        raise DamagedDataset(_damage(path, f"its kind is {kind!r}, expected {KIND!r}"))
    if render(content) != data:
        raise DamagedDataset(_damage(path, "its content does not match its own checksum"))
    if content.get("format_version") not in (FORMAT_VERSION, WITH_WHITENING):
        raise DatasetNotFound(
            f"{path} is of format version {content.get('format_version')}, this program reads "
            f"{FORMAT_VERSION} and {WITH_WHITENING}; build the dataset again with this version"
        )
    return content


def split_names(content: Manifest) -> tuple[str, ...]:
    """The splits of a dataset, "train" first."""
    return tuple(sorted(content["splits"], reverse=True))


def _absence(folder: Path) -> str:
    if not folder.exists():
        return f"no dataset at {folder}: engine build-beton --source SOURCE --out {folder}"
    if any(folder.glob("*.beton")) or (folder / STAGING).exists():
        return (
            f"{folder} holds an unfinished build (no {FILE_NAME}); run the same engine build-beton "
            "command again"
        )
    return (
        f"{folder} is not a dataset folder (no {FILE_NAME}); make one with engine build-beton "
        "--source SOURCE --out DATA"
    )


def _damage(path: Path, what: str) -> str:
    return f"{path} is damaged: {what}. {BUILD_AGAIN}"


STAGING = ".building"  # the folder inside a dataset folder where a build happens


class SplitDigest:
    """Running hash over the samples of a split, in order: what the dataset's id is made of."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, checksums: list[bytes], columns: SampleColumns) -> None:
        """Add k samples: their 32-byte digests and their columns."""
        rows = zip(checksums, *(column.tolist() for column in columns), strict=True)
        for checksum, *numbers in rows:
            self._hash.update(b"%b %d %d %d %d\n" % (checksum, *numbers))

    def hex(self) -> str:
        return self._hash.hexdigest()


def dataset_id(
    *,
    split_digests: dict[str, str],
    classes: tuple[str, ...],
    decode_path: str,
    resolution: dict[str, Any],
    channels: int,
) -> str:
    """The dataset's id, 32 hex digits: a hash of content only.

    Made of every sample's checksum, label and size in order, the classes, the decode path, the
    resolution and the number of channels; not of workers, time, path, name or normalisation.
    """
    content = {
        "classes": classes,
        "channels": channels,
        "decode_path": decode_path,
        "resolution": resolution,
        "splits": split_digests,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
