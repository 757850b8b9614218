"""`.npz` and HDF5 files written by other libraries."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from distilled_cases import CLASSES, normalised

from engine.distilled import open_distilled
from engine.errors import ArtefactError, DamageError, MismatchError, UsageError


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


def test_without_h5py_the_message_says_what_to_install(tmp_path, monkeypatch) -> None:
    (tmp_path / "set.h5").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UsageError, match="pip install h5py"):
        open_distilled(tmp_path / "set.h5")


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
