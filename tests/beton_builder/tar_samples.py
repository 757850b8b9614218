"""Tar shards as others write them, by Python's tarfile alone, and what is read of them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from beton_samples import as_jpeg, smooth_pixels

from beton_builder.sources.samples import EncodedSplit, Source

Content = bytes | tarfile.TarInfo


def write_tar(
    path: Path, files: Iterable[tuple[str, Content]], format: int = tarfile.USTAR_FORMAT
) -> Path:
    """Files in order, a name as often as it is given; a TarInfo stands for a member without one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format, encoding="utf-8") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name) if isinstance(content, bytes) else content
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                archive.addfile(info)
    return path


def picture(seed: int) -> bytes:
    return as_jpeg(smooth_pixels(12 + seed % 5, 10 + seed % 3, seed=seed))


def labelled(count: int, classes: int = 3, first: int = 0) -> list[tuple[str, bytes]]:
    """`count` samples of KEY.jpg and KEY.cls, their classes in turn."""
    return [
        file
        for i in range(first, first + count)
        for file in ((f"{i:06d}.jpg", picture(i)), (f"{i:06d}.cls", str(i % classes).encode()))
    ]


def small_shards(folder: Path) -> Path:
    """Two shards of train with five and four samples, one of val with three."""
    write_tar(folder / "train-000000.tar", labelled(5))
    write_tar(folder / "train-000001.tar", labelled(4, first=5))
    write_tar(folder / "val-000000.tar", labelled(3, first=100))
    return folder


IMAGE = picture(0)


def train_of(source: Source) -> EncodedSplit:
    split = source.splits["train"]
    assert isinstance(split, EncodedSplit)
    return split


def one_shard(folder: Path, files: list[tuple[str, Content]]) -> Path:
    write_tar(folder / "train-0.tar", files, tarfile.PAX_FORMAT)
    return folder


def two_and(*files: tuple[str, bytes]) -> list[tuple[str, Content]]:
    """Two whole samples of classes 0 and 1, then the files given."""
    return [*labelled(2, classes=2), *files]
