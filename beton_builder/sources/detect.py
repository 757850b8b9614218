"""Chooses the module that opens a source.

In:  a folder or known name, and a format or "auto". Out: a checked `Source`.
"auto" tries the formats from the most to the least specific file names; when none fits, the error
lists what was looked for.
"""

from dataclasses import replace
from pathlib import Path

from beton_builder.errors import BadOption, SourceNotFound
from beton_builder.progress import Progress
from beton_builder.sources import cifar, idx, image_folder, imagenet, tiny_imagenet, webdataset
from beton_builder.sources.known_names import KNOWN_NAMES, folder_of_name
from beton_builder.sources.samples import Source, folder_of

FORMATS = (
    "auto", "image-folder", "tiny-imagenet", "imagenet", "cifar", "idx", "parquet", "webdataset",
)  # fmt: skip
_PARQUET_EXPECTED = (
    "train-*.parquet and test-*.parquet (in the folder, in data/, or as train/*.parquet)"
)


def open_source(
    source: str | Path, format: str = "auto", progress: Progress | None = None
) -> Source:
    """Open a source, reading its labels and names but no images.

    source: a folder, or a name of KNOWN_NAMES. Raises BadOption, SourceNotFound, BadSource.
    """
    if format not in FORMATS:
        raise BadOption(f"unknown format {format!r}; expected one of {', '.join(FORMATS)}")
    if isinstance(source, str) and source in KNOWN_NAMES and not Path(source).exists():
        folder = folder_of_name(source)
        name: str | None = source
    else:
        folder, name = folder_of(source), None
    chosen = detect_format(folder) if format == "auto" else format
    opened = _open(folder, chosen, progress)
    return opened if name is None else replace(opened, name=name)


def detect_format(folder: Path) -> str:
    """The format of a folder's content. Raises SourceNotFound with all that was looked for."""
    if idx.find_idx_files(folder):
        return "idx"
    if cifar.find_cifar_layout(folder):
        return "cifar"
    if _has_parquet(folder):
        return "parquet"
    if tiny_imagenet.find_tiny_imagenet(folder):
        return "tiny-imagenet"
    if imagenet.find_data_folder(folder):
        return "imagenet"
    if image_folder.find_class_folders(folder):
        return "image-folder"
    if webdataset.find_shards(folder):
        return "webdataset"
    if imagenet.has_tars(folder):
        raise SourceNotFound(f"{folder} holds ImageNet's tars; {imagenet.UNPACK}")
    present = sorted(path.name for path in folder.iterdir())
    raise SourceNotFound(
        f"no known format in {folder}. Looked for\n"
        f"  idx:           {idx.EXPECTED}\n"
        f"  cifar:         {cifar.EXPECTED}\n"
        f"  parquet:       {_PARQUET_EXPECTED}\n"
        f"  tiny-imagenet: {tiny_imagenet.EXPECTED}\n"
        f"  imagenet:      {imagenet.EXPECTED}\n"
        f"  image-folder:  {image_folder.EXPECTED}\n"
        f"  webdataset:    {webdataset.EXPECTED}\n"
        f"Found {', '.join(present[:5])}{', …' if len(present) > 5 else ''}."
    )


def _has_parquet(folder: Path) -> bool:
    if not any(folder.glob("*.parquet")) and not any(folder.glob("*/*.parquet")):
        return False
    from beton_builder.sources import parquet  # pyarrow takes a third of a second to import

    return bool(parquet.find_parquet_files(folder))


def _open(folder: Path, format: str, progress: Progress | None) -> Source:
    if format == "idx":
        return idx.open_idx(folder)
    if format == "cifar":
        return cifar.open_cifar(folder)
    if format == "image-folder":
        return image_folder.open_image_folder(folder, progress)
    if format == "tiny-imagenet":
        return tiny_imagenet.open_tiny_imagenet(folder, progress)
    if format == "imagenet":
        return imagenet.open_imagenet(folder, progress)
    if format == "webdataset":
        return webdataset.open_webdataset(folder, progress)
    from beton_builder.sources import parquet

    return parquet.open_parquet(folder)
