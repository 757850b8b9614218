"""Datasets that are known by name: `fashion-mnist`, `cifar10`, `cifar100`.

In:  a name. Out: a folder on this machine that one of the other modules opens.
Fashion-MNIST is taken from the Debian package `dataset-fashion-mnist` where that is installed;
everything else is downloaded once by torchvision (which checks its own checksums) into
`$ENGINE_CACHE`, by default `~/.cache/softlabel-engine`. An existing folder of that name wins.
"""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from beton_builder.errors import SourceNotFound

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
# name: (torchvision's class, the folder it unpacks to)
_DOWNLOADS = {
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
}
KNOWN_NAMES = tuple(_DOWNLOADS)


def cache_folder() -> Path:
    """Where downloads are kept."""
    chosen = os.environ.get("ENGINE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "softlabel-engine"


def folder_of_name(name: str) -> Path:
    """The folder of a known dataset, downloaded if needed. Raises SourceNotFound."""
    if name == "fashion-mnist" and (DEBIAN_FASHION_MNIST / "train-images-idx3-ubyte.gz").is_file():
        return DEBIAN_FASHION_MNIST
    torchvision_class, subfolder = _DOWNLOADS[name]
    cache = cache_folder()
    complete = cache / f"{name}.complete"  # an interrupted unpacking leaves files that look right
    if not complete.is_file():
        _download(name, torchvision_class, cache)
        complete.touch()
    return cache / subfolder


def _download(name: str, torchvision_class: str, cache: Path) -> None:
    try:
        from torchvision import datasets

        cache.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):  # stdout belongs to the caller
            getattr(datasets, torchvision_class)(cache, download=True)
    except Exception as error:  # network, disk, checksum, torchvision absent: all end the same way
        package = " or install the Debian package dataset-fashion-mnist"
        raise SourceNotFound(
            f"{name} could not be downloaded by torchvision ({type(error).__name__}: {error}); "
            f"give --source a folder that holds it{package if name == 'fashion-mnist' else ''}"
        ) from error
