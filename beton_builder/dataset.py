"""A finished dataset folder, opened: what every other room reads from.

In:  the folder that `build_beton` made. Out: a `Dataset` with its identity, classes, normalisation,
     validation indices and splits. Opening proves the manifest (its own checksum) and compares file
     sizes; it reads no samples. The full proof is `verify_dataset`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beton_builder import manifest as manifests
from beton_builder.beton_reader import BetonFile
from beton_builder.errors import BUILD_AGAIN, DamagedDataset, MissingSplit

if TYPE_CHECKING:
    from beton_builder.sample_records import SampleRecords
    from beton_builder.whitening import Whitening


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset folder.

    id: hash of the content. classes in label order; superclass_of[c]: position of class c's
    superclass. channels: 1 means greyscale stored as RGB, use plane 0. height, width: pixels, None
    when images differ. mean, std: `channels` numbers each, for pixels in 0..1; where there is a
    whitening_id, `whitening()` comes after them. decode_path: how stored bytes become pixels
    ("raw", "jpeg" or "jpeg+raw"). validation_indices: sorted int64 positions among the train
    samples, may be empty. manifest: everything, as stored.
    """

    path: Path
    id: str
    name: str
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] | None
    superclass_of: tuple[int, ...] | None
    channels: int
    height: int | None
    width: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    decode_path: str
    validation_indices: npt.NDArray[np.int64] = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def largest_ipc(self) -> int:
        """Images that students can be given of every class: of the smallest, less validation's."""
        with self.split("train") as train:
            labels = np.delete(np.asarray(train.labels), self.validation_indices)
        return int(np.bincount(labels, minlength=self.num_classes).min())

    @property
    def whitening_id(self) -> str | None:
        """What identifies the whitening of normalised images; None where there is none."""
        entry = self.manifest.get("whitening")
        return None if entry is None else str(entry["id"])

    def whitening(self) -> "Whitening | None":
        """The whitening, read and checked (38 MB for 32 × 32 RGB). Raises DamagedDataset."""
        from beton_builder.whitening import read_whitening

        entry = self.manifest.get("whitening")
        return None if entry is None else read_whitening(self.path, entry)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits there are: "train" and perhaps "test"."""
        return manifests.split_names(self.manifest)

    def has_split(self, name: str) -> bool:
        return name in self.manifest["splits"]

    def split(self, name: str) -> BetonFile:
        """Open a split's file; the caller closes it. Raises MissingSplit, DamagedDataset."""
        opened = BetonFile(self.path / self._entry(name)["file"])
        expected = self._entry(name)["num_samples"]
        if opened.num_samples != expected:
            raise DamagedDataset(
                f"{opened.path} holds {opened.num_samples} samples, its manifest says {expected}; "
                f"check it with engine verify {self.path}"
            )
        wrong = np.flatnonzero((opened.labels < 0) | (opened.labels >= self.num_classes))
        if len(wrong):
            raise DamagedDataset(
                f"{opened.path}: label {opened.labels[wrong[0]]} of sample {wrong[0]} is none of "
                f"{self.num_classes} classes; check it with engine verify {self.path}"
            )
        return opened

    def samples(self, name: str) -> "SampleRecords":
        """The per-sample records of a split: source names, checksums, sizes, labels."""
        from beton_builder.sample_records import read_records

        path = self.path / self._entry(name)["records"]
        try:
            return read_records(path)
        except Exception as error:  # a damaged parquet file fails in many ways
            raise DamagedDataset(
                f"{path} cannot be read ({error}); check it with engine verify {self.path}"
            ) from error

    def _entry(self, name: str) -> dict[str, Any]:
        if not self.has_split(name):
            raise MissingSplit(
                f"dataset {self.path} has no split {name!r}; it has {', '.join(self.splits)}"
            )
        entry: dict[str, Any] = self.manifest["splits"][name]
        return entry


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset folder.

    Raises DatasetNotFound when there is no finished dataset, DamagedDataset when the manifest is
    not as written, or a file is absent or of another size.
    """
    folder = Path(path)
    content = manifests.read(folder)
    for name, size in file_sizes(content).items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            raise DamagedDataset(
                f"{file} {'is missing' if found is None else f'has {found} bytes'}, the manifest "
                f"says {size} bytes. {BUILD_AGAIN}"
            )
    superclass_of = content["superclass_of"]
    superclasses = content["superclasses"]
    return Dataset(
        path=folder,
        id=content["id"],
        name=content["name"],
        classes=tuple(content["classes"]),
        superclasses=None if superclasses is None else tuple(superclasses),
        superclass_of=None if superclass_of is None else tuple(superclass_of),
        channels=content["channels"],
        height=content["resolution"]["height"],
        width=content["resolution"]["width"],
        mean=tuple(content["normalisation"]["mean"]),
        std=tuple(content["normalisation"]["std"]),
        decode_path=content["decode_path"],
        validation_indices=np.array(content["validation"]["indices"], np.int64),
        manifest=content,
    )


def file_sizes(content: dict[str, Any]) -> dict[str, int]:
    """The files that a manifest lists, with their sizes in bytes."""
    sizes = {}
    for entry in content["splits"].values():
        sizes[entry["file"]] = int(entry["bytes"])
        sizes[entry["records"]] = int(entry["records_bytes"])
    if "whitening" in content:
        sizes[content["whitening"]["file"]] = int(content["whitening"]["bytes"])
    return sizes


def dataset_info(path: str | Path) -> dict[str, Any]:
    """What a dataset is, as plain values, for people to read. Raises as `open_dataset`."""
    dataset = open_dataset(path)
    content = dataset.manifest
    return {
        "kind": "dataset",
        "path": str(dataset.path),
        "id": dataset.id,
        "name": dataset.name,
        "format": content["source"]["format"],
        "num_classes": dataset.num_classes,
        "classes": list(dataset.classes),
        "superclasses": None if dataset.superclasses is None else list(dataset.superclasses),
        "channels": dataset.channels,
        "height": dataset.height,
        "width": dataset.width,
        "decode_path": dataset.decode_path,
        "normalisation": content["normalisation"],
        **({"whitening": content["whitening"]} if "whitening" in content else {}),
        "splits": {name: content["splits"][name] for name in dataset.splits},
        "validation": len(dataset.validation_indices),
        "largest_ipc": dataset.largest_ipc,
        "skipped": {name: len(items) for name, items in content["skipped"].items()},
        "bytes": sum(file_sizes(content).values()),
        "options": content["options"],
        "versions": content["versions"],
    }
