"""Folders of images by class, with and without soft labels, as SRe2L and others leave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from distilled_cases import CLASSES, make_pixels
from PIL import Image

import beton_builder
from engine.distilled import open_distilled
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.loading import load_resident


def write_folder(root: Path, folders, pixels) -> list[str]:
    names = []
    for number, image in enumerate(pixels.images_nhwc):
        name = f"{folders[pixels.classes_n[number]]}/{number:03d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name)
        names.append(name)
    return names


@pytest.mark.parametrize(
    "folders", [CLASSES, ("0", "1", "2"), ("new000", "new001", "new002"), ("00", "01", "02")]
)
def test_class_folders_by_name_or_number(tmp_path, dataset, folders) -> None:
    pixels = make_pixels()
    write_folder(tmp_path / "set", folders, pixels)
    found = open_distilled(tmp_path / "set", dataset=dataset)
    assert np.array_equal(found.images_nchw.permute(0, 2, 3, 1).numpy(), pixels.images_nhwc)
    assert np.array_equal(found.labels, pixels.classes_n)
    assert [f.about for f in found.findings] == ([] if folders == CLASSES else ["class folders"])


def test_a_folder_that_is_no_class_is_named(tmp_path, dataset) -> None:
    write_folder(tmp_path, ("ant", "bee", "cats"), make_pixels())
    with pytest.raises(MismatchError, match=r"'cats' is no class.*did you mean 'cat'"):
        open_distilled(tmp_path, dataset=dataset)


def test_soft_labels_by_file_name_in_npz(tmp_path, dataset) -> None:
    pixels = make_pixels()
    names = write_folder(tmp_path, CLASSES, pixels)
    order = np.array([3, 1, 5, 0, 2, 4])
    np.savez(
        tmp_path / "labels.npz",
        files=np.array(names)[order],
        logits=np.log(pixels.soft_nk)[order] * 2,
    )
    found = open_distilled(tmp_path, dataset=dataset)
    expected = pixels.soft_nk.astype(float) ** 2
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(found.targets_nk, expected, atol=1e-5)
    np.savez(tmp_path / "labels.npz", files=names, logits=np.float32(1))
    with pytest.raises(ArtefactError, match=r"expected files \(n,\) and logits \(n, classes\)"):
        open_distilled(tmp_path, dataset=dataset)
    np.savez(tmp_path / "labels.npz", files=names[:5], logits=pixels.soft_nk[:5])
    with pytest.raises(ArtefactError, match=r"found none for cat/005\.png"):
        open_distilled(tmp_path, dataset=dataset)


def test_soft_labels_in_csv_with_columns_in_another_order(tmp_path, dataset) -> None:
    pixels = make_pixels()
    names = write_folder(tmp_path, CLASSES, pixels)
    lines = ["file,cat,ant,bee"]
    for name, row in zip(names, pixels.soft_nk.astype(float), strict=True):
        lines.append(f"{name},{row[2]},{row[0]},{row[1]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    found = open_distilled(tmp_path, dataset=dataset)
    assert np.array_equal(found.targets_nk, pixels.soft_nk)
    (tmp_path / "labels.csv").write_text("\n".join(["file,cat,ant,dog", *lines[1:]]))
    with pytest.raises(MismatchError, match="'dog' is none"):
        open_distilled(tmp_path, dataset=dataset)


def test_images_of_many_sizes_become_what_evaluation_would_see(tmp_path) -> None:
    """The reference is a dataset built of the same files and loaded as evaluation loads it."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 2)):
        for name in CLASSES:
            folder = tmp_path / "source" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                size = generator.integers(40, 90, 2)
                image = Image.fromarray(generator.integers(0, 256, (*size, 3)).astype(np.uint8))
                image.save(folder / f"{number}.jpg", quality=90)
    beton_builder.build_beton(tmp_path / "source", tmp_path / "data", workers=1)
    dataset = beton_builder.open_dataset(tmp_path / "data")
    reference = load_resident(dataset, "train", resolution=32)
    found = open_distilled(tmp_path / "source", dataset=dataset, resolution=32)
    assert np.array_equal(found.images_nchw.numpy(), reference.images.numpy())
    assert np.array_equal(found.labels, reference.labels.numpy())
    (finding,) = found.findings
    assert (finding.about, finding.taken_as[:5]) == ("image sizes", "32x32")
    with pytest.raises(MismatchError, match=r"student\.resolution"):
        open_distilled(tmp_path / "source", dataset=dataset)


def test_a_damaged_image_is_named(tmp_path, dataset) -> None:
    names = write_folder(tmp_path, CLASSES, make_pixels())
    data = (tmp_path / names[2]).read_bytes()
    (tmp_path / names[2]).write_bytes(data[:-40])
    with pytest.raises(DamageError, match=r"bee/002\.png"):
        open_distilled(tmp_path, dataset=dataset)


def test_nothing_usable_says_what_was_looked_for(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ArtefactError, match=r"Looked for: \.pt"):
        open_distilled(tmp_path)
    with pytest.raises(ArtefactError, match="there is nothing at"):
        open_distilled(tmp_path / "absent")
