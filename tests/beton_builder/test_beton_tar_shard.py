"""The index of a tar archive against what Python's tarfile extracts from it."""

import io
import subprocess
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_samples import labelled, write_tar

from beton_builder.errors import BadSource, DamagedSource
from beton_builder.sources.tar_shard import Member, TarShard

FORMATS = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
BLOCK = tarfile.BLOCKSIZE
names = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=300
).filter(lambda name: not name.endswith("/"))


def indexed(path: Path) -> list[Member]:
    with TarShard(path) as shard:
        return list(shard.members())


def read_by_offset(path: Path) -> list[tuple[str, bytes]]:
    with TarShard(path) as shard:
        return [(m.name, shard.read(m.offset, m.size)) for m in shard.members() if not m.problem]


def extracted(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path, encoding="utf-8") as archive:
        opened = [(m.name, archive.extractfile(m)) for m in archive.getmembers() if m.isfile()]
        return [(name, file.read()) for name, file in opened if file is not None]


@settings(max_examples=60)
@given(st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=8), st.sampled_from(FORMATS))
def test_members_are_where_tarfile_finds_them(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], format: int
) -> None:
    path = write_tar(tmp_path_factory.mktemp("tar") / "a.tar", files, format)
    assert read_by_offset(path) == extracted(path)
    assert len(indexed(path)) == len(files)


@settings(max_examples=80)
@given(st.data())
def test_a_truncated_archive_is_refused_or_has_lost_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = write_tar(tmp_path_factory.mktemp("tar") / "a.tar", labelled(3), tarfile.PAX_FORMAT)
    whole, members = path.read_bytes(), indexed(path)
    end = members[-1].offset + BLOCK  # a class takes one block
    path.write_bytes(whole[: data.draw(st.integers(0, end + 2 * BLOCK))])
    if path.stat().st_size < end + BLOCK:
        with pytest.raises(DamagedSource, match=r"a\.tar is a truncated"):
            indexed(path)
    else:
        assert indexed(path) == members


@settings(max_examples=150)
@given(st.data(), st.sampled_from((tarfile.USTAR_FORMAT, *FORMATS)))
def test_a_damaged_header_is_refused_or_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, format: int
) -> None:
    long_name = "folder.with.dots/" * 8 + "1.jpg"
    files = [("a.jpg", b"x" * 700), (long_name, b"y"), ("b.cls", b"1")]
    path = write_tar(tmp_path_factory.mktemp("tar") / "a.tar", files, format)
    members, content = indexed(path), bytearray(path.read_bytes())
    headers = [0, *(member.offset - BLOCK for member in members), members[-1].offset + BLOCK]
    place = data.draw(st.sampled_from(headers)) + data.draw(st.integers(0, BLOCK - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    found = None
    with suppress(DamagedSource):
        found = indexed(path)
    assert found in (None, members)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE])
def test_a_size_that_leads_backwards_does_not_go_in_circles(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "a.tar", [("a.jpg", b"x"), ("b.jpg", b"y")])
    info = tarfile.TarInfo("c.jpg")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (-1024).to_bytes(12, "big", signed=True)
    header[483:495] = b"00000000007\0"  # the size that a sparse file claims besides
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content = path.read_bytes()[: 4 * BLOCK]
    path.write_bytes(content + header + bytes(10 * BLOCK))
    with pytest.raises(DamagedSource, match="states an unusable size"):
        indexed(path)


def test_what_lies_behind_the_end_of_an_archive_is_not_lost_quietly(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "a.tar", labelled(1)).read_bytes()
    second = write_tar(tmp_path / "b.tar", labelled(1, first=1)).read_bytes()
    (tmp_path / "a.tar").write_bytes(first + second)
    with pytest.raises(DamagedSource, match="goes on after the blocks of zeros"):
        indexed(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(first + bytes(1 << 21))
    assert len(indexed(tmp_path / "a.tar")) == 2


def test_links_folders_and_devices_are_told_apart(tmp_path: Path) -> None:
    kinds = {
        "s": tarfile.SYMTYPE,
        "l": tarfile.LNKTYPE,
        "f": tarfile.FIFOTYPE,
        "d": tarfile.DIRTYPE,
    }
    members: list[tuple[str, bytes | tarfile.TarInfo]] = [("a", b"x")]
    for name, kind in kinds.items():
        info = tarfile.TarInfo()
        info.type, info.linkname = kind, "a"
        members.append((name, info))
    found = {m.name: m.problem or "" for m in indexed(write_tar(tmp_path / "a.tar", members))}
    assert list(found) == ["a", "s", "l", "f"]
    assert found["a"] == ""
    assert all("is a link to a" in found[name] for name in "sl")
    assert "no regular file" in found["f"]


def test_a_sparse_file_of_gnu_tar_has_no_one_place(tmp_path: Path) -> None:
    with (tmp_path / "1.jpg").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"x")
    command = ["tar", "--sparse", "--format=gnu", "-cf", "a.tar", "1.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    (member,) = indexed(tmp_path / "a.tar")
    assert "sparse" in (member.problem or "")


@pytest.mark.parametrize("format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_archives_of_the_tar_command_are_read(tmp_path: Path, format: str) -> None:
    for name in ("b/é.jpg", "a.jpg", "b/" + "n" * 90 + ".cls"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode() * 9)
    command = ["tar", f"--format={format}", "--sort=name", "-cf", "../a.tar", "."]
    subprocess.run(command, cwd=tmp_path / "in", check=True)
    assert read_by_offset(tmp_path / "a.tar") == extracted(tmp_path / "a.tar")
    assert len(indexed(tmp_path / "a.tar")) == 3


@pytest.mark.parametrize(("mode", "word"), [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")])
def test_a_compressed_archive_is_refused_whatever_its_name(
    tmp_path: Path, mode: str, word: str
) -> None:
    with tarfile.open(tmp_path / "a.tar", f"w:{mode}") as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    with pytest.raises(BadSource, match=f"is compressed by {word}: expected a plain .tar.*un"):
        indexed(tmp_path / "a.tar")


def test_what_is_no_archive_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for content, message in (
        (b"", "truncated or damaged tar archive: empty file"),
        (b"text" * 200, "truncated or damaged tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    ):
        path.write_bytes(content)
        with pytest.raises(DamagedSource, match=message):
            indexed(path)
    path.unlink()
    with pytest.raises(DamagedSource, match="cannot be read: No such file"):
        indexed(path)


def test_indexing_holds_neither_contents_nor_members_in_memory(tmp_path: Path) -> None:
    large = [(f"{i}.jpg", bytes(1 << 20)) for i in range(24)]
    small = [(f"{i}.cls", b"1") for i in range(4000)]
    path = write_tar(tmp_path / "a.tar", large + small)
    tracemalloc.start()
    with TarShard(path) as shard:
        count = sum(1 for _ in shard.members())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4024
    assert peak < 1 << 20
