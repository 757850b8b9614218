"""Every error this room raises on purpose.

    BetonError                  exit code 2: something to change before trying again
    ├── BadOption               an argument of a call is not allowed
    ├── BadSource               the source is there, but it is not what its format promises
    │   ├── SourceNotFound      nothing usable at the given place or under the given name
    │   └── DamagedSource       a file or a sample of the source is broken; `sample` names it
    ├── DatasetExists           the output is a finished dataset of another source or other options
    ├── OutputUnusable          the output place cannot be written
    │   └── NoSpace             the disk is full (or would be)
    ├── WorkerDied              a worker process ended without an answer
    ├── DatasetNotFound         no finished dataset at the given path
    ├── MissingSplit            the dataset has no such split
    └── DamagedDataset          exit code 1: stored bytes are not what was written
        ├── UnfinishedBeton     a `.beton` file whose build was cut off
        └── DamagedSample       one sample of a dataset does not decode

A message says what was expected, what was found and where, and the next command to type.
"""

BUILD_AGAIN = "Build the dataset again with engine build-beton --force"  # what mends any damage


class BetonError(Exception):
    """Root of the tree; `exit_code` is what a command line returns for it."""

    exit_code = 2


class BadOption(BetonError):
    """An argument is not allowed; the message lists what is."""


class BadSource(BetonError):
    """The source contradicts its format: counts, classes, columns or labels do not fit."""


class SourceNotFound(BadSource):
    """The source is missing, empty or of no known format."""


class DamagedSource(BadSource):
    """A file or sample of the source is broken; `sample` is its name within the source."""

    def __init__(self, message: str, sample: str = "") -> None:
        super().__init__(message)
        self.sample = sample


class DatasetExists(BetonError):
    """The output holds a finished dataset made from something else; `force=True` replaces it."""


class OutputUnusable(BetonError):
    """The output folder cannot be made, written or locked."""


class NoSpace(OutputUnusable):
    """The disk that holds the output is full, or too small for what was planned."""


class WorkerDied(BetonError):
    """A worker process ended without an answer (killed, out of memory, crashed decoder)."""


class DatasetNotFound(BetonError):
    """There is no finished dataset at the path."""


class MissingSplit(BetonError):
    """The dataset has no such split."""


class DamagedDataset(BetonError):
    """Stored bytes differ from what was written; `engine verify` says where."""

    exit_code = 1


class UnfinishedBeton(DamagedDataset):
    """The header's allocation-table pointer is 0: the build of this file was cut off."""


class DamagedSample(DamagedDataset):
    """One stored sample does not decode completely."""
