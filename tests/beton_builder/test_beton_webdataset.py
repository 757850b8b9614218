"""WebDataset shards: which samples they have, of which classes, and the bytes they give."""

import json
import pickle
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beton_samples import as_jpeg, as_png, file_hashes, smooth_pixels, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_samples import (
    IMAGE,
    Content,
    labelled,
    one_shard,
    picture,
    small_shards,
    train_of,
    two_and,
    write_tar,
)

from beton_builder import DatasetExists, build_beton, open_dataset, plan
from beton_builder.errors import BadSource, SourceNotFound
from beton_builder.sources.detect import detect_format, open_source
from beton_builder.sources.samples import Unreadable


def test_samples_come_in_the_order_of_shards_and_members(tmp_path: Path) -> None:
    source = open_source(small_shards(tmp_path))
    train = pickle.loads(pickle.dumps(train_of(source)))
    assert (source.format, source.classes) == ("webdataset", ("0", "1", "2"))
    assert train.labels.tolist() == [i % 3 for i in range(9)]
    assert train.read(0, 9) == [picture(i) for i in range(9)]
    assert [train.read(i, i + 2) for i in (7, 4, 0)] == [
        [picture(i), picture(i + 1)] for i in (7, 4, 0)
    ]
    assert train.encoded_sizes.tolist() == [len(picture(i)) for i in range(9)]
    assert [train.name_of(i) for i in (0, 5)] == [
        "train-000000.tar#000000.jpg", "train-000001.tar#000005.jpg",
    ]  # fmt: skip
    assert train.starts() == [0, 5]
    assert source.origins == {"train": "train-000000.tar and 1 more", "test": "val-000000.tar"}


def as_webdataset_groups(path: Path) -> list[tuple[str, dict[str, bytes]]]:
    """The samples of a shard as WebDataset's own rule splits names and groups what is adjacent."""
    groups: list[tuple[str, dict[str, bytes]]] = []
    with tarfile.open(path, encoding="utf-8") as archive:
        for member in archive:
            match = re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", member.name)
            file = archive.extractfile(member)
            if match is None or file is None:
                continue
            if not groups or groups[-1][0] != match[1]:
                groups.append((match[1], {}))
            groups[-1][1][match[2].lower()] = file.read()
    return groups


stems = st.text("ab/é-_0", min_size=1, max_size=140).filter(
    lambda stem: not re.search("__|/$|^/|//", stem)
)


@settings(max_examples=60)
@given(
    st.lists(stems, min_size=1, max_size=6, unique=True),
    st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
    st.data(),
)
def test_samples_are_those_of_webdatasets_own_rule(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], format: int, data: st.DataObject
) -> None:
    files: list[tuple[str, bytes]] = []
    for number, key in enumerate(keys):
        sample = [(".JPG", b"image of " + key.encode()), (".cls", b"%d" % (number % 2))]
        sample += [(".npy", b"soft"), (".json", b'{"label": 5}')][: data.draw(st.integers(0, 2))]
        files += [(key + end, content) for end, content in data.draw(st.permutations(sample))]
    folder = tmp_path_factory.mktemp("wds")
    groups = as_webdataset_groups(write_tar(folder / "train-0.tar", files, format))
    train = train_of(open_source(folder))
    assert train.read(0, len(train)) == [members["jpg"] for _, members in groups]
    assert train.labels.tolist() == [int(members["cls"]) for _, members in groups]
    assert [train.name_of(i) for i in range(len(train))] == [
        f"train-0.tar#{key}.JPG" for key, _ in groups
    ]


@pytest.mark.parametrize(
    ("shards", "train", "test"),
    [
        (["train-000000.tar", "val-000000.tar"], "train-000000.tar", "val-000000.tar"),
        (["imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"],
         "imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"),
        (["train/0.tar", "test/0.tar"], "train/0.tar", "test/0.tar"),
        (["data/train-0.tar", "data/test-0.tar"], "data/train-0.tar", "data/test-0.tar"),
        (["data/train/a.tar", "data/valid/a.tar"], "data/train/a.tar", "data/valid/a.tar"),
        (["train.tar", "TEST_0001.tar", "val.tar"], "train.tar", "TEST_0001.tar"),
        (["train-00000-of-00001.tar"], "train-00000-of-00001.tar", None),
        (["train9.tar", "train10.tar"], "train9.tar and 1 more", None),
        (["00000.tar", "00001.tar"], "00000.tar and 1 more", None),
        (["my-test-set-train-0.tar", "my-test-set-test-0.tar"],
         "my-test-set-train-0.tar", "my-test-set-test-0.tar"),
    ],
)  # fmt: skip
def test_splits_come_from_the_names_of_shards_or_folders(
    tmp_path: Path, shards: list[str], train: str, test: str | None
) -> None:
    for shard in shards:
        write_tar(tmp_path / shard, labelled(3))
    assert detect_format(tmp_path) == "webdataset"
    source = open_source(tmp_path)
    assert source.origins == {"train": train} | ({"test": test} if test else {})


def test_shards_count_as_numbers_do(tmp_path: Path) -> None:
    for number in (0, 1, 2, 10, 11):
        write_tar(tmp_path / f"train/{number}.tar", labelled(1, classes=99, first=number))
    assert train_of(open_source(tmp_path)).read(0, 5) == [picture(i) for i in (0, 1, 2, 10, 11)]


def test_other_archives_and_members_are_passed_over_and_counted(tmp_path: Path) -> None:
    small_shards(tmp_path)
    files = [("__meta__/a.json", b"{}"), ("README", b""), ("d/.hidden.jpg", b""), ("end.", b"")]
    write_tar(tmp_path / "train-000002.tar", [*labelled(1), *files])
    write_tar(tmp_path / "extra-0.tar", labelled(1))
    write_folder(tmp_path, {"._train-000000.tar": b"a Mac's", "notes.txt": b""})
    assert open_source(tmp_path).ignored == (
        "train-000002.tar#__meta__/a.json", "train-000002.tar#README",
        "train-000002.tar#d/.hidden.jpg", "train-000002.tar#end.", "extra-0.tar",
    )  # fmt: skip


def test_imagenets_own_tars_are_not_shards(tmp_path: Path) -> None:
    write_tar(tmp_path / "ILSVRC2012_img_train.tar", [("n01440764.tar", b"")])
    for format in ("auto", "webdataset"):
        with pytest.raises(SourceNotFound, match="unpack them"):
            open_source(tmp_path, format)


@pytest.mark.parametrize("name", ["train-0.tar.gz", "train-0.tgz", "train-0.tar"])
def test_compressed_shards_are_refused_with_what_unpacks_them(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "whole.tar", labelled(2))
    with tarfile.open(tmp_path / name, "w:gz") as archive:
        archive.add(tmp_path / "whole.tar")
    with pytest.raises(BadSource, match=f"{name} is compressed by gzip.*gunzip .*{name}"):
        open_source(tmp_path)
    shutil.move(tmp_path / "whole.tar", tmp_path / "train-0.tar")
    assert len(train_of(open_source(tmp_path))) == 2


@pytest.mark.parametrize(
    ("extension", "contents", "classes"),
    [
        ("cls", ["0", "1", " 2\n"], ("0", "1", "2")),
        ("cls.txt", ["0", "1", "2"], ("0", "1", "2")),
        ("label", ["0", "1", "2"], ("0", "1", "2")),
        ("label.txt", ["\ufeff2", "1", "0"], ("0", "1", "2")),
        ("txt", ["dog", "cat\n", "7up"], ("7up", "cat", "dog")),
        ("txt", ["b", "7", "a"], ("7", "a", "b")),
        ("json", ['{"label": 1}', '{"label": 0, "x": []}', '{"cls": 1}'], ("0", "1")),
        ("json", ['{"label": "cat"}', '{"class": "dog"}', '{"class_name": "cat"}'], ("cat", "dog")),
        ("json", ['{"label": "0"}', '{"label": "1"}', '{"label": null, "cls": 1}'], ("0", "1")),
    ],
)
def test_classes_come_from_every_usual_member(
    tmp_path: Path, extension: str, contents: list[str], classes: tuple[str, ...]
) -> None:
    files: list[tuple[str, Content]] = []
    for number, content in enumerate(contents):
        files += [(f"{number}.png", IMAGE), (f"{number}.{extension}", content.encode())]
    source = open_source(one_shard(tmp_path, files))
    assert source.classes == classes
    said = [content.strip("\ufeff \n") for content in contents]
    if extension == "json":
        said = [
            str(next(v for v in json.loads(content).values() if v is not None)) for content in said
        ]
    assert [classes[label] for label in train_of(source).labels] == said


def test_a_class_number_wins_over_what_else_says_a_class(tmp_path: Path) -> None:
    files = [(f"{i}.{end}", content) for i in range(2) for end, content in (
        ("txt", b"a caption"), ("json", b'{"label": 7}'), ("cls", b"%d" % i), ("jpg", IMAGE),
    )]  # fmt: skip
    assert train_of(open_source(one_shard(tmp_path, files))).labels.tolist() == [0, 1]


def test_the_only_image_may_have_a_longer_extension(tmp_path: Path) -> None:
    files = [("0.left.jpg", IMAGE), ("0.cls", b"0"), ("1.jpg", IMAGE), ("1.mask.png", b"")]
    source = open_source(one_shard(tmp_path, [*files, ("1.cls", b"1")]))
    assert train_of(source).read(0, 2) == [IMAGE, IMAGE]


LABELS = ["ant", "bee", "cat"]
INFO = {"features": {"image": {"_type": "Image"}, "jpg": {"names": [], "_type": "Value"}}}
COARSE = {"coarse": {"names": ["x"], "_type": "ClassLabel"}}
FINE = {"label": {"names": LABELS, "_type": "ClassLabel"}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "ant\nbee\ncat\n"),
        ("data/classnames.txt", "\ufeffant\r\n bee \r\ncat\n\n"),
        ("dataset_info.json", json.dumps({"features": {**COARSE, **FINE}})),
        ("data/train/dataset_info.json", json.dumps({"default": {"features": FINE}})),
        ("manifest.json", json.dumps({"kind": "distilled", "dataset": {"classes": LABELS}})),
    ],
)
@pytest.mark.parametrize("said", [("txt", ["cat", "2"]), ("cls", ["2", "2"])])
def test_class_names_come_from_a_list_beside_the_shards(
    tmp_path: Path, name: str, content: str, said: tuple[str, list[str]]
) -> None:
    extension, saids = said
    files = [*labelled(2), *(
        file for i, text in enumerate(saids)
        for file in ((f"x{i}.jpg", IMAGE), (f"x{i}.{extension}", text.encode()))
    )]  # fmt: skip
    write_tar(tmp_path / "data/train/0.tar", files)
    before = open_source(tmp_path).fingerprint if extension == "cls" else ""
    write_folder(tmp_path, {name: content.encode()})
    source = open_source(tmp_path)
    assert source.classes == tuple(LABELS)
    assert train_of(source).labels.tolist() == [0, 1, 2, 2]
    assert source.fingerprint != before


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"classes.txt": b"ant\n\nbee\n"}, r"classes.txt, line 2: .* found a blank line"),
        ({"classes.txt": b"\n"}, r"classes.txt lists no class names"),
        ({"classes.txt": b"\xff"}, r"classes.txt cannot be read"),
        ({"dataset_info.json": b"{"}, r"dataset_info.json cannot be parsed"),
        ({"classes.txt": b"a\na\nb\n"}, r"names two classes 'a', and samples say just that"),
    ],
)
def test_a_list_that_cannot_be_one_is_refused(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    one_shard(tmp_path, two_and(("2.jpg", IMAGE), ("2.txt", b"a")))
    with pytest.raises(BadSource, match=message):
        open_source(write_folder(tmp_path, files))


def test_json_without_class_names_is_no_list(tmp_path: Path) -> None:
    small_shards(tmp_path)
    write_folder(tmp_path, {"dataset_info.json": json.dumps(INFO).encode(), "manifest.json": b"[]"})
    assert open_source(tmp_path).classes == ("0", "1", "2")


def test_captions_are_not_taken_for_classes_unless_they_are_listed(tmp_path: Path) -> None:
    files: list[tuple[str, Content]] = []
    for i in range(150):
        files += [(f"{i}.jpg", IMAGE), (f"{i}.txt", b"a photo of thing %d" % i)]
    one_shard(tmp_path, files)
    with pytest.raises(BadSource, match="150 different texts, such as 'a photo of thing 0'"):
        open_source(tmp_path)
    names = "\n".join(f"a photo of thing {i}" for i in range(150))
    write_folder(tmp_path, {"classes.txt": names.encode()})
    assert train_of(open_source(tmp_path)).labels.tolist() == list(range(150))


def shards_of_folder(folder: Path, out: Path, samples_a_shard: int = 7) -> Path:
    """The train images of an image folder as shards, in the folder's order."""
    source = open_source(folder)
    train = train_of(source)
    for first in range(0, len(train), samples_a_shard):
        files: list[tuple[str, Any]] = []
        for i in range(first, min(first + samples_a_shard, len(train))):
            stem, suffix = train.name_of(i).split(".")
            files += [(f"{stem}.cls", str(train.labels[i]).encode())]
            files += [(f"{stem}.{suffix}", (folder / train.name_of(i)).read_bytes())]
        number = first // samples_a_shard
        write_tar(out / f"train-{number:06d}.tar", files, tarfile.GNU_FORMAT)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in source.classes))
    return out


@pytest.mark.parametrize("options", [{}, {"max_resolution": 48}])
def test_real_photographs_in_shards_give_the_bytes_of_their_folder(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    photos = sorted((shared_data / "imagenet-sample/train").glob("*/*.JPEG"))[::15]
    for photo in photos:
        (tmp_path / "folder/train" / photo.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / "folder/train" / photo.parent.name)
    build_beton(tmp_path / "folder", tmp_path / "from_folder", **options)
    source = shards_of_folder(tmp_path / "folder", tmp_path / "shards")
    monkeypatch.setattr(plan, "CHUNK_SAMPLES", 3)
    for way, workers in (("threads", 3), ("processes", 2)):
        monkeypatch.setattr(plan, "_way_to_run", lambda kind, weights, workers, way=way: way)
        build_beton(source, tmp_path / way, workers=workers, **options)
    folder, shards = open_dataset(tmp_path / "from_folder"), open_dataset(tmp_path / "threads")
    assert (folder.id, folder.classes) == (shards.id, shards.classes)
    hashes = file_hashes(tmp_path / "threads")
    assert hashes["train.beton"] == file_hashes(tmp_path / "from_folder")["train.beton"]
    assert hashes == file_hashes(tmp_path / "processes")
    assert shards.samples("train").source[7].startswith("train-000001.tar#train/n")
    np.testing.assert_array_equal(
        folder.samples("train").sha256, shards.samples("train").sha256, strict=True
    )


def test_pngs_and_jpegs_are_stored_as_those_of_a_folder_are(tmp_path: Path) -> None:
    files = {
        f"train/c{i % 2}/{i}.{'png' if i % 3 else 'jpg'}": (as_png if i % 3 else as_jpeg)(
            smooth_pixels(20 + i, 30, seed=i)
        )
        for i in range(9)
    }
    folder = write_folder(tmp_path / "folder", files)
    build_beton(folder, tmp_path / "a")
    build_beton(shards_of_folder(folder, tmp_path / "shards", 4), tmp_path / "b")
    assert file_hashes(tmp_path / "a")["train.beton"] == file_hashes(tmp_path / "b")["train.beton"]


def test_building_again_is_finished_and_a_changed_shard_is_another_source(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    source = small_shards(tmp_path / "source")
    build_beton(source, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert {("scan train", 2, 2), ("scan test", 1, 1), ("build train", 9, 9)} <= set(calls)
    assert build_beton(source, tmp_path / "out")["status"] == "finished already"
    write_tar(source / "train-000001.tar", labelled(5, first=5))
    with pytest.raises(DatasetExists, match="fingerprint"):
        build_beton(source, tmp_path / "out")


def test_a_relative_source_is_the_same_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absolute = open_source(small_shards(tmp_path))
    monkeypatch.chdir(tmp_path)
    relative = open_source(".")
    assert (relative.name, relative.fingerprint) == (tmp_path.name, absolute.fingerprint)
    assert not isinstance(train_of(relative)[0][0], Unreadable)
