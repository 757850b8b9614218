"""Each source format against what numpy, PIL, torchvision and pyarrow read from it."""

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from beton_samples import (
    as_jpeg,
    as_png,
    small_folder,
    small_idx,
    smooth_pixels,
    some_pixels,
    write_cifar_python,
    write_folder,
    write_idx,
    write_parquet,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_samples import write_tar

from beton_builder.errors import BadOption, BadSource, DamagedSource, SourceNotFound
from beton_builder.normalisation import CIFAR10_CLASSES, is_cifar, resolve
from beton_builder.sources import known_names
from beton_builder.sources.detect import detect_format, open_source
from beton_builder.sources.image_folder import open_image_folder
from beton_builder.sources.samples import Split, Unreadable


def all_of(split: Split) -> list:
    return [split[i][0] for i in range(len(split))]  # type: ignore[index]


@pytest.mark.parametrize("gz", [False, True])
def test_idx_images_and_labels_come_in_file_order(tmp_path: Path, gz: bool) -> None:
    images, labels = some_pixels(9, 6, 5, 1)[..., 0], np.arange(9) % 4
    source = open_source(write_idx(tmp_path, images, labels, gz=gz))
    train = source.splits["train"]
    assert (source.format, source.classes) == ("idx", ("0", "1", "2", "3"))
    np.testing.assert_array_equal(np.array(all_of(train))[..., 0], images)
    np.testing.assert_array_equal(train.labels, labels)


def test_idx_reading_may_jump_back_and_forth(tmp_path: Path) -> None:
    images = some_pixels(9, 6, 5, 1)[..., 0]
    write_idx(tmp_path, images, np.arange(9) % 4, gz=True)
    train = pickle.loads(pickle.dumps(open_source(tmp_path).splits["train"]))
    for first, stop in ((4, 6), (0, 2), (8, 9), (0, 9)):
        np.testing.assert_array_equal(train.read(first, stop)[..., 0], images[first:stop])


def test_idx_test_images_are_found_under_both_names(tmp_path: Path) -> None:
    for word in ("t10k", "test"):
        folder = small_idx(tmp_path / word)
        if word == "test":
            for path in folder.glob("t10k*"):
                path.rename(folder / path.name.replace("t10k-images-idx3", "test-images.idx3"))
        assert len(open_source(folder).splits["test"]) == 6


@pytest.mark.parametrize("hundred", [False, True])
def test_cifar_python_batches_come_in_their_order(tmp_path: Path, hundred: bool) -> None:
    planes = some_pixels(8, 3, 1024, 1).reshape(8, 3072)
    source = open_source(write_cifar_python(tmp_path, planes, [0, 1, 2, 3] * 2, hundred))
    expected = planes.reshape(8, 3, 32, 32).transpose(0, 2, 3, 1)
    train = source.splits["train"]
    assert len(train) == 8 * (1 if hundred else 5)
    np.testing.assert_array_equal(train.read(len(train) - 8, len(train)), expected)
    if hundred:
        assert source.superclasses == ("insect", "mammal")
        assert source.superclass_of == (0, 0, 1, 1)
        assert source.classes == ("ant", "bee", "cat", "dog")


def test_cifar_python_is_read_as_torchvision_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    write_cifar_python(folder, some_pixels(4, 3, 1024, 1).reshape(4, 3072), [3, 1, 2, 0], False)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    theirs, ours = CIFAR10(tmp_path), open_source(tmp_path).splits["train"]
    np.testing.assert_array_equal(ours.read(0, 20), theirs.data)  # type: ignore[attr-defined]
    assert ours.labels.tolist() == theirs.targets


@pytest.mark.parametrize("hundred", [False, True])
def test_cifar_binary_records_come_in_their_order(tmp_path: Path, hundred: bool) -> None:
    planes = some_pixels(6, 3, 1024, 1).reshape(6, 3072)
    fine, coarse = np.array([0, 1, 2, 3, 0, 1], np.uint8), np.array([0, 0, 1, 1, 0, 0], np.uint8)
    columns = [coarse[:, None], fine[:, None], planes] if hundred else [fine[:, None], planes]
    data = np.concatenate(columns, axis=1).astype(np.uint8).tobytes()
    names = "ant\nbee\ncat\ndog\n"
    if hundred:
        files = {"train.bin": data, "test.bin": data, "fine_label_names.txt": names.encode()}
        files["coarse_label_names.txt"] = b"insect\nmammal\n"
    else:
        files = {f"data_batch_{i}.bin": data for i in range(1, 6)}
        files["batches.meta.txt"] = names.encode()
    source = open_source(write_folder(tmp_path, files))
    expected = planes.reshape(6, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(source.splits["train"].read(0, 6), expected)  # type: ignore
    assert source.splits["train"].labels[:6].tolist() == fine.tolist()
    assert ("test" in source.splits) == hundred
    assert source.superclass_of == ((0, 0, 1, 1) if hundred else None)


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple:
        return (os.mkdir, (self.trace,))


@pytest.mark.parametrize("where", ["train", "meta"])
def test_a_pickle_that_asks_for_anything_else_is_refused_unrun(tmp_path: Path, where: str) -> None:
    write_cifar_python(tmp_path, some_pixels(4, 3, 1024, 1).reshape(4, 3072), [0, 1, 2, 3], True)
    bomb = {"data": Malicious(tmp_path / "trace")}
    (tmp_path / where).write_bytes(pickle.dumps(bomb, protocol=2))
    with pytest.raises(DamagedSource, match=r"asks for posix.mkdir, which no CIFAR file needs"):
        open_source(tmp_path)
    assert not (tmp_path / "trace").exists()


@settings(max_examples=40)
@given(st.integers(1, 2000))
def test_a_truncated_cifar_pickle_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cifar")
    write_cifar_python(folder, some_pixels(1, 3, 1024, 1).reshape(1, 3072), [0], True)
    whole = (folder / "train").read_bytes()
    (folder / "train").write_bytes(whole[: -min(cut, len(whole))])
    with pytest.raises(DamagedSource):
        open_source(folder)


def test_parquet_rows_come_in_order_across_files_and_row_groups(tmp_path: Path) -> None:
    images = [as_png(pixels) for pixels in some_pixels(11, 6, 6)]
    names = {"label": ["b", "a", "c"]}
    for part, rows in (("00000", slice(0, 6)), ("00001", slice(6, 11))):
        labels = [i % 3 for i in range(11)][rows]
        path = tmp_path / "data" / f"train-{part}-of-00002.parquet"
        write_parquet(path, list(images[rows]), {"label": labels}, names)
    source = open_source(tmp_path)
    train = pickle.loads(pickle.dumps(source.splits["train"]))
    assert source.classes == ("b", "a", "c")
    assert train.labels.tolist() == [i % 3 for i in range(11)]
    assert train.read(0, 11) == images
    assert [train.read(i, i + 3) for i in (7, 2, 3)] == [images[7:10], images[2:5], images[3:6]]
    assert train.name_of(7) == "train-00001-of-00002.parquet#1"


def test_parquet_keeps_superclasses_and_refuses_crossing_ones(tmp_path: Path) -> None:
    images = [as_png(pixels) for pixels in some_pixels(4, 6, 6)]
    names = {"fine_label": ["a", "b", "c", "d"], "coarse_label": ["x", "y"]}
    columns = {"fine_label": [0, 1, 2, 3], "coarse_label": [1, 0, 0, 1]}
    write_parquet(tmp_path / "train-0.parquet", images, columns, names)
    source = open_source(tmp_path)
    assert (source.superclasses, source.superclass_of) == (("x", "y"), (1, 0, 0, 1))
    columns = {"fine_label": [0, 0, 2, 3], "coarse_label": [1, 0, 0, 1]}
    write_parquet(tmp_path / "train-0.parquet", images, columns, names)
    with pytest.raises(BadSource, match="class 'a' lies in 2 superclasses"):
        open_source(tmp_path)


def test_parquet_without_class_names_counts_its_labels(tmp_path: Path) -> None:
    images: list[bytes | None] = [as_png(pixels) for pixels in some_pixels(4, 6, 6)]
    images[2] = None
    write_parquet(tmp_path / "train.parquet", images, {"label": [0, 1, 2, 1]})
    source = open_source(tmp_path)
    assert source.classes == ("0", "1", "2")
    assert isinstance(source.splits["train"][2][0], Unreadable)  # type: ignore[index]


def test_an_unlabelled_parquet_test_split_gives_way_to_validation(tmp_path: Path) -> None:
    images: list[bytes | None] = [as_png(pixels) for pixels in some_pixels(2, 6, 6)]
    for word, labels in (("train", [0, 1]), ("test", [-1, -1]), ("validation", [1, 0])):
        write_parquet(tmp_path / f"{word}-0.parquet", images, {"label": labels})
    source = open_source(tmp_path)
    assert source.origins["test"] == "validation-0.parquet"
    assert source.splits["test"].labels.tolist() == [1, 0]


def test_image_folders_are_ordered_as_torchvision_orders_them(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    names = ["b/2.jpg", "b/10.jpg", "b/x/1.JPEG", "b/x-y/1.png", "a/z.jpg", "a/B.jpg", "c d/é.jpg"]
    write_folder(tmp_path / "train", {name: as_jpeg(smooth_pixels(8, 8)) for name in names})
    source = open_source(tmp_path)
    theirs = ImageFolder(str(tmp_path / "train"))
    train = source.splits["train"]
    assert list(source.classes) == theirs.classes
    assert train.labels.tolist() == theirs.targets
    ours = [str(tmp_path / train.name_of(i)) for i in range(len(train))]
    assert ours == [path for path, _ in theirs.samples]


def test_image_folder_splits_come_from_val_or_from_a_test_with_classes(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "a")
    assert open_source(folder).origins == {"train": "train", "test": "val"}
    write_folder(folder, {"test/unlabelled.jpg": b""})
    assert open_source(folder).origins["test"] == "val"
    write_folder(folder, {f"test/class{i}/0.jpg": as_jpeg(smooth_pixels(8, 8)) for i in range(2)})
    assert open_source(folder).origins["test"] == "test"
    assert open_source(folder / "train").origins == {"train": "."}


def test_a_relative_source_is_the_same_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = open_source(small_folder(tmp_path))
    monkeypatch.chdir(tmp_path)
    for where in (".", "train/.."):
        relative = open_source(where)
        assert (relative.name, relative.fingerprint) == (tmp_path.name, absolute.fingerprint)
        assert relative.splits["train"].name_of(0) == "train/class0/0.JPEG"


def test_files_that_are_no_images_are_counted_and_other_image_types_refused(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    names = ("train/class0/.DS_Store", "train/class1/notes.txt", "train/README")
    write_folder(folder, dict.fromkeys(names, b"text"))
    source = open_source(folder)
    assert sorted(source.ignored) == sorted(names)
    assert len(source.splits["train"]) == 8
    write_folder(folder, {"train/class0/picture.webp": b"RIFF"})
    with pytest.raises(BadSource, match=r"picture\.webp is an image that is neither JPEG nor PNG"):
        open_source(folder)


def test_links_to_class_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    small_folder(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for label in range(2):
        (tmp_path / "linked" / f"c{label}").symlink_to(tmp_path / "real/train" / f"class{label}")
    (tmp_path / "real/train/class0/again").symlink_to(tmp_path / "real/train/class0")
    for folder in ("linked", "real"):
        train = open_image_folder(tmp_path / folder).splits["train"]
        assert train.labels.tolist() == [0] * 4 + [1] * 4
        assert train.name_of(0).endswith("0/0.JPEG")


def test_a_source_with_images_but_no_classes_is_not_an_image_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_folder(tmp_path, {f"{split}/{i}.jpg": as_jpeg(smooth_pixels(8, 8)) for i in range(2)})
    with pytest.raises(SourceNotFound, match="no known format"):
        open_source(tmp_path)


@pytest.mark.parametrize("kind", ["idx", "cifar", "parquet", "image-folder"])
def test_the_format_is_detected(tmp_path: Path, kind: str) -> None:
    if kind == "idx":
        small_idx(tmp_path)
    elif kind == "cifar":
        write_cifar_python(tmp_path, some_pixels(1, 3, 1024, 1).reshape(1, 3072), [0], True)
    elif kind == "parquet":
        write_parquet(tmp_path / "train-0.parquet", [b""], {"label": [0]})
    else:
        write_folder(small_folder(tmp_path), {"train/class0/stray.parquet": b""})
    assert detect_format(tmp_path) == kind


def test_detection_says_what_it_looked_for(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.tar": b"", "b.tar": b""})
    with pytest.raises(SourceNotFound) as caught:
        open_source(tmp_path)
    formats = ("train-images-idx3-ubyte", "data_batch_1", "train-*.parquet", "train-*.tar")
    for expected in (*formats, "a.tar, b.tar"):
        assert expected in str(caught.value)


@pytest.mark.parametrize("format", ["idx", "cifar", "parquet", "image-folder", "webdataset"])
def test_a_named_format_that_is_not_there_is_refused(tmp_path: Path, format: str) -> None:
    write_folder(tmp_path, {"a.tar": b""})
    with pytest.raises(SourceNotFound, match="expected"):
        open_source(tmp_path, format)
    with pytest.raises(BadOption, match="unknown format 'zip'; expected one of auto"):
        open_source(tmp_path, "zip")


def test_a_known_name_comes_from_the_debian_package_or_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(known_names, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    small_idx(tmp_path / "cache/FashionMNIST/raw")
    (tmp_path / "cache/fashion-mnist.complete").touch()
    source = open_source("fashion-mnist")
    assert (source.name, source.folder) == ("fashion-mnist", tmp_path / "cache/FashionMNIST/raw")
    small_idx(tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():
        (tmp_path / "debian").mkdir(exist_ok=True)
        (tmp_path / "debian" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert open_source("fashion-mnist").folder == tmp_path / "debian"
    small_folder(tmp_path / "fashion-mnist")
    assert open_source("fashion-mnist").format == "image-folder"


def test_a_download_that_fails_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", no_network)
    with pytest.raises(SourceNotFound, match=r"cifar10 could not be downloaded.*no route to host"):
        open_source("cifar10")


def test_auto_normalisation_follows_the_protocol(tmp_path: Path) -> None:
    pixels = as_jpeg(smooth_pixels(8, 8))
    classes = CIFAR10_CLASSES.split()
    folder = write_folder(tmp_path / "a", {f"{name}/0.jpg": pixels for name in classes})
    assert is_cifar(open_source(folder))
    assert resolve("auto", open_source(folder)) == "cifar10"
    assert resolve("auto", open_source(small_folder(tmp_path / "b"))) == "imagenet"
    assert resolve("auto", open_source(small_idx(tmp_path / "c"))) == "measured"


@pytest.mark.parametrize("encode", [as_jpeg, as_png])
@pytest.mark.parametrize(("mode", "expected"), [("RGB", "imagenet"), ("L", "measured")])
def test_auto_normalisation_of_photographs_is_the_same_in_every_container(
    tmp_path: Path, encode: Callable[..., bytes], mode: str, expected: str
) -> None:
    images = [encode(smooth_pixels(8, 9, seed=i), mode) for i in range(3)]
    write_parquet(tmp_path / "a/train-0.parquet", [b"", *images], {"label": [0, 0, 1, 1]})
    for i, image in enumerate(images):
        members = [(f"{i}.jpg", image), (f"{i}.cls", b"%d" % (i % 2))]
        write_tar(tmp_path / f"b/train-{i}.tar", members)
    for name in "ab":
        assert resolve("auto", open_source(tmp_path / name)) == expected
