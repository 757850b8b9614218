"""`.npz`, HDF5, parquet and tar files written by other libraries, and what numbers may mean."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distilled_cases import CLASSES, Pixels, make_pixels, normalised
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import beton_builder
from engine.distilled import open_distilled
from engine.distilled.pixels import understand_values
from engine.errors import ArtefactError, DamageError, MismatchError, UsageError


@pytest.fixture(scope="module")
def dataset(small_data: Path) -> beton_builder.Dataset:
    return beton_builder.open_dataset(small_data)


@pytest.fixture
def pixels() -> Pixels:
    return make_pixels()


def test_npz_of_bytes_in_either_layout(tmp_path, dataset, pixels) -> None:
    nchw = pixels.images_nhwc.transpose(0, 3, 1, 2)
    for number, images in enumerate((pixels.images_nhwc, nchw, nchw.astype(np.float64))):
        path = tmp_path / f"{number}.npz"
        np.savez(path, images=images, labels=pixels.classes_n[:, None], probs=pixels.soft_nk)
        found = open_distilled(path, dataset=dataset)
        assert np.array_equal(found.images_nchw.numpy(), nchw)
        assert (found.scale, found.label_kind) == ("bytes", "probabilities")
        assert np.array_equal(found.targets_nk, pixels.soft_nk)
        assert np.array_equal(found.labels, pixels.classes_n)
        hard = open_distilled(path, dataset=dataset, label_kind="hard")
        assert np.array_equal(hard.targets_nk, np.eye(3)[pixels.classes_n])


def test_logits_by_their_name(tmp_path, dataset, pixels) -> None:
    logits = np.log(pixels.soft_nk) + 3
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, logits=logits)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    np.testing.assert_allclose(found.targets_nk, pixels.soft_nk, atol=1e-6)


def test_hdf5_of_ra_bptt(tmp_path, dataset, pixels) -> None:
    images = normalised(pixels.images_nhwc, dataset.mean, dataset.std)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["data"] = images.reshape(len(images), -1)
        file["label"] = pixels.soft_nk
        file["epoch"] = 7
    found = open_distilled(tmp_path / "set.h5", dataset=dataset)
    assert np.array_equal(found.images_nchw.numpy(), images)
    assert (found.scale, found.label_kind, found.format) == (
        "normalised",
        "probabilities",
        "hdf5",
    )


def test_hdf5_does_not_follow_links_into_other_files(tmp_path, pixels) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = pixels.images_nhwc
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["images"] = h5py.ExternalLink("secret.h5", "/images")
        file["labels"] = pixels.classes_n
    with pytest.raises(ArtefactError, match="expected images"):
        open_distilled(tmp_path / "set.h5")


def test_without_h5py_the_message_names_the_extra(tmp_path, monkeypatch) -> None:
    (tmp_path / "set.h5").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UsageError, match=r"softlabel-engine\[hdf5\]"):
        open_distilled(tmp_path / "set.h5")


def test_unit_floats_stay_floats(tmp_path, dataset, pixels) -> None:
    unit = (pixels.images_nhwc / 255).astype(np.float32)
    np.savez(tmp_path / "set.npz", images=unit, labels=pixels.classes_n)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert (found.scale, found.normalised) == ("unit", False)
    assert np.array_equal(found.images_nchw.numpy(), unit.transpose(0, 3, 1, 2))
    said = open_distilled(tmp_path / "set.npz", dataset=dataset, images="normalised")
    assert said.normalised
    assert not said.findings
    np.savez(tmp_path / "negative.npz", images=unit - 1, labels=pixels.classes_n)
    with pytest.raises(UsageError, match="which images 'bytes' can't be"):
        open_distilled(tmp_path / "negative.npz", dataset=dataset, images="bytes")


def test_what_could_mean_several_things_is_refused(tmp_path, dataset, pixels) -> None:
    odd = pixels.images_nhwc / 3.0  # neither bytes, nor within 0..1, nor negative anywhere
    np.savez(tmp_path / "set.npz", images=odd, labels=pixels.classes_n)
    with pytest.raises(ArtefactError, match="--images bytes"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset, images="bytes")
    assert found.scale == "unit"
    np.testing.assert_allclose(
        found.images_nchw.numpy(), (odd / 255).transpose(0, 3, 1, 2), rtol=1e-6
    )


@given(
    low=st.floats(-30, 300, allow_nan=False),
    width=st.floats(0, 300, allow_nan=False),
    whole=st.booleans(),
)
def test_a_guess_is_one_that_saying_it_would_allow(low: float, width: float, whole: bool) -> None:
    """Whatever is guessed could have been said, with the same result."""
    values = np.linspace(low, low + width, 48).reshape(1, 3, 4, 4)
    array = np.rint(values) if whole else values
    try:
        guessed, scale, finding = understand_values(array, "auto", "here")
    except ArtefactError:
        return
    assert finding is not None
    said, same, silent = understand_values(array, finding.taken_as, "here")
    assert (same, silent) == (scale, None)
    assert np.array_equal(said, guessed)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_with_its_image(tmp_path, dataset, pixels, bad: float) -> None:
    images = normalised(pixels.images_nhwc, dataset.mean, dataset.std)
    images[4, 1, 2, 3] = bad
    np.savez(tmp_path / "set.npz", images=images, labels=pixels.classes_n)
    with pytest.raises(ArtefactError, match="image 4 has NaN"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    labels = pixels.soft_nk.copy()
    labels[3, 0] = bad
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, labels=labels)
    with pytest.raises(ArtefactError, match="label of image 3"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)


def test_another_number_of_classes_is_refused(tmp_path, dataset, pixels) -> None:
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, soft_labels=pixels.soft_nk[:, :2])
    with pytest.raises(MismatchError, match="2 columns, and the dataset has 3"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    rows = pixels.soft_nk * 1.5
    np.savez(tmp_path / "set.npz", images=pixels.images_nhwc, soft_labels=rows)
    with pytest.raises(UsageError, match=r"sums to 1\.5.*logits, or weights"):
        open_distilled(tmp_path / "set.npz", dataset=dataset, label_kind="probabilities")


def test_pickled_objects_and_damage_in_npz_are_refused(tmp_path, pixels) -> None:
    np.savez(tmp_path / "set.npz", images=np.array([{}], dtype=object), labels=pixels.classes_n)
    with pytest.raises(DamageError, match="plain arrays"):
        open_distilled(tmp_path / "set.npz")
    np.savez(tmp_path / "whole.npz", images=pixels.images_nhwc, labels=pixels.classes_n)
    data = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DamageError):
        open_distilled(tmp_path / "cut.npz")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    with pytest.raises(DamageError, match="no HDF5 file"):
        open_distilled(tmp_path / "cut.h5")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(DamageError, match="parquet"):
        open_distilled(tmp_path / "cut.parquet")


def test_names_that_say_nothing_are_listed(tmp_path, pixels) -> None:
    np.savez(tmp_path / "set.npz", first=pixels.images_nhwc, second=pixels.classes_n)
    with pytest.raises(ArtefactError, match=r"expected images.*found first \(6, 16, 16, 3\)"):
        open_distilled(tmp_path / "set.npz")


def _png(image: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(image).save(target, "PNG")
    return target.getvalue()


def test_parquet_made_elsewhere(tmp_path, dataset, pixels) -> None:
    """Class names of another order in Hugging Face's metadata are noticed."""
    columns = {
        "image": [{"bytes": _png(image), "path": None} for image in pixels.images_nhwc],
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


def test_tars_made_elsewhere_with_json_labels(tmp_path, dataset, pixels) -> None:
    path = tmp_path / "shard-0.tar"
    with tarfile.open(path, "w") as archive:
        for number, image in enumerate(pixels.images_nhwc):
            label = json.dumps({"soft_label": pixels.soft_nk[number].tolist()}).encode()
            for suffix, content in ((".PNG", _png(image)), (".json", label)):
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


def test_hdf5_arrays_that_lie_in_other_files_are_not_read(tmp_path, pixels) -> None:
    """Neither raw bytes of any file, nor parts of another HDF5 file."""
    (tmp_path / "secret.bin").write_bytes(pixels.images_nhwc.tobytes())
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["images"] = pixels.images_nhwc
    shape = pixels.images_nhwc.shape
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        outside = [(str(tmp_path / "secret.bin"), 0, pixels.images_nhwc.nbytes)]
        file.create_dataset("images", shape, "u1", external=outside)
        file["labels"] = pixels.classes_n
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(shape, "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "images", shape)
        file.create_virtual_dataset("images", layout)
        file["labels"] = pixels.classes_n
    for name in ("raw.h5", "virtual.h5"):
        with pytest.raises(ArtefactError, match=r"expected images.*found labels"):
            open_distilled(tmp_path / name)


def test_the_npz_of_an_export_brings_its_class_order(tmp_path, dataset, pixels) -> None:
    arrays = {
        "images": pixels.images_nhwc,
        "labels": pixels.classes_n,
        "soft_labels": pixels.soft_nk,
        "sample_ids": np.arange(6),
    }
    np.savez(tmp_path / "ours.npz", **arrays, classes=np.array(CLASSES))
    assert open_distilled(tmp_path / "ours.npz", dataset=dataset).classes == CLASSES
    np.savez(tmp_path / "turned.npz", **arrays, classes=np.array(CLASSES[::-1]))
    with pytest.raises(MismatchError, match="class 0 is 'cat' there, and 'ant'"):
        open_distilled(tmp_path / "turned.npz", dataset=dataset)


def test_values_from_minus_one_to_one_are_not_taken_for_normalised(
    tmp_path, dataset, pixels
) -> None:
    scaled = (pixels.images_nhwc / 127.5 - 1).astype(np.float32)
    np.savez(tmp_path / "set.npz", images=scaled, labels=pixels.classes_n)
    with pytest.raises(ArtefactError, match="-1 to 1, has to be converted first"):
        open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert open_distilled(tmp_path / "set.npz", dataset=dataset, images="normalised").normalised


def test_soft_labels_that_contradict_the_classes_are_said(tmp_path, dataset, pixels) -> None:
    sure = np.eye(3, dtype=np.float32)[pixels.classes_n]
    for name, labels in (("right", sure), ("turned", sure[:, [1, 2, 0]])):
        np.savez(
            tmp_path / f"{name}.npz",
            images=pixels.images_nhwc,
            labels=pixels.classes_n,
            probs=labels,
        )
    assert not open_distilled(tmp_path / "right.npz", dataset=dataset).findings
    (finding,) = open_distilled(tmp_path / "turned.npz", dataset=dataset).findings
    assert finding.about == "order of soft labels"
    assert "0 of 6" in finding.because


def test_rows_of_colour_pixels_say_how_they_were_taken(tmp_path, dataset, pixels) -> None:
    rows = pixels.images_nhwc.transpose(0, 3, 1, 2).reshape(6, -1)
    np.savez(tmp_path / "set.npz", images=rows, labels=pixels.classes_n)
    found = open_distilled(tmp_path / "set.npz", dataset=dataset)
    assert [finding.about for finding in found.findings] == ["rows of pixels"]


def test_nothing_at_all_is_refused(tmp_path, dataset, pixels) -> None:
    for labels in (pixels.classes_n[:0], pixels.soft_nk[:0]):
        np.savez(tmp_path / "set.npz", images=pixels.images_nhwc[:0], labels=labels)
        for of in (dataset, None):
            with pytest.raises(ArtefactError, match="there is no label in it"):
                open_distilled(tmp_path / "set.npz", dataset=of)


@pytest.mark.parametrize("label", [3, "ant", [[0.5, 0.5, 0.0]], [0.5, None, 0.5]])
def test_labels_in_tars_that_are_no_rows_are_damage(tmp_path, dataset, pixels, label) -> None:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for suffix, content in (
            (".png", _png(pixels.images_nhwc[0])),
            (".json", json.dumps({"soft_label": label}).encode()),
        ):
            member = tarfile.TarInfo(f"{'9' * 30}{suffix}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DamageError, match="expected a row of numbers"):
        open_distilled(path, dataset=dataset)


def test_parquet_with_columns_of_another_type_is_refused(tmp_path, dataset, pixels) -> None:
    encoded = [_png(image) for image in pixels.images_nhwc]
    for name, columns, message in (
        ("labels", {"image": encoded, "soft_label": [0.5] * 6}, "expected lists of numbers"),
        ("images", {"image": [{"path": "x"}] * 6, "label": [0] * 6}, "bytes of JPEG or PNG"),
    ):
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        with pytest.raises(ArtefactError, match=message):
            open_distilled(tmp_path / f"{name}.parquet", dataset=dataset)
