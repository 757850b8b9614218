"""A distilled set's data files, as others load them: parquet, tar archives, or one npz.

In: rows, one image after the other. Out: the bytes of files, equal for equal rows and versions.

| Format | A row is |
|---|---|
| `parquet` | `image` {bytes, path}, `label`, `soft_label` list<float32>, `sample_id` |
| `webdataset` | `KEY.jpg` or `.png`, `KEY.cls`, `KEY.npy` (float32); KEY is the sample id |
| `npz` | arrays `images` (n, h, w, c), `labels`, `soft_labels`, `sample_ids`, `classes` |

Parquet, as Hugging Face writes it, and tar files hold the stored JPEG bytes, or a PNG of raw
pixels; npz has pixels.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from beton_builder import BetonFile
from beton_builder.beton_format import MODE_JPEG

FORMATS = ("parquet", "webdataset", "npz")
SHARD_BYTES = 400_000_000
ROWS_A_GROUP = 1_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of the set. suffix: of the encoded image's file. soft_k: float32 (k,)."""

    encoded: bytes
    suffix: str
    label: int
    soft_k: npt.NDArray[np.float32]
    sample_id: int


@dataclass(frozen=True, kw_only=True)
class Rows:
    """All of them, read from the dataset one at a time.

    ids, labels: int64 (n,). targets_nk: float32 (n, k). channels: 1 keeps one plane of a PNG.
    """

    beton: BetonFile
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    targets_nk: npt.NDArray[np.float32]
    channels: int

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, number: int) -> Row:
        """Row ``number``, with its image's bytes."""
        sample = int(self.ids[number])
        is_jpeg = self.beton.modes[sample] == MODE_JPEG
        return Row(
            encoded=self.beton.payload(sample).tobytes() if is_jpeg else self._png(sample),
            suffix=".jpg" if is_jpeg else ".png",
            label=int(self.labels[number]),
            soft_k=self.targets_nk[number],
            sample_id=sample,
        )

    def _png(self, sample: int) -> bytes:
        pixels = self.beton.image(sample)
        target = io.BytesIO()
        Image.fromarray(pixels[..., 0] if self.channels == 1 else pixels).save(target, "PNG")
        return target.getvalue()

    def shards(self) -> list[range]:
        """Spans of rows whose images and labels take about `SHARD_BYTES` at most."""
        label_bytes = self.targets_nk.shape[1] * 4
        sizes = self.beton.sizes[self.ids].astype(np.int64) + label_bytes
        numbers = (np.cumsum(sizes) - sizes) // SHARD_BYTES
        firsts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(self)]
        return [range(a, b) for a, b in itertools.pairwise(firsts)]


def data_files(
    rows: Rows, file_format: str, classes: Sequence[str], images_nhwc: npt.NDArray[np.uint8] | None
) -> Iterator[tuple[str, bytes, int]]:
    """(name, content, rows) of every data file, one after the other.

    ``images_nhwc``: pixels, for npz alone.
    """
    if file_format == "npz":
        assert images_nhwc is not None
        yield "data/train.npz", _npz(rows, classes, images_nhwc), len(rows)
        return
    shards = rows.shards()
    for number, span in enumerate(shards):
        of_shard = (rows.read(row) for row in span)
        if file_format == "parquet":
            name = f"data/train-{number:05d}-of-{len(shards):05d}.parquet"
            yield name, _parquet(list(of_shard), classes), len(span)
        else:
            yield f"data/train-{number:06d}.tar", _tar(of_shard), len(span)


def _npz(rows: Rows, classes: Sequence[str], images_nhwc: npt.NDArray[np.uint8]) -> bytes:
    target = io.BytesIO()
    np.savez(
        target,
        images=images_nhwc,
        labels=rows.labels,
        soft_labels=rows.targets_nk,
        sample_ids=rows.ids,
        classes=np.array(classes),
    )
    return target.getvalue()


def _parquet(rows: Sequence[Row], classes: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            ("image", image),
            ("label", pa.int64()),
            ("soft_label", pa.list_(pa.float32())),
            ("sample_id", pa.int64()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": _features(classes)}})},
    )
    encoded = [{"bytes": row.encoded, "path": _key(row) + row.suffix} for row in rows]
    columns = [
        pa.array(encoded, image),
        pa.array([row.label for row in rows], pa.int64()),
        pa.array([row.soft_k for row in rows], pa.list_(pa.float32())),
        pa.array([row.sample_id for row in rows], pa.int64()),
    ]
    target = io.BytesIO()
    table = pa.Table.from_arrays(columns, schema=schema)
    pq.write_table(table, target, compression="zstd", row_group_size=ROWS_A_GROUP)
    return target.getvalue()


def _features(classes: Sequence[str]) -> dict[str, object]:
    """What Hugging Face's `datasets` reads the columns as."""
    return {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"},
        "soft_label": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"},
        "sample_id": {"dtype": "int64", "_type": "Value"},
    }


def _tar(rows: Iterator[Row]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for row in rows:
            label = io.BytesIO()
            np.save(label, row.soft_k)
            members = {
                row.suffix: row.encoded,
                ".cls": str(row.label).encode(),
                ".npy": label.getvalue(),
            }
            for suffix, content in members.items():
                member = tarfile.TarInfo(_key(row) + suffix)  # of nobody, in 1970
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _key(row: Row) -> str:
    return f"{row.sample_id:09d}"
