"""A label store: one dataset's soft labels, of any number of experts, views and epochs.

In: a path and the identity of the dataset. Out: `LabelStore`, from which views are opened or added.
Opening reads two small JSON files; nothing grows with the number of epochs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .axis import create_arrays
from .codecs import DENSE, Codec, codec_in_folder, codec_named
from .disk import make_folder, write_whole
from .ensemble import Ensemble
from .errors import (
    BadArgument,
    DamagedStore,
    ReadOnlyStore,
    StoreNotFound,
    ViewNotFound,
    WrongClasses,
    WrongDataset,
    WrongIdentity,
)
from .layout import (
    EXPERT_KIND,
    METADATA,
    STORE_KIND,
    VIEW_FIELDS,
    Geometry,
    check_name,
    code_attributes,
    group_document,
    require_format,
    view_attributes,
)
from .tree import LocalTree, Tree, ZarrTree
from .view import LabelView

if TYPE_CHECKING:
    from zarr.abc.store import Store


class LabelStore:
    """An open store. path: its folder (for a Zarr store object, what it prints itself as).

    id: hash of dataset and class order. dataset_id, classes (in order), num_samples, num_classes.
    """

    def __init__(self, tree: Tree, attributes: Mapping[str, Any]) -> None:
        self._tree = tree
        self.path = tree.root
        self.id: str = attributes["id"]
        self.dataset_id: str = attributes["dataset_id"]
        self.classes: tuple[str, ...] = tuple(attributes["classes"])
        self.num_samples: int = attributes["num_samples"]
        self.num_classes: int = attributes["num_classes"]
        self.geometry = Geometry(
            num_samples=self.num_samples,
            num_classes=self.num_classes,
            chunk_rows=attributes["chunk_rows"],
        )

    def __repr__(self) -> str:
        return (
            f"LabelStore({str(self.path)!r}, dataset {self.dataset_id}, "
            f"{self.num_samples} samples, {self.num_classes} classes)"
        )

    def views(self) -> list[tuple[str, str]]:
        """(expert, view) names of all labels in the store, sorted."""
        tree = self._tree
        return [(expert, view) for expert in tree.groups() for view in tree.groups(expert)]

    def codecs(self, expert: str, view: str = "plain") -> list[str]:
        """Names of the codecs in which the store has these labels, dense first."""
        return [codec.name for codec in self._codecs(expert, view)]

    def view(
        self, expert: str | None = None, view: str = "plain", codec: str | None = None
    ) -> LabelView:
        """Labels of `expert` (by default the only one there is) under `view`.

        codec: as when they were written; by default dense, or else the only one there is.
        Raises ViewNotFound naming what there is, BadArgument for a codec that cannot be meant.
        """
        found = self.views()
        matching = [each for each in found if each[1] == view and expert in (None, each[0])]
        if len(matching) == 1:
            chosen = self._choose_codec(*matching[0], codec)
            return LabelView(self._tree, self.geometry, *matching[0], chosen)
        there = ", ".join(f"{each[0]}/{each[1]}" for each in found) or "no labels at all"
        if matching:
            raise ViewNotFound(f"{self.path}: several experts have {view!r}; name one of: {there}")
        raise ViewNotFound(
            f"{self.path}: expected labels of {expert or 'any expert'} under {view!r}, found "
            f"{there}; write them with `engine dump-labels --out {self.path} …`"
        )

    def ensemble(
        self,
        epochs: int | Sequence[int],
        experts: Sequence[str] | None = None,
        view: str = "plain",
        codec: str | None = None,
    ) -> Ensemble:
        """The mean of the logits of `epochs` of `experts` (by default of all that have `view`).

        Raises ViewNotFound, BadArgument if there is nothing to average.
        """
        names = [each for each, of in self.views() if of == view] if experts is None else experts
        numbers = [epochs] if isinstance(epochs, int) else list(epochs)
        return Ensemble([self.view(each, view, codec) for each in names], numbers)

    def add_view(
        self,
        expert: str,
        view: str,
        *,
        identity: Mapping[str, Any],
        codec: str = "dense",
        crops: int = 0,
    ) -> LabelView:
        """Creates empty labels of `expert` under `view`, or opens them if `identity` is the same.

        identity: plain JSON values that define the labels' content: run_id, transform, precision,
        …; written into the group's attributes for good. codec: how rows are stored; a view may
        have the same labels in several. crops: labels of every sample, for as many crops of it; 0
        for one label of the whole image. One process calls this before workers start.
        Raises WrongIdentity naming the first value that differs, BadArgument for unusable names and
        for a codec that cannot hold so many classes.
        """
        check_name(expert, "expert")
        check_name(view, "view")
        chosen = codec_named(codec)
        root = self._local_root("add labels to")
        attributes = view_attributes(self.id, expert, view, crops, _plain_json(identity))
        known = self.has_view(expert, view, identity=identity, crops=crops)
        geometry = replace(self.geometry, codec=chosen, crops=crops)
        folder = root / expert / view / (chosen.folder or "")
        _ = geometry.arrays  # refuses what the codec cannot hold, before anything is made
        make_folder(root / expert / view)
        if not (root / expert / METADATA).exists():
            document = group_document({"kind": EXPERT_KIND, "expert": expert})
            write_whole(root / expert / METADATA, document)
        if chosen.folder is None:
            create_arrays(folder, geometry)
        if not known:
            write_whole(root / expert / view / METADATA, group_document(attributes))
        if chosen.folder is not None:
            make_folder(folder)
            create_arrays(folder, geometry)
            if not (folder / METADATA).exists():
                code = code_attributes(attributes["id"], chosen)
                write_whole(folder / METADATA, group_document(code))
        return LabelView(self._tree, self.geometry, expert, view, chosen)

    def has_view(
        self, expert: str, view: str, *, identity: Mapping[str, Any], crops: int = 0
    ) -> bool:
        """Whether labels of `expert` under `view` were begun; their arrays may be missing.

        Raises WrongIdentity, naming the first value that differs, if not with this `identity`.
        """
        known = self._tree.attributes(expert, view)
        if known is None:
            return False
        asked = view_attributes(self.id, expert, view, crops, _plain_json(identity))
        if known.get("id") != asked["id"]:
            raise _wrong_identity(self.path / expert / view, known, {**identity, "crops": crops})
        return True

    def _codecs(self, expert: str, view: str) -> list[Codec]:
        dense = [DENSE] if self._tree.attributes(expert, view, "logits") is not None else []
        others = (codec_in_folder(folder) for folder in self._tree.groups(expert, view))
        return [*dense, *(codec for codec in others if codec is not None)]

    def _choose_codec(self, expert: str, view: str, name: str | None) -> Codec:
        found = self._codecs(expert, view)
        if name is not None:
            wanted = codec_named(name)
            if wanted in found:
                return wanted
        elif DENSE in found or len(found) == 1:
            return found[0]
        there = ", ".join(codec.name for codec in found) or "none"
        if name is None and found:
            raise ViewNotFound(
                f"{self.path}: {expert}/{view} has several codecs; name one of: {there}"
            )
        wanted_name = name or DENSE.name
        dump = f"engine dump-labels --data DATA --expert RUN --out {self.path}"
        remedy = f"`{dump} --codec {wanted_name}` (imported labels: import them again)"
        if DENSE in found:  # what another codec lost can't be had back from it
            remedy = f"`engine convert-labels {self.path} --codec {wanted_name}`"
        raise ViewNotFound(
            f"{self.path}: expected {expert}/{view} in codec {wanted_name}, found {there}; make it "
            f"with {remedy}"
        )

    def _local_root(self, purpose: str) -> Path:
        if not isinstance(self._tree, LocalTree):
            raise ReadOnlyStore(f"{self.path}: cannot {purpose} a store that is not a local folder")
        return self.path


def open_store(
    path: str | Path | Store,
    *,
    dataset_id: str | None = None,
    classes: Sequence[str] | None = None,
) -> LabelStore:
    """Opens the store at `path`: a folder, or any zarr-python `Store` object (then read only).

    dataset_id, classes: what the labels must belong to; not checked if None. Raises StoreNotFound,
    DamagedStore, WrongFormat, WrongDataset (naming both ids), WrongClasses (naming the first class
    that differs).
    """
    tree: Tree = LocalTree(Path(path)) if isinstance(path, (str, Path)) else ZarrTree(path)
    attributes = tree.attributes()
    if attributes is None or attributes.get("kind") != STORE_KIND:
        make = f"engine dump-labels --data DATA --expert RUN --out {tree.root} --all-epochs"
        found = f"none; make one with `{make}`"
        if attributes is not None:
            found = "another Zarr group; give the path of a label store, or another --out"
        raise StoreNotFound(
            f"{tree.root}: expected a label store (a Zarr group of kind {STORE_KIND!r}), "
            f"found {found}"
        )
    require_format(attributes, tree.root, tree.root)
    store = LabelStore(tree, attributes)
    if dataset_id is not None and dataset_id != store.dataset_id:
        raise WrongDataset(
            f"{tree.root}: its labels describe dataset {store.dataset_id}, but they were asked for "
            f"dataset {dataset_id}; give the --data they were made from, or dump labels of this one"
        )
    if classes is not None and tuple(classes) != store.classes:
        raise WrongClasses(f"{tree.root}: {_first_difference(store.classes, classes)}")
    return store


def _first_difference(there: Sequence[str], given: Sequence[str]) -> str:
    for index, (one, other) in enumerate(zip(there, given, strict=False)):
        if one != other:
            return f"class {index} is {one!r} in the store, but {other!r} in the dataset"
    return f"expected {len(there)} classes, found {len(given)} in the dataset"


def _plain_json(identity: Mapping[str, Any]) -> dict[str, Any]:
    reserved = sorted(set(identity) & set(VIEW_FIELDS))
    if reserved:
        raise BadArgument(f"identity: {', '.join(reserved)} are set by the store itself")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(identity), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadArgument(f"identity: expected plain JSON values ({error})") from None
    return plain


def _wrong_identity(
    folder: Path, known: Mapping[str, Any], identity: Mapping[str, Any]
) -> WrongIdentity | DamagedStore:
    fields = sorted({*identity, *(set(known) - set(VIEW_FIELDS))})
    for field in fields:
        if known.get(field) != identity.get(field):
            return WrongIdentity(
                f"{folder}: these labels have {field} {known.get(field)!r}, but "
                f"{identity.get(field)!r} was given; give another --out or another name"
            )
    return DamagedStore(
        f"{folder}: belongs to another store than {folder.parent.parent} (ids differ); "
        "run `engine verify` on the store"
    )
