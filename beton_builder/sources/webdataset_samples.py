"""The samples of one WebDataset shard: files that follow one another and share a key.

In:  an open archive. Out: each sample's image by its place, and its class as a member says it.
The key is a file's path up to the first dot of its name, the rest is its extension, in any case.
What WebDataset passes over (names without an extension, hidden ones, `__meta__`) is ignored; a key
without image or class, with two of them, or that comes again is a sample that cannot be used.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from beton_builder.errors import BadSource
from beton_builder.sources.image_folder import OTHER_IMAGE_SUFFIXES
from beton_builder.sources.tar_shard import Member, TarShard
from beton_builder.sources.webdataset_classes import CLASS_EXTENSIONS, Said, Unusable, said_by

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png")
_META = re.compile("__[^/]*__(/|$)")
_LARGEST_CLASS_MEMBER = 1 << 20


class Unlabelled(Unusable):
    """An image without a class."""


class ShardSample(NamedTuple):
    """A sample of a shard. name: its image's; offset, size: the image's bytes.

    said: its class; None, with the key as its name, where there is a problem.
    """

    name: str
    offset: int
    size: int
    said: Said | None
    problem: Unusable | None


class _Keyed(NamedTuple):
    key: str
    extension: str
    member: Member


def samples_of(shard: TarShard, shard_name: str, ignored: list[str]) -> Iterator[ShardSample]:
    """Every sample, in order; what is passed over is added to `ignored` as SHARD_NAME#MEMBER.

    Raises DamagedSource for a broken archive, BadSource for images of other types.
    """
    seen: set[str] = set()
    for key, members in groupby(_keyed(shard, shard_name, ignored), key=lambda keyed: keyed.key):
        together = list(members)
        try:
            if key in seen:
                raise Unusable(
                    "comes again after other samples of its shard: expected the files of a key "
                    "next to one another, as tar --sort=name puts them"
                )
            yield _sample(shard, together)
        except Unusable as problem:
            yield ShardSample(key, 0, 0, None, problem)
        seen.add(key)


def _keyed(shard: TarShard, shard_name: str, ignored: list[str]) -> Iterator[_Keyed]:
    for member in shard.members():
        folder, slash, file_name = member.name.rpartition("/")
        stem, _, extension = file_name.partition(".")
        if not stem or not extension or _META.match(member.name):
            ignored.append(f"{shard_name}#{member.name}")
        else:
            yield _Keyed(f"{folder}{slash}{stem}", extension.lower(), member)


def _sample(shard: TarShard, together: Sequence[_Keyed]) -> ShardSample:
    by_extension: dict[str, Member] = {}
    for _, extension, member in together:
        if extension in by_extension:
            both = f"{by_extension[extension].name} and {member.name}"
            raise Unusable(f"has two files .{extension} ({both}), expected one")
        by_extension[extension] = member
    image = _image(shard, by_extension)
    said = _said(shard, by_extension)
    return ShardSample(image.name, image.offset, image.size, said, None)


def _image(shard: TarShard, by_extension: dict[str, Member]) -> Member:
    """The member `jpg`, `jpeg` or `png`, or else the only one that ends so, as in `left.jpg`."""
    found = [extension for extension in IMAGE_EXTENSIONS if extension in by_extension]
    found = found or [
        extension for extension in by_extension if extension.rpartition(".")[2] in IMAGE_EXTENSIONS
    ]
    if not found:
        _refuse_other_images(shard, by_extension)
        raise Unusable(f"has no .jpg, .jpeg or .png ({_listed(by_extension)})")
    if len(found) > 1:
        raise Unusable(
            f"has {len(found):,} images ({_listed(found)}), expected one; the key of a sample ends "
            "at the first dot of its file names"
        )
    return _plain(by_extension[found[0]])


def _refuse_other_images(shard: TarShard, by_extension: dict[str, Member]) -> None:
    for member in by_extension.values():
        if member.name.lower().endswith(OTHER_IMAGE_SUFFIXES):
            raise BadSource(
                f"{shard.path}: {member.name} is an image that is neither JPEG nor PNG; write the "
                "shards anew with it converted, or without it"
            )


def _said(shard: TarShard, by_extension: dict[str, Member]) -> Said:
    for extension in CLASS_EXTENSIONS:
        if extension in by_extension:
            member = _plain(by_extension[extension])
            if member.size > _LARGEST_CLASS_MEMBER:
                raise Unusable(f"has a .{extension} of {member.size:,} bytes, expected a class")
            said = said_by(extension, shard.read(member.offset, member.size))
            if said is not None:
                return said
    expected = ", ".join(f".{extension}" for extension in CLASS_EXTENSIONS)
    raise Unlabelled(f"has no class ({_listed(by_extension)}), expected one of {expected}")


def _plain(member: Member) -> Member:
    if member.problem is not None:
        raise Unusable(f"has a file that cannot be read: {member.name} {member.problem}")
    return member


def _listed(extensions: Sequence[str] | dict[str, Member]) -> str:
    names = [f".{extension}" for extension in extensions]
    return f"it has {', '.join(names[:5])}{', …' * (len(names) > 5)}"
