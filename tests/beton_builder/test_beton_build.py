"""Building: same bytes for any number of workers, identity, resuming, replacing, crash safety."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beton_samples import (
    as_jpeg,
    as_png,
    file_hashes,
    parse_beton,
    small_folder,
    small_idx,
    smooth_pixels,
    some_pixels,
    write_folder,
    write_idx,
    write_parquet,
)

from beton_builder import (
    BadOption,
    BetonError,
    DamagedSource,
    DatasetExists,
    OutputUnusable,
    beton_format,
    build_beton,
    dataset_info,
    jpeg,
    open_dataset,
    plan,
)
from beton_builder.sources.detect import open_source
from beton_builder.validation_split import validation_indices


def mixed_parquet(folder: Path, count: int = 60) -> Path:
    """PNGs, JPEGs and grey images of several sizes, in row groups of four."""
    images = []
    for i in range(count):
        pixels = smooth_pixels(10 + i % 7, 12 + i % 5, seed=i)
        images.append(as_jpeg(pixels, "L" if i % 5 == 0 else None) if i % 3 else as_png(pixels))
    write_parquet(folder / "train-0.parquet", images, {"label": [i % 3 for i in range(count)]})
    write_parquet(folder / "test-0.parquet", images[:9], {"label": [i % 3 for i in range(9)]})
    return folder


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("threads", {}),
        ("threads", {"max_resolution": 9}),
        ("threads", {"image_mode": "raw", "normalisation": "measured"}),
        ("processes", {"max_resolution": 9, "normalisation": "measured"}),
    ],
)
def test_the_bytes_are_the_same_for_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(plan, "_way_to_run", lambda kind, weights, workers: way)
    source = mixed_parquet(tmp_path / "source")
    for workers in (1, 2, 3):
        build_beton(source, tmp_path / f"out{workers}", workers=workers, **options)
    first = file_hashes(tmp_path / "out1")
    assert first == file_hashes(tmp_path / "out2") == file_hashes(tmp_path / "out3")
    assert set(first) == {
        "manifest.json", "train.beton", "train.samples.parquet", "test.beton",
        "test.samples.parquet",
    }  # fmt: skip


def test_files_and_manifest_say_what_the_source_says(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "source")
    result = build_beton(folder, tmp_path / "out")
    parsed = parse_beton(tmp_path / "out/train.beton")["samples"]
    records = open_dataset(tmp_path / "out").samples("train")
    for (mode, _, _, label, payload, _), name in zip(parsed, records.source, strict=True):
        assert label == int(name.split("/")[1].removeprefix("class"))
        if name.endswith(".JPEG"):
            assert (mode, payload) == (0, (folder / name).read_bytes())
    assert result["decode_path"] == "jpeg+raw"
    assert result["splits"]["test"]["from"] == "val"
    assert [sample[0] for sample in parsed] == [0, 1] * 4


def test_the_dataset_object_has_what_others_rely_on(tmp_path: Path) -> None:
    small_idx(tmp_path / "source", count=300)
    build_beton(tmp_path / "source", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    images = some_pixels(300, 5, 4, 1, seed=300)[..., 0] / 255
    assert (dataset.channels, dataset.height, dataset.width) == (1, 5, 4)
    assert dataset.mean == pytest.approx((images.mean(),), abs=1e-12)
    assert dataset.std == pytest.approx((images.std(),), abs=1e-12)
    assert (dataset.name, dataset.num_classes, dataset.decode_path) == ("source", 3, "raw")
    assert dataset.has_split("test")
    assert dataset.validation_indices.dtype == np.int64
    assert len(dataset.validation_indices) == 30
    assert len(dataset.id) == 32
    info = dataset_info(tmp_path / "out")
    assert json.loads(json.dumps(info))["splits"]["train"]["num_samples"] == 300


def test_the_smallest_class_less_its_validation_images_bounds_ipc(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [40, 25, 60])
    write_idx(tmp_path / "source", some_pixels(125, 5, 4, 1, seed=1)[..., 0], labels)
    built = build_beton(tmp_path / "source", tmp_path / "out")
    kept = np.delete(labels, open_dataset(tmp_path / "out").validation_indices)
    assert built["largest_ipc"] == (kept == 1).sum() == 23
    assert build_beton(tmp_path / "source", tmp_path / "out")["largest_ipc"] == 23
    assert dataset_info(tmp_path / "out")["largest_ipc"] == 23


def test_the_id_depends_on_content_alone(tmp_path: Path) -> None:
    first = small_idx(tmp_path / "a")
    shutil.copytree(first, tmp_path / "elsewhere/b", copy_function=shutil.copyfile)
    results = [
        build_beton(tmp_path / where, tmp_path / f"out{i}", workers=i + 1)
        for i, where in enumerate(("a", "elsewhere/b"))
    ]
    assert results[0]["id"] == results[1]["id"]
    other_labels = tmp_path / "c"
    write_idx(other_labels, some_pixels(30, 5, 4, 1, seed=30)[..., 0], np.arange(1, 31) % 3)
    for path in first.glob("t10k*"):
        shutil.copy(path, other_labels)
    assert build_beton(other_labels, tmp_path / "out3")["id"] != results[0]["id"]


def test_the_id_is_pinned_so_that_labels_stay_valid_across_versions(tmp_path: Path) -> None:
    result = build_beton(small_idx(tmp_path / "a"), tmp_path / "out")
    assert result["id"] == "949dea880c36d3bd32f77c6cbe1e1dae"


def test_building_again_says_so_and_touches_nothing(tmp_path: Path) -> None:
    small_folder(tmp_path / "source")
    built = build_beton(tmp_path / "source", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = build_beton(tmp_path / "source", tmp_path / "out", workers=3, on_error="skip")
    assert (built["status"], again["status"]) == ("built", "finished already")
    assert again["id"] == built["id"]
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_other_options_or_another_source_are_refused_by_name_unless_forced(tmp_path: Path) -> None:
    small_folder(tmp_path / "source")
    build_beton(tmp_path / "source", tmp_path / "out")
    with pytest.raises(DatasetExists, match="max_resolution None there, 16 asked"):
        build_beton(tmp_path / "source", tmp_path / "out", max_resolution=16)
    small_idx(tmp_path / "other")
    with pytest.raises(DatasetExists, match=r"'image-folder'.* there, .*'idx'.* asked.*--force"):
        build_beton(tmp_path / "other", tmp_path / "out")
    (tmp_path / "other/t10k-images-idx3-ubyte").unlink()
    (tmp_path / "other/t10k-labels-idx1-ubyte").unlink()
    build_beton(tmp_path / "other", tmp_path / "out", force=True)
    assert set(file_hashes(tmp_path / "out")) == {
        "manifest.json", "train.beton", "train.samples.parquet",
    }  # fmt: skip


def test_a_changed_source_file_is_noticed(tmp_path: Path) -> None:
    folder = small_idx(tmp_path / "source")
    build_beton(folder, tmp_path / "out")
    write_idx(folder, some_pixels(30, 5, 4, 1, seed=9)[..., 0], np.arange(30) % 3)
    with pytest.raises(DatasetExists, match="fingerprint"):
        build_beton(folder, tmp_path / "out")


def test_a_forced_build_that_fails_leaves_the_old_dataset_whole(tmp_path: Path) -> None:
    small_folder(tmp_path / "source")
    build_beton(tmp_path / "source", tmp_path / "out")
    before = file_hashes(tmp_path / "out")
    write_folder(tmp_path / "source", {"train/class0/9.png": b"text"})
    with pytest.raises(Exception, match="neither JPEG nor PNG"):
        build_beton(tmp_path / "source", tmp_path / "out", force=True)
    assert file_hashes(tmp_path / "out") == before


def test_a_dry_run_returns_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    small_idx(tmp_path / "source")
    planned = build_beton(tmp_path / "source", tmp_path / "out/deep", dry_run=True, workers=2)
    assert not (tmp_path / "out").exists()
    assert (planned["status"], planned["would"], planned["workers"]) == ("planned", "build", 2)
    assert planned["splits"]["train"]["samples"] == 30
    assert planned["splits"]["train"]["estimated_bytes"] >= 30 * 60
    json.dumps(planned)
    build_beton(tmp_path / "source", tmp_path / "out/deep")
    again = build_beton(tmp_path / "source", tmp_path / "out/deep", dry_run=True)
    assert again["would"] == "nothing: finished already"


def test_progress_goes_up_to_the_number_of_samples(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    small_folder(tmp_path / "source")
    build_beton(tmp_path / "source", tmp_path / "out", progress=lambda *call: calls.append(call))
    assert ("build train", 8, 8) in calls
    assert ("build test", 2, 2) in calls
    assert all(done <= total for _, done, total in calls)


def test_a_dataset_may_have_no_test_split_and_one_image_per_class(tmp_path: Path) -> None:
    files = {f"c{i}/0.jpg": as_jpeg(smooth_pixels(9, 9, seed=i)) for i in range(3)}
    build_beton(write_folder(tmp_path / "source", files), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert not dataset.has_split("test")
    assert len(dataset.validation_indices) == 0
    with pytest.raises(Exception, match="has no split 'test'; it has train"):
        dataset.split("test")


def test_validation_is_stratified_seeded_and_bounded() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 500))
    indices = validation_indices(labels, 100)
    assert np.bincount(labels[indices]).tolist() == [50] * 100
    assert (np.diff(indices) > 0).all()
    np.testing.assert_array_equal(indices, validation_indices(labels, 100))
    assert (validation_indices(labels, 100, seed=1) != indices).any()
    assert len(validation_indices(np.repeat(np.arange(10), 6000), 10)) == 5000
    uneven = np.array([0] * 29 + [1] * 9 + [2])
    assert uneven[validation_indices(uneven, 4)].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("choice", "mean"),
    [
        ("imagenet", (0.485, 0.456, 0.406)),
        ("cifar10", (0.4914, 0.4822, 0.4465)),
        ({"mean": [0.5], "std": [0.25]}, (0.5, 0.5, 0.5)),
    ],
)
def test_normalisation_can_be_chosen(tmp_path: Path, choice: Any, mean: tuple) -> None:
    build_beton(small_folder(tmp_path / "source"), tmp_path / "out", normalisation=choice)
    assert open_dataset(tmp_path / "out").mean == mean


def test_measured_normalisation_of_images_of_all_sizes_is_exact(tmp_path: Path) -> None:
    build_beton(small_folder(tmp_path / "source"), tmp_path / "out", normalisation="measured")
    dataset = open_dataset(tmp_path / "out")
    with dataset.split("train") as train:
        pixels = np.concatenate([train.image(i).reshape(-1, 3) for i in range(8)]) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(dataset.std, pixels.std(axis=0), atol=1e-12)


@pytest.mark.parametrize("jpeg_check", ["decode", "markers"])
def test_a_copied_jpeg_whose_values_are_measured_is_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jpeg_check: str
) -> None:
    done: list[str] = []

    def count(name: str) -> None:
        call = getattr(jpeg, name)
        monkeypatch.setattr(jpeg, name, lambda *given: (done.append(name), call(*given))[1])

    count("decode")
    count("check_whole")
    options: dict[str, Any] = {"normalisation": "measured", "jpeg_check": jpeg_check}
    folder = small_folder(tmp_path / "source")
    build_beton(folder, tmp_path / "out", **options)
    assert (done.count("decode"), done.count("check_whole")) == (4, 2)  # of train, of val
    photo = folder / "train/class1/2.JPEG"
    photo.write_bytes(photo.read_bytes()[:-200] + b"\xff\xd9")
    with pytest.raises(DamagedSource, match=r"class1/2\.JPEG"):
        build_beton(folder, tmp_path / "damaged", **options)


def test_grey_images_of_any_format_have_one_channel(tmp_path: Path) -> None:
    files = {f"c{i}/{i}.png": as_png(smooth_pixels(9, 9, seed=i), "L") for i in range(2)}
    build_beton(write_folder(tmp_path / "source", files), tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert (dataset.channels, dataset.mean, dataset.std) == (1, (0.449,), (0.226,))
    write_folder(tmp_path / "source", {"c0/colour.png": as_png(smooth_pixels(9, 9))})
    build_beton(tmp_path / "source", tmp_path / "out", force=True)
    assert open_dataset(tmp_path / "out").channels == 3


def test_chunks_are_bounded_by_bytes_samples_and_parts_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CHUNK_BYTES", 10_000)
    split = open_source(mixed_parquet(tmp_path)).splits["train"]
    weights = np.random.default_rng(0).integers(1, 9000, len(split))
    built = plan.SplitPlan(
        split=split, way="inline", weights=weights, estimated_bytes=0, exact=False, page_size=0
    )
    ranges = built.ranges()
    assert [i for first, stop in ranges for i in range(first, stop)] == list(range(60))
    for first, stop in ranges:
        assert stop - first == 1 or weights[first:stop].sum() <= 10_000
        assert first // 4 == (stop - 1) // 4  # row groups of four
    assert len(ranges) < 45


def test_the_page_grows_with_the_largest_sample_wherever_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (beton_format, plan):
        monkeypatch.setattr(module, "DEFAULT_PAGE_SIZE", beton_format.MIN_PAGE_SIZE)
    sides = [(8, 8), (1100, 1000), (9, 9)]
    files = {f"a/{i}.png": as_png(smooth_pixels(*side)) for i, side in enumerate(sides)}
    build_beton(write_folder(tmp_path / "source", files), tmp_path / "out")
    with open_dataset(tmp_path / "out").split("train") as train:
        assert train.page_size == 1 << 22
        assert [train.image(i).shape[:2] for i in range(3)] == sides


KILLED = """
import os, signal, sys
import beton_builder, beton_builder.plan
beton_builder.plan._way_to_run = lambda kind, weights, workers: "processes"
beton_builder.plan.CHUNK_SAMPLES = 2

def progress(stage, done, total):
    if (stage, done) == (sys.argv[3], int(sys.argv[4])):
        children = open(f"/proc/self/task/{os.getpid()}/children").read()
        print(children, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

beton_builder.build_beton(sys.argv[1], sys.argv[2], workers=2, progress=progress)
"""


@pytest.mark.parametrize(("stage", "done"), [("build train", 8), ("build test", 4)])
def test_after_kill_9_the_same_command_gives_the_same_bytes(
    tmp_path: Path, stage: str, done: int
) -> None:
    source, out = mixed_parquet(tmp_path / "source"), tmp_path / "out"
    build_beton(source, tmp_path / "undisturbed")
    arguments = [str(source), str(out), stage, str(done)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    workers = [int(word) for word in killed.stdout.split()]
    with pytest.raises(Exception, match="unfinished build"):
        open_dataset(out)
    assert build_beton(source, out)["status"] == "built"
    assert file_hashes(out) == file_hashes(tmp_path / "undisturbed")
    assert len(workers) == 2
    assert not any(is_running(worker) for worker in workers)


def is_running(process: int, patience: float = 10) -> bool:
    import time

    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":  # nobody collects the orphans of a killed process here
            return False
        time.sleep(0.05)
    return True


def test_a_script_without_a_main_guard_can_build_with_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import beton_builder, beton_builder.plan\n"
        "beton_builder.plan._way_to_run = lambda kind, weights, workers: 'processes'\n"
        f"print(beton_builder.build_beton({str(tmp_path / 'source')!r}, "
        f"{str(tmp_path / 'out')!r}, workers=2)['status'])\n"
    )
    mixed_parquet(tmp_path / "source")
    environment = {**os.environ, "PYTHONPATH": str(Path(plan.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.stdout, done.stderr) == ("built\n", "")


def test_two_builds_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    small_idx(tmp_path / "source")

    def build_inside(stage: str, done: int, total: int) -> None:
        with pytest.raises(DatasetExists, match="another build is writing"):
            build_beton(tmp_path / "source", tmp_path / "out")

    assert build_beton(tmp_path / "source", tmp_path / "out", progress=build_inside)["id"]


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0}, {"on_error": "ignore"}, {"max_resolution": 0}, {"image_mode": "png"},
        {"jpeg_quality": 101}, {"normalisation": "mine"}, {"normalisation": {"mean": [1, 2]}},
        {"jpeg_check": "none"}, {"format": "tar"}, {"normalisation": {"mean": [0.5], "std": [0]}},
    ],
)  # fmt: skip
def test_options_that_are_not_allowed_are_refused(tmp_path: Path, options: dict) -> None:
    small_idx(tmp_path / "source")
    with pytest.raises(BadOption) as caught:
        build_beton(tmp_path / "source", tmp_path / "out", **options)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_foreign_output_folders_are_left_alone(tmp_path: Path) -> None:
    source = small_idx(tmp_path / "source")
    write_folder(tmp_path / "mine", {"thesis.tex": b"text"})
    with pytest.raises(OutputUnusable, match=r"neither empty nor a dataset .*thesis\.tex"):
        build_beton(source, tmp_path / "mine", force=True)
    for content, message in (
        (b'{ "kind": "expert-run" }', "holds a 'expert-run'"),
        (b"", "is damaged"),
    ):
        write_folder(tmp_path / "run", {"manifest.json": content, "checkpoints/0": b""})
        with pytest.raises(BetonError, match=message):
            build_beton(source, tmp_path / "run")
        with pytest.raises(OutputUnusable):
            build_beton(source, tmp_path / "run", force=True)
        assert (tmp_path / "run/manifest.json").read_bytes() == content
    for place in (source, source / "inside", tmp_path):
        with pytest.raises(OutputUnusable):
            build_beton(source, place)
    with pytest.raises(OutputUnusable, match="is a file"):
        build_beton(source, tmp_path / "mine/thesis.tex/out")
