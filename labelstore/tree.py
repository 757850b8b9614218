"""The groups of a store and their sealed attributes, in a folder or in any other Zarr store.

In: a folder, or a zarr-python `Store` object (memory, zip, object store). Out: attributes as dicts,
with their checksum checked and removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .errors import DamagedStore
from .files import OwnLayout
from .foreign import OtherLayout
from .layout import METADATA, RECORDS, Geometry
from .sealed import CHECKSUM, parse, unseal

if TYPE_CHECKING:
    from zarr.abc.store import Store


class Tree(Protocol):
    """Groups below one root; `parts` are the names on the way to a node."""

    root: Path

    def attributes(self, *parts: str) -> dict[str, Any] | None:
        """Attributes of the group or array at `parts` without their checksum; None if absent."""

    def groups(self, *parts: str) -> list[str]:
        """Names of the groups inside the group at `parts`, sorted."""

    def layout(self, geometry: Geometry, *parts: str) -> OwnLayout | OtherLayout:
        """How the arrays of the view at `parts` are read."""


class LocalTree:
    """A store in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def document(self, *parts: str) -> dict[str, Any] | None:
        """The `zarr.json` at `parts` as it stands; None if absent."""
        path = self.root.joinpath(*parts, METADATA)
        try:
            return parse(path.read_bytes(), path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def attributes(self, *parts: str) -> dict[str, Any] | None:
        document = self.document(*parts)
        if document is None:
            return None
        attributes = document.get("attributes")
        if isinstance(attributes, dict) and not parts and not _is_ours(attributes):
            return attributes
        where = self.root.joinpath(*parts, METADATA)
        return unseal(attributes if isinstance(attributes, dict) else {}, where)

    def groups(self, *parts: str) -> list[str]:
        folder = self.root.joinpath(*parts)
        return sorted(each.parent.name for each in folder.glob(f"*/{METADATA}"))

    def layout(self, geometry: Geometry, *parts: str) -> OwnLayout | OtherLayout:
        folder = self.root.joinpath(*parts)
        for array in geometry.arrays:
            found = self.document(*parts, array.name) or {}
            expected = geometry.document(array, _num_epochs(found))
            layout = {key: value for key, value in found.items() if key != "attributes"}
            if layout == expected:
                continue
            if not found or (folder / geometry.rows.name / RECORDS).exists():
                raise DamagedStore(
                    f"{folder / array.name / METADATA}: "
                    + ("is missing" if not found else "is not as it was written")
                    + "; run `engine verify` on the store"
                )
            import zarr

            return OtherLayout(zarr.open_group(folder, mode="r"), geometry, str(folder))
        return OwnLayout(folder, geometry)


def _is_ours(attributes: dict[str, Any]) -> bool:
    """Whether a root is a store's: one flipped byte leaves it one of these keys, at least."""
    return "kind" in attributes or CHECKSUM in attributes


def _num_epochs(document: dict[str, Any]) -> int:
    shape = document.get("shape")
    return shape[0] if isinstance(shape, list) and shape and isinstance(shape[0], int) else 0


class ZarrTree:
    """A store behind a zarr-python `Store` object."""

    def __init__(self, store: Store) -> None:
        import zarr

        self.root = Path(str(store))
        self._group = zarr.open_group(store, mode="r")

    def attributes(self, *parts: str) -> dict[str, Any] | None:
        node = self._node(*parts)
        if node is None:
            return None
        attributes = node.attrs.asdict()
        if not parts and not _is_ours(attributes):
            return attributes
        return unseal(attributes, self.root.joinpath(*parts, METADATA))

    def groups(self, *parts: str) -> list[str]:
        import zarr

        node = self._node(*parts)
        return sorted(node.group_keys()) if isinstance(node, zarr.Group) else []

    def layout(self, geometry: Geometry, *parts: str) -> OwnLayout | OtherLayout:
        return OtherLayout(self._node(*parts), geometry, str(self.root.joinpath(*parts)))

    def _node(self, *parts: str) -> Any:
        return self._group.get("/".join(parts)) if parts else self._group
