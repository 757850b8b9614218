"""Mean and standard deviation of a dataset, for pixels in 0..1.

"auto" follows the protocol, in whatever format a dataset comes: CIFAR-10 and CIFAR-100 take
CIFAR-10's published values; JPEGs and PNGs in colour, being photographs, take ImageNet's; greyscale
images and arrays are measured over train, but for folders of images, which take ImageNet's.
"zca" leaves pixels in 0..1 to the whitening that is fitted to them (`whitening.py`). Measuring
counts pixel values in a histogram of integers, so the result is exact and the same for any number
of workers. Greyscale datasets have one channel; published values are averaged over their three.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from beton_builder.errors import BadOption
from beton_builder.images import is_greyscale
from beton_builder.jpeg import ImageProblem
from beton_builder.sources.samples import EncodedSplit, PixelSplit, Source

PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
CHOICES = ("auto", "measured", *PUBLISHED, "zca")
CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_FOLDERS = ("image-folder", "imagenet", "tiny-imagenet")
_LOOKED_AT = 8  # samples, of which a whole one in colour tells photographs
_CIFAR_CLASSES = (CIFAR10_CLASSES.split(), CIFAR100_CLASSES.split())  # both sorted

Histogram = npt.NDArray[np.int64]
Choice = str | Mapping[str, Sequence[float]]


def check_choice(choice: Choice) -> None:
    """Raise BadOption unless `choice` is one of CHOICES or {"mean": [...], "std": [...]}."""
    if isinstance(choice, str):
        if choice not in CHOICES:
            raise BadOption(
                f"unknown normalisation {choice!r}; expected {', '.join(CHOICES)} or a mapping "
                "with 'mean' and 'std'"
            )
        return
    numbers = [list(choice.get(key, ())) for key in ("mean", "std")]
    if (
        set(choice) != {"mean", "std"}
        or len(numbers[0]) != len(numbers[1])
        or not (len(numbers[0]) in (1, 3) and all(value > 0 for value in numbers[1]))
    ):
        raise BadOption(
            f"normalisation {dict(choice)!r} should have 'mean' and 'std' of 1 or 3 numbers each, "
            "std above 0, for pixels in 0..1"
        )


def resolve(choice: Choice, source: Source) -> Choice:
    """What "auto" means for this source; anything else is returned as it is.

    Looks at the headers of the first samples of train. Raises DamagedSource.
    """
    if choice != "auto":
        return choice
    if is_cifar(source):
        return "cifar10"
    train = source.splits["train"]
    if source.format in _FOLDERS or (isinstance(train, EncodedSplit) and _in_colour(train)):
        return "imagenet"
    return "measured"


def _in_colour(split: EncodedSplit) -> bool:
    for sample in split.read(0, min(len(split), _LOOKED_AT)):
        try:
            if isinstance(sample, bytes) and not is_greyscale(sample):
                return True
        except ImageProblem:
            continue
    return False


def is_cifar(source: Source) -> bool:
    """Whether this is CIFAR-10 or CIFAR-100, by format, or by its class names."""
    if source.format == "cifar":
        return True
    train = source.splits["train"]
    is_32 = not isinstance(train, PixelSplit) or train.shape[:2] == (32, 32)
    return is_32 and sorted(source.classes) in _CIFAR_CLASSES


def empty_histogram() -> Histogram:
    """Counts of pixel values, (3 channels, 256 levels)."""
    return np.zeros((3, 256), np.int64)


def histogram_of(pixels: npt.NDArray[np.uint8]) -> Histogram:
    """Counts of the values of (..., 3) uint8 pixels per channel."""
    return np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(3)])


def normalisation(choice: Choice, channels: int, histogram: Histogram | None) -> dict[str, Any]:
    """{"mean", "std", "from"} with `channels` numbers each, for pixels in 0..1.

    choice: resolved, not "auto". histogram: needed for "measured"; std is that of the population.
    """
    if choice == "zca":
        return {"mean": [0.0] * channels, "std": [1.0] * channels, "from": "ZCA: pixels in 0..1"}
    if choice == "measured":
        assert histogram is not None
        counts = histogram[:channels]
        levels = np.arange(256) / 255.0
        mean = counts @ levels / counts.sum(axis=1)
        variance = [
            float(row @ (levels - centre) ** 2 / row.sum())
            for row, centre in zip(counts, mean, strict=True)
        ]
        std = [max(value**0.5, 1e-6) for value in variance]  # constant images would divide by 0
        return {"mean": [float(value) for value in mean], "std": std, "from": "measured on train"}
    means: Sequence[float]
    stds: Sequence[float]
    if isinstance(choice, str):
        means, stds = PUBLISHED[choice]
        origin = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}[choice]
    else:
        means, stds = tuple(choice["mean"]), tuple(choice["std"])
        origin = "given"
        if len(means) == 1 and channels == 3:
            means, stds = means[0:1] * 3, stds[0:1] * 3
    if channels == 1 and len(means) == 3:
        means, stds = (_average(means),), (_average(stds),)
    return {"mean": [float(x) for x in means], "std": [float(x) for x in stds], "from": origin}


def _average(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)
