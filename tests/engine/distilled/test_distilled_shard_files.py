"""Parquet and tar files written elsewhere: their columns, their class order, their damage."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distilled_cases import CLASSES, png_of

from engine.distilled import open_distilled
from engine.errors import ArtefactError, DamageError, MismatchError


def test_parquet_made_elsewhere(tmp_path, dataset, pixels) -> None:
    """Class names of another order in Hugging Face's metadata are noticed."""
    columns = {
        "image": [{"bytes": png_of(image), "path": None} for image in pixels.images_nhwc],
        "label": pixels.classes_n,
        "soft_label": list(pixels.soft_nk),
    }
    for names in (CLASSES, CLASSES[::-1]):
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = pa.table(columns).replace_schema_metadata(metadata)
        pq.write_table(table, tmp_path / f"{names[0]}.parquet")
    found = open_distilled(tmp_path / "ant.parquet", dataset=dataset)
    assert np.array_equal(found.images_nchw.permute(0, 2, 3, 1).numpy(), pixels.images_nhwc)
    assert np.array_equal(found.targets_nk, pixels.soft_nk)
    with pytest.raises(MismatchError, match="class 0 is 'cat' there, and 'ant'"):
        open_distilled(tmp_path / "cat.parquet", dataset=dataset)


def test_parquet_with_columns_of_another_type_is_refused(tmp_path, dataset, pixels) -> None:
    encoded = [png_of(image) for image in pixels.images_nhwc]
    for name, columns, message in (
        ("labels", {"image": encoded, "soft_label": [0.5] * 6}, "expected lists of numbers"),
        ("images", {"image": [{"path": "x"}] * 6, "label": [0] * 6}, "bytes of JPEG or PNG"),
    ):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        with pytest.raises(ArtefactError, match=message):
            open_distilled(tmp_path / f"{name}.parquet", dataset=dataset)


def test_tars_made_elsewhere_with_json_labels(tmp_path, dataset, pixels) -> None:
    path = tmp_path / "shard-0.tar"
    with tarfile.open(path, "w") as archive:
        for number, image in enumerate(pixels.images_nhwc):
            label = json.dumps({"soft_label": pixels.soft_nk[number].tolist()}).encode()
            for suffix, content in ((".PNG", png_of(image)), (".json", label)):
                member = tarfile.TarInfo(f"some.folder/sample-{number}{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    found = open_distilled(path, dataset=dataset)
    assert np.array_equal(found.images_nchw.permute(0, 2, 3, 1).numpy(), pixels.images_nhwc)
    assert np.array_equal(found.targets_nk, pixels.soft_nk)
    data = path.read_bytes()
    path.write_bytes(data[:1500])
    with pytest.raises(DamageError, match="tar"):
        open_distilled(path, dataset=dataset)


@pytest.mark.parametrize("label", [3, "ant", [[0.5, 0.5, 0.0]], [0.5, None, 0.5]])
def test_labels_in_tars_that_are_no_rows_are_damage(tmp_path, dataset, pixels, label) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for suffix, content in (
            (".png", png_of(pixels.images_nhwc[0])),
            (".json", json.dumps({"soft_label": label}).encode()),
        ):
            member = tarfile.TarInfo(f"{'9' * 30}{suffix}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DamageError, match="expected a row of numbers"):
        open_distilled(path, dataset=dataset)
