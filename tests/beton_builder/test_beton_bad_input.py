"""Bad input ends in a clear error, exit code 2, and leaves nothing behind."""

import errno
import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from beton_samples import (
    as_jpeg,
    as_png,
    file_hashes,
    idx_bytes,
    small_folder,
    small_idx,
    smooth_pixels,
    some_pixels,
    write_cifar_python,
    write_folder,
    write_parquet,
)

from beton_builder import (
    BetonError,
    NoSpace,
    OutputUnusable,
    build_beton,
    open_dataset,
    split_builder,
    staging,
)

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def missing(folder: Path) -> None:
    pass


def empty(folder: Path) -> None:
    folder.mkdir()


def a_file(folder: Path) -> None:
    folder.write_bytes(b"")


def text_named_png(folder: Path) -> None:
    write_folder(small_folder(folder), {"train/class0/9.png": b"just some text"})


def truncated_jpeg(folder: Path) -> None:
    write_folder(small_folder(folder), {"train/class1/9.jpg": as_jpeg(smooth_pixels(30, 30))[:-9]})


def empty_image(folder: Path) -> None:
    write_folder(small_folder(folder), {"val/class1/9.jpg": b""})


def dangling_link(folder: Path) -> None:
    (small_folder(folder) / "train/class0/9.png").symlink_to(folder / "nowhere")


def class_without_images(folder: Path) -> None:
    (small_folder(folder) / "train/class2").mkdir()
    (folder / "val/class2").mkdir()


def splits_with_other_classes(folder: Path) -> None:
    write_folder(small_folder(folder), {"val/zebra/1.png": as_png(smooth_pixels(5, 5))})


def truncated_idx(folder: Path) -> None:
    path = small_idx(folder) / IMAGES
    path.write_bytes(path.read_bytes()[:-1])


def idx_with_more(folder: Path) -> None:
    path = small_idx(folder) / IMAGES
    path.write_bytes(path.read_bytes() + b"x")


def truncated_gzip(folder: Path) -> None:
    data = gzip.compress((small_idx(folder) / IMAGES).read_bytes())
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(data[:-20])


def damaged_gzip(folder: Path) -> None:
    data = bytearray(gzip.compress((small_idx(folder) / IMAGES).read_bytes()))
    data[-5] ^= 1  # its checksum
    (folder / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(data)


def text_named_gz(folder: Path) -> None:
    (small_idx(folder) / IMAGES).unlink()
    (folder / f"{IMAGES}.gz").write_bytes(b"not gzip at all")


def wrong_magic(folder: Path) -> None:
    (small_idx(folder) / LABELS).write_bytes(struct.pack(">II", 0x0803, 30) + bytes(30))


def fewer_labels(folder: Path) -> None:
    (small_idx(folder) / LABELS).write_bytes(idx_bytes(np.arange(29)))


def no_labels_file(folder: Path) -> None:
    (small_idx(folder) / LABELS).unlink()


def idx_label_unknown_to_train(folder: Path) -> None:
    (small_idx(folder) / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(6)))


def parquet_label_out_of_range(folder: Path) -> None:
    images = [as_png(pixels) for pixels in some_pixels(3, 5, 5)]
    names = {"label": ["a", "b"]}
    write_parquet(folder / "train-0.parquet", images, {"label": [0, 1, 7]}, names)


def parquet_without_label(folder: Path) -> None:
    write_parquet(folder / "train-0.parquet", [b""], {"height": [3]})


def parquet_null_image(folder: Path) -> None:
    images = [as_png(some_pixels(1, 5, 5)[0]), None]
    write_parquet(folder / "train-0.parquet", images, {"label": [0, 0]})


def truncated_parquet(folder: Path) -> None:
    path = write_parquet(folder / "train-0.parquet", [b"x"] * 9, {"label": [0] * 9})
    path.write_bytes(path.read_bytes()[:-7])


def cifar_without_meta(folder: Path) -> None:
    planes = some_pixels(4, 3, 1024, 1).reshape(4, 3072)
    (write_cifar_python(folder, planes, [0, 1, 2, 3], True) / "meta").unlink()


def cifar_label_out_of_range(folder: Path) -> None:
    planes = some_pixels(5, 3, 1024, 1).reshape(5, 3072)
    write_cifar_python(folder, planes, [0, 1, 2, 3, 4], False)


def truncated_cifar_binary(folder: Path) -> None:
    write_folder(folder, {f"data_batch_{i}.bin": bytes(3072) for i in range(1, 6)})
    write_folder(folder, {"batches.meta.txt": b"a\nb\n"})


CASES: list[tuple[Callable[[Path], None], str]] = [
    (missing, "does not exist"),
    (empty, "is an empty folder"),
    (a_file, "is a file; give the folder"),
    (text_named_png, r"sample train/class0/9\.png is neither JPEG nor PNG.*--on-error skip"),
    (truncated_jpeg, r"sample train/class1/9\.jpg is a JPEG that does not decode: Premature end"),
    (empty_image, r"sample val/class1/9\.jpg is an empty file"),
    (dangling_link, r"train/class0/9\.png cannot be read: No such file"),
    (class_without_images, "1 of 3 classes have no train images left: class2"),
    (splits_with_other_classes, r"disagree on their class folders: 1 only in val \(zebra\)"),
    (truncated_idx, "train-images-idx3-ubyte is truncated: 1 bytes are missing"),
    (idx_with_more, "goes on after its 30 items"),
    (truncated_gzip, "truncated or damaged gzip file"),
    (damaged_gzip, "truncated or damaged gzip file: CRC check failed"),
    (text_named_gz, "truncated or damaged gzip file"),
    (wrong_magic, "begins with 00000803, expected 00000801"),
    (fewer_labels, "holds 30 images but train-labels-idx1-ubyte 29 labels"),
    (no_labels_file, "has no labels file beside it"),
    (idx_label_unknown_to_train, "label 3 of sample t10k-images-idx3-ubyte#3.*expected 0..2"),
    (parquet_label_out_of_range, "label 7 of sample train-0.parquet#2.*expected 0..1"),
    (parquet_without_label, "0 label columns"),
    (parquet_null_image, "sample train-0.parquet#1 has no bytes"),
    (truncated_parquet, "not a readable parquet file"),
    (cifar_without_meta, "lacks meta"),
    (cifar_label_out_of_range, "label 4 of sample data_batch_1#4.*expected 0..3"),
    (truncated_cifar_binary, "is truncated: 3072 bytes"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=[make.__name__ for make, _ in CASES])
def test_bad_input_is_refused_and_leaves_nothing(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "source")
    with pytest.raises(BetonError, match=message) as caught:
        build_beton(tmp_path / "source", tmp_path / "deep/out", workers=2)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("make", "skipped"),
    [
        (text_named_png, "train/class0/9.png"),
        (truncated_jpeg, "train/class1/9.jpg"),
        (empty_image, "val/class1/9.jpg"),
        (dangling_link, "train/class0/9.png"),
        (idx_label_unknown_to_train, "t10k-images-idx3-ubyte#3"),
        (parquet_null_image, "train-0.parquet#1"),
    ],
)
def test_damaged_samples_can_be_left_out_and_are_listed(
    tmp_path: Path, make: Callable[[Path], None], skipped: str
) -> None:
    make(tmp_path / "source")
    result = build_beton(tmp_path / "source", tmp_path / "out", on_error="skip", workers=2)
    listed = [item["sample"] for items in skipped_in(tmp_path / "out") for item in items]
    assert skipped in listed
    assert result["skipped"] == len(listed)
    again = build_beton(tmp_path / "source", tmp_path / "out", on_error="skip")
    assert (again["status"], again["skipped"]) == ("finished already", len(listed))
    with pytest.raises(BetonError):
        build_beton(tmp_path / "source", tmp_path / "out", on_error="fail")


def skipped_in(out: Path) -> list[list[dict[str, str]]]:
    return list(open_dataset(out).manifest["skipped"].values())


def test_skipping_does_not_move_the_samples_that_stay(tmp_path: Path) -> None:
    build_beton(small_folder(tmp_path / "source"), tmp_path / "whole")
    text_named_png(tmp_path / "source")
    build_beton(tmp_path / "source", tmp_path / "skipped", on_error="skip")
    whole, skipped = open_dataset(tmp_path / "whole"), open_dataset(tmp_path / "skipped")
    assert whole.samples("train").source == skipped.samples("train").source
    assert whole.id == skipped.id


def test_nothing_usable_is_refused_even_when_skipping(tmp_path: Path) -> None:
    write_folder(tmp_path / "source", {"a/1.png": b"text", "b/1.png": b"text"})
    with pytest.raises(BetonError, match=r"no sample of split train can be used; a/1\.png"):
        build_beton(tmp_path / "source", tmp_path / "out", on_error="skip")
    write_folder(tmp_path / "source", {"a/2.png": as_png(smooth_pixels(5, 5))})
    with pytest.raises(BetonError, match="1 of 2 classes have no train images left: b"):
        build_beton(tmp_path / "source", tmp_path / "out", on_error="skip")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("call", ["pwritev", "fsync"])
def test_a_full_disk_is_an_error_of_ours_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def no_space(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    small_folder(tmp_path / "source")
    build_beton(tmp_path / "source", tmp_path / "old")
    before = file_hashes(tmp_path / "old")
    monkeypatch.setattr(os, call, no_space)
    for out, force in ((tmp_path / "deep/out", False), (tmp_path / "old", True)):
        options = {"max_resolution": 16} if force else {}
        with pytest.raises(NoSpace, match="no space left on the disk") as caught:
            build_beton(tmp_path / "source", out, force=force, **options)
        assert caught.value.exit_code == 2
    assert not (tmp_path / "deep").exists()
    assert file_hashes(tmp_path / "old") == before


def test_too_small_a_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100

    small_idx(tmp_path / "source")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    monkeypatch.setattr(staging, "Staging", None)
    with pytest.raises(NoSpace, match="MB free, the dataset needs about"):
        build_beton(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(split_builder, "report", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_beton(small_folder(tmp_path / "source"), tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()


def test_an_unwritable_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    small_idx(tmp_path / "source")
    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(OutputUnusable, match=r"cannot write to .*: Permission denied"):
        build_beton(tmp_path / "source", tmp_path / "locked/out")


LIMITED = """
import resource, signal, sys
import beton_builder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    beton_builder.build_beton(sys.argv[1], sys.argv[2])
except beton_builder.NoSpace as error:
    print(error)
"""


def test_the_kernels_refusal_to_write_on_is_an_error_of_ours(tmp_path: Path) -> None:
    small_idx(tmp_path / "source")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "source"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("no space left on the disk")
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_real_disk_that_fills_up(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        images = {f"c{i % 2}/{i}.png": as_png(smooth_pixels(200, 200, i)) for i in range(40)}
        write_folder(tmp_path / "source", images)
        with pytest.raises(NoSpace):
            build_beton(tmp_path / "source", small / "deep/out", workers=2)
        assert not any(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
