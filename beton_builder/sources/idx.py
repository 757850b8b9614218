"""IDX, the format of MNIST and its relatives (yann.lecun.com/exdb/mnist), plain or gzip.

In:  `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and `t10k-…` (or `test-…`), each plain or
     with `.gz`. Out: greyscale splits of (28, 28, 1), or whatever size the file states.
A gzip file cannot be entered in the middle: reading goes forward through a stream that each thread
keeps open, and starts again when asked for an earlier sample. Only bytes of one request are in
memory.
Class names are the digits the labels are; Fashion-MNIST is recognised by its labels' checksum, so
that it has its ten names wherever it lies.
"""

import gzip
import hashlib
import re
import threading
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from beton_builder.errors import BadSource, DamagedSource, SourceNotFound
from beton_builder.sources.samples import Fingerprint, PixelSplit, Source, Split, source_name

UNSIGNED_BYTE = 0x08
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_MNIST_LABELS = "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7"
_SPLIT_WORDS = {"train": ("train",), "test": ("t10k", "test")}
_KINDS = {"images": "idx3", "labels": "idx1"}
EXPECTED = "train-images-idx3-ubyte[.gz] and train-labels-idx1-ubyte[.gz]"


def find_idx_files(folder: Path) -> dict[tuple[str, str], Path]:
    """The files of each (split, "images" or "labels"), in the folder or in `raw/` below it.

    Empty when there are none. Raises BadSource when several files claim one role.
    """
    return _roles(folder) or (_roles(folder / "raw") if (folder / "raw").is_dir() else {})


def _roles(folder: Path) -> dict[tuple[str, str], Path]:
    roles: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir()):
        for split, words in _SPLIT_WORDS.items():
            for kind, dimensions in _KINDS.items():
                pattern = rf"(.*[-_.])?({'|'.join(words)})[-_]{kind}[-_.]{dimensions}([-_.].*)?"
                if not re.fullmatch(pattern, path.name, re.IGNORECASE) or not path.is_file():
                    continue
                known = roles.get((split, kind))
                if known is None or path.name == known.name.removesuffix(".gz"):
                    roles[split, kind] = path  # the plain file beside its .gz is read faster
                elif path.name.removesuffix(".gz") != known.name.removesuffix(".gz"):
                    raise BadSource(
                        f"{folder} holds two files of {split} {kind}: {known.name} and "
                        f"{path.name}; keep one dataset per folder"
                    )
    return roles


def open_idx(folder: Path) -> Source:
    """The IDX dataset in `folder`. Raises SourceNotFound, BadSource or DamagedSource."""
    files = find_idx_files(folder)
    splits: dict[str, Split] = {}
    for split in _SPLIT_WORDS:
        images, labels = files.get((split, "images")), files.get((split, "labels"))
        if images and labels:
            splits[split] = IdxSplit(images, labels)
        elif images or labels:
            present, absent = (images, "labels") if images else (labels, "images")
            raise BadSource(f"{present} has no {absent} file beside it (expected {EXPECTED})")
    if "train" not in splits:
        raise SourceNotFound(f"no IDX train files in {folder}: expected {EXPECTED}")
    return Source(
        format="idx",
        name=source_name(folder),
        folder=folder,
        classes=_class_names(splits["train"].labels),
        splits=splits,
        origins={split: files[split, "images"].name for split in splits},
        fingerprint=Fingerprint.of_files(files.values()),
    )


def _class_names(labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    if hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest() == FASHION_MNIST_LABELS:
        return FASHION_MNIST_CLASSES
    return tuple(str(label) for label in range(int(labels.max(initial=0)) + 1))


class IdxSplit(PixelSplit):
    """Images (n, height, width) uint8 and labels (n,) uint8 of one split.

    Picklable, and may be read by several threads: each has a stream of its own.
    """

    def __init__(self, images: Path, labels: Path) -> None:
        self.images = images
        with _IdxStream(labels, dimensions=1) as stream:
            self.labels = stream.read(stream.shape[0]).astype(np.int64)
            stream.check_end()
        with _IdxStream(images, dimensions=3) as stream:
            count, height, width = stream.shape
        if count != len(self.labels):
            raise BadSource(
                f"{images.name} holds {count} images but {labels.name} {len(self.labels)} labels"
            )
        self.shape = (height, width, 1)
        self._streams = threading.local()

    def name_of(self, index: int) -> str:
        return f"{self.images.name}#{index}"

    def read(self, first: int, stop: int) -> npt.NDArray[np.uint8]:
        stream: _IdxStream | None = getattr(self._streams, "stream", None)
        if stream is None or stream.position > first:
            stream = self._streams.stream = _IdxStream(self.images, dimensions=3)
        stream.skip_to(first)
        pixels = stream.read(stop - first)
        if stop == len(self):
            stream.check_end()
        return pixels[..., np.newaxis]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_streams"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _streams=threading.local())


class _IdxStream:
    """Forward reader of one IDX file; turns every way of being cut off into DamagedSource.

    Closes its file when it is let go of, which is when the thread that read by it ends.
    """

    def __init__(self, path: Path, *, dimensions: int) -> None:
        self.path = path
        self.position = 0  # items read so far
        self._file: IO[bytes] = (
            cast(IO[bytes], gzip.GzipFile(path)) if path.suffix == ".gz" else path.open("rb")
        )
        try:
            magic = self._exactly(4)
            expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
            if magic != expected:
                raise DamagedSource(
                    f"{path} is not an IDX file of {dimensions}-dimensional bytes: it begins with "
                    f"{magic.hex()}, expected {expected.hex()}",
                    path.name,
                )
            sizes = np.frombuffer(self._exactly(4 * dimensions), ">u4")
            self.shape = tuple(int(size) for size in sizes)
            self._item = int(np.prod(self.shape[1:], dtype=np.int64))
            if dimensions == 3 and not 0 < self._item <= 1 << 28:
                raise DamagedSource(f"{path} states an unusable shape {self.shape}", path.name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "_IdxStream":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def read(self, count: int) -> npt.NDArray[np.uint8]:
        data = self._exactly(count * self._item)
        self.position += count
        return np.frombuffer(data, np.uint8).reshape(count, *self.shape[1:])

    def skip_to(self, position: int) -> None:
        while self.position < position:
            self.read(min(1024, position - self.position))

    def check_end(self) -> None:
        """Read past the last item: this is where gzip compares its checksum."""
        if self._raw(1):
            raise DamagedSource(
                f"{self.path} goes on after its {self.shape[0]} items", self.path.name
            )

    def _exactly(self, size: int) -> bytes:
        data = self._raw(size)
        if len(data) < size:
            raise DamagedSource(
                f"{self.path} is truncated: {size - len(data)} bytes are missing after item "
                f"{self.position} of {getattr(self, 'shape', ('?',))[0]}",
                self.path.name,
            )
        return data

    def _raw(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DamagedSource(
                f"{self.path} is a truncated or damaged gzip file: {error}", self.path.name
            ) from error
        except OSError as error:
            raise DamagedSource(
                f"{self.path} cannot be read: {error.strerror}", self.path.name
            ) from error
