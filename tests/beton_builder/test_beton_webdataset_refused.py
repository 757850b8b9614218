"""WebDataset shards: what is refused, or left out, with shard and member named."""

import shutil
import tarfile
from pathlib import Path

import pytest
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

from beton_builder import BetonError, build_beton, open_dataset
from beton_builder.errors import BadSource, DamagedSource
from beton_builder.sources.detect import open_source


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, "000000.jpg"
    return info


BAD_SAMPLES: dict[str, tuple[list[tuple[str, Content]], str, str]] = {
    "no class": ([("d/x.jpg", IMAGE)], "d/x", r"has no class \(it has .jpg\), expected one"),
    "no image": ([("x.cls", b"1"), ("x.npy", b"")], "x", r"no .jpg, .jpeg or .png \(it has .cls, "),
    "unknown extension": ([("x.foo", IMAGE), ("x.cls", b"1")], "x", r"it has .foo, .cls"),
    "nothing known": ([("x.foo", b"")], "x", r"has no .jpg, .jpeg or .png \(it has .foo\)"),
    "two images": ([("x.jpg", IMAGE), ("x.png", IMAGE), ("x.cls", b"1")], "x", "has 2 images"),
    "a dot in the name": (
        [("x.1.jpg", IMAGE), ("x.2.jpg", IMAGE), ("x.cls", b"1")], "x",
        "has 2 images.*ends at the first dot",
    ),
    "one file twice": (
        [("x.jpg", IMAGE), ("x.JPG", IMAGE), ("x.cls", b"1")], "x",
        r"has two files .jpg \(x.jpg and x.JPG\)",
    ),
    "a key that comes again": (
        [("000000.jpg", IMAGE), ("000000.cls", b"1")], "000000", "comes again after other samples",
    ),
    "symbolic link": ([("x.cls", b"1"), ("x.jpg", link(tarfile.SYMTYPE))], "x", "x.jpg is a link"),
    "hard link": ([("x.cls", b"1"), ("x.jpg", link(tarfile.LNKTYPE))], "x", "is a link to 000000"),
    "class that is a link": ([("x.jpg", IMAGE), ("x.cls", link(tarfile.SYMTYPE))], "x", "x.cls is"),
    "word as class": ([("x.jpg", IMAGE), ("x.cls", b"cat")], "x", "class 'cat' in its .cls, expec"),
    "fraction": ([("x.jpg", IMAGE), ("x.cls", b"1.0")], "x", "class '1.0' in its .cls"),
    "underscores": ([("x.jpg", IMAGE), ("x.cls", b"1_0")], "x", "class '1_0' in its .cls"),
    "empty class": ([("x.jpg", IMAGE), ("x.cls", b"")], "x", "class '' in its .cls"),
    "binary class": ([("x.jpg", IMAGE), ("x.cls", b"\xff\xfe")], "x", "a .cls that is no text"),
    "word among numbers": ([("x.jpg", IMAGE), ("x.txt", b"cat")], "x.jpg", "'cat', expected a who"),
    "broken JSON": ([("x.jpg", IMAGE), ("x.json", b"{")], "x", ".json that cannot be parsed"),
    "JSON without label": ([("x.jpg", IMAGE), ("x.json", b'{"a": 1}')], "x", "has no class"),
    "JSON list": ([("x.jpg", IMAGE), ("x.json", b"[1]")], "x", "has no class"),
    "JSON fraction": ([("x.jpg", IMAGE), ("x.json", b'{"label": 1.5}')], "x", "has 1.5 as 'label'"),
    "JSON truth": ([("x.jpg", IMAGE), ("x.json", b'{"label": true}')], "x", "has True as 'label'"),
    "huge class file": ([("x.jpg", IMAGE), ("x.txt", b"1" * (2 << 20))], "x", "of 2,097,152 bytes"),
    "huge class": ([("x.jpg", IMAGE), ("x.cls", b"99999999")], "x.jpg", "label 99999999 of sample"),
    "negative class": ([("x.jpg", IMAGE), ("x.cls", b"-1")], "x.jpg", "label -1 of sample"),
    "truncated image": ([("x.jpg", IMAGE[:-9]), ("x.cls", b"1")], "x.jpg", "does not decode"),
    "empty image": ([("x.jpg", b""), ("x.cls", b"1")], "x.jpg", "is an empty file"),
    "text named jpg": ([("x.jpg", b"text"), ("x.cls", b"1")], "x.jpg", "is neither JPEG nor PNG"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_a_bad_sample_is_refused_by_name_or_left_out(tmp_path: Path, case: str) -> None:
    files, member, message = BAD_SAMPLES[case]
    source = one_shard(tmp_path / "source", [*two_and(), *files, *labelled(3, 2, first=7)])
    name = f"train-0.tar#{member}"
    with pytest.raises(DamagedSource, match=message) as caught:
        build_beton(source, tmp_path / "out", workers=2)
    assert (caught.value.sample, caught.value.exit_code) == (name, 2)
    assert f"sample {name}" in str(caught.value)
    assert "--on-error skip" in str(caught.value)
    assert not (tmp_path / "out").exists()
    result = build_beton(source, tmp_path / "out", on_error="skip", workers=2)
    dataset = open_dataset(tmp_path / "out")
    assert (result["skipped"], dataset.classes) == (1, ("0", "1"))
    (skipped,) = dataset.manifest["skipped"]["train"]
    assert skipped["sample"] == name
    assert dataset.samples("train").labels.tolist() == [0, 1, 1, 0, 1]


def test_an_image_of_another_type_is_refused_even_when_skipping(tmp_path: Path) -> None:
    one_shard(tmp_path / "source", two_and(("x.webp", b"RIFF"), ("x.cls", b"1")))
    with pytest.raises(BadSource, match=r"train-0\.tar: x\.webp is an image that is neither JPEG"):
        build_beton(tmp_path / "source", tmp_path / "out", on_error="skip")


def test_a_broken_shard_is_refused_even_when_skipping(tmp_path: Path) -> None:
    shard = small_shards(tmp_path / "source") / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(DamagedSource, match=r"train-000001\.tar is a truncated") as caught:
        build_beton(tmp_path / "source", tmp_path / "out", on_error="skip")
    assert caught.value.sample == "train-000001.tar"


def test_a_shard_that_shrinks_meanwhile_is_noticed(tmp_path: Path) -> None:
    train = train_of(open_source(small_shards(tmp_path)))
    shard = tmp_path / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    assert train.read(0, 5) == [picture(i) for i in range(5)]
    with pytest.raises(DamagedSource, match=r"train-000001\.tar ends before byte"):
        train.read(4, 6)


def test_gaps_in_the_class_numbers_are_refused(tmp_path: Path) -> None:
    files = [("a.jpg", IMAGE), ("a.cls", b"1"), ("b.jpg", IMAGE), ("b.cls", b"4")]
    with pytest.raises(BadSource, match="3 of 5 classes have no train images left: 0, 2, 3"):
        build_beton(one_shard(tmp_path / "source", [*files]), tmp_path / "out")


def test_a_test_class_that_train_lacks_is_refused(tmp_path: Path) -> None:
    for extension, contents in (("cls", [b"0", b"1", b"2"]), ("txt", [b"a", b"b", b"c"])):
        samples = [
            [(f"{i}.jpg", IMAGE), (f"{i}.{extension}", content)]
            for i, content in enumerate(contents)
        ]
        source = tmp_path / extension
        write_tar(source / "train-0.tar", [*samples[0], *samples[1]])
        write_tar(source / "test-0.tar", samples[2])
        with pytest.raises(BetonError, match=r"test-0\.tar#2\.jpg .*(0\.\.1|2 names that train)"):
            build_beton(source, tmp_path / "out")


@pytest.mark.parametrize("content", [None, b"-1"])
def test_an_unlabelled_test_split_gives_way_to_validation(
    tmp_path: Path, content: bytes | None
) -> None:
    small_shards(tmp_path)
    files = [(f"{i}.jpg", IMAGE) for i in range(3)]
    if content:
        files = [
            file for name, data in files for file in ((name, data), (name[0] + ".cls", content))
        ]
    write_tar(tmp_path / "test-0.tar", files)
    source = open_source(tmp_path)
    assert source.origins["test"] == "val-000000.tar"
    assert source.ignored == ("test-0.tar",)


@pytest.mark.parametrize("files", [[("0.jpg", IMAGE)], [("0.cls", b"0")]])
def test_train_without_a_single_usable_sample_is_refused(
    tmp_path: Path, files: list[tuple[str, Content]]
) -> None:
    with pytest.raises(BadSource, match=r"none of the 1 samples .* train-0\.tar#0 has no"):
        build_beton(one_shard(tmp_path / "source", files), tmp_path / "out", on_error="skip")
    one_shard(tmp_path / "source", [])
    with pytest.raises(BadSource, match=r"split train \(train-0\.tar\) has no samples"):
        build_beton(tmp_path / "source", tmp_path / "out", on_error="skip")


def test_an_empty_shard_among_others_is_no_matter(tmp_path: Path) -> None:
    small_shards(tmp_path)
    shutil.move(tmp_path / "train-000001.tar", tmp_path / "train-000003.tar")
    for number in (1, 2):
        write_tar(tmp_path / f"train-00000{number}.tar", [])
    train = train_of(open_source(tmp_path))
    assert train.read(3, 7) == [picture(i) for i in range(3, 7)]
    assert train.name_of(5) == "train-000003.tar#000005.jpg"
