"""Small sources in every format, and an independent reader of `.beton` files, by struct alone."""

import gzip
import hashlib
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def some_pixels(
    count: int, height: int, width: int, channels: int = 3, seed: int = 0
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def smooth_pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image that JPEG keeps well."""
    coarse = some_pixels(1, 4, 4, seed=seed)[0]
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def as_png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(pixels.squeeze())
    (image if mode is None else image.convert(mode)).save(target, "PNG")
    return target.getvalue()


def as_jpeg(pixels: np.ndarray, mode: str | None = None, **options: Any) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(pixels.squeeze())
    (image if mode is None else image.convert(mode)).save(target, "JPEG", **options)
    return target.getvalue()


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(
    folder: Path, images: np.ndarray, labels: np.ndarray, split: str = "train", gz: bool = False
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = idx_bytes(array)
        name = f"{split}-{kind}-ubyte"
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
        else:
            (folder / name).write_bytes(data)
    return folder


def small_idx(folder: Path, count: int = 30, classes: int = 3, seed: int = 0) -> Path:
    """`count` 5x4 images in train and 6 in t10k, labels in turn."""
    for split, size in (("train", count), ("t10k", 6)):
        images = some_pixels(size, 5, 4, 1, seed=seed + size)[..., 0]
        write_idx(folder, images, np.arange(size) % classes, split)
    return folder


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def small_folder(folder: Path, classes: int = 2, images: int = 4) -> Path:
    """JPEGs and PNGs of several sizes in train/ and val/."""
    files = {}
    for split, count in (("train", images), ("val", 1)):
        for label in range(classes):
            for i in range(count):
                pixels = smooth_pixels(20 + 3 * i, 30 - i, seed=label * 10 + i)
                name = f"{split}/class{label}/{i}"
                files[f"{name}.JPEG" if i % 2 == 0 else f"{name}.png"] = (
                    as_jpeg(pixels) if i % 2 == 0 else as_png(pixels)
                )
    return write_folder(folder, files)


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 wrote its str, as in the published CIFAR files."""

    def save_str_of_python2(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, bytes: save_str_of_python2}


def write_cifar_python(folder: Path, planes: np.ndarray, labels: list[int], hundred: bool) -> Path:
    """The layout of the published files, pickled by protocol 2 with Python 2's strings."""
    folder.mkdir(parents=True, exist_ok=True)

    def dump(name: str, content: dict[bytes, Any]) -> None:
        with (folder / name).open("wb") as file:
            Python2Pickler(file, protocol=2).dump(content)

    if hundred:
        for name in ("train", "test"):
            dump(
                name,
                {
                    b"data": planes,
                    b"fine_labels": labels,
                    b"coarse_labels": [label // 2 for label in labels],
                },
            )
        fine = [b"ant", b"bee", b"cat", b"dog"]
        dump("meta", {b"fine_label_names": fine, b"coarse_label_names": [b"insect", b"mammal"]})
        return folder
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        dump(name, {b"data": planes, b"labels": labels})
    dump("batches.meta", {b"label_names": [f"class{i}".encode() for i in range(4)]})
    return folder


def write_parquet(
    path: Path,
    images: list[bytes | None],
    columns: dict[str, list[int]],
    names: dict[str, list[str]] | None = None,
    row_group_size: int = 4,
) -> Path:
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": image, "path": None} for image in images]
    table = pa.table({"image": pa.array(rows, struct_type), **columns})
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    for column, labels in (names or {}).items():
        features[column] = {"names": labels, "_type": "ClassLabel"}
    info = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({"huggingface": info}), path, row_group_size=row_group_size
    )
    return path


def parse_beton(path: Path) -> dict[str, Any]:
    """Every sample of a two-field file, by the text of the format alone."""
    data = path.read_bytes()
    version, num_fields, page_size, count, table_at = struct.unpack_from("<HHIQQ", data)
    types = [data[24 + 1041 * i] for i in range(num_fields)]
    names = [data[25 + 1041 * i : 41 + 1041 * i].rstrip(b"\0").decode() for i in range(num_fields)]
    table = {
        pointer: (sample, size)
        for sample, pointer, size in struct.iter_unpack("<QQQ", data[table_at:])
    }
    samples = []
    for i in range(count):
        at = 24 + 1041 * num_fields + 24 * i
        mode, width, height, pointer = struct.unpack_from("<BHHQ", data, at)
        (label,) = struct.unpack_from("<q", data, at + 16)
        owner, size = table[pointer]
        assert owner == i
        samples.append((mode, height, width, label, data[pointer : pointer + size], pointer))
    return {
        "version": version,
        "page_size": page_size,
        "types": types,
        "names": names,
        "samples": samples,
        "table_at": table_at,
        "num_allocations": len(table),
    }


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
