"""JSON documents that carry their own checksum, in one canonical form.

In: dicts of plain JSON values. Out: bytes, and dicts with a `checksum` that covers the rest.

Two levels of checking come from this. A reader recomputes the checksum of the *content*, which
also holds for a copy that other Zarr software made and formatted its own way. `verify` compares the
file with the canonical *bytes* of its content, so that no byte of it is left uncovered, white
space included. The digest is blake2b (16 bytes): documents are small, so its 0.9 GiB/s do not
matter, and the same function makes the ids of stores and views.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DamagedStore

CHECKSUM = "checksum"
NOT_AS_WRITTEN = "its bytes are not those that were written"  # what is said of a damaged file


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one way in which a document is written: sorted keys, ASCII, indent 2, final newline."""
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def digest(content: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that change with any value in `content`."""
    return hashlib.blake2b(canonical(content), digest_size=16).hexdigest()


def seal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with their own checksum added under `checksum`."""
    content = {key: value for key, value in fields.items() if key != CHECKSUM}
    return {**content, CHECKSUM: digest(content)}


def unseal(fields: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """`fields` without their checksum; DamagedStore naming `where` if it does not hold."""
    content = {key: value for key, value in fields.items() if key != CHECKSUM}
    if fields.get(CHECKSUM) != digest(content):
        raise DamagedStore(
            f"{where}: its checksum does not match its content; run `engine verify` on the store"
        )
    return content


def parse(data: bytes, where: Path) -> dict[str, Any]:
    """The JSON object in `data`; DamagedStore naming `where` if there is none."""
    try:
        document = json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise DamagedStore(
            f"{where}: expected a JSON document, found {error}; run `engine verify` on the store"
        ) from None
    if not isinstance(document, dict):
        raise DamagedStore(f"{where}: expected a JSON object; run `engine verify` on the store")
    return document
