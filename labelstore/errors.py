"""Everything `labelstore` raises on purpose. Imports nothing.

::

    LabelStoreError            exit code 2: wrong usage, configuration, environment or input
    ├── StoreNotFound          no label store at that path
    ├── SubsetsNotFound        no materialised subsets at that path
    ├── ViewNotFound           no such expert or view, or several where one must be named
    ├── WrongDataset           labels of another dataset
    ├── WrongClasses           another class order
    ├── WrongFormat            labels laid out as an older or newer version of this program does
    ├── WrongIdentity          an expert's view exists already with another identity
    ├── WrongCheckpoint        an epoch was begun with another checkpoint
    ├── EpochNotDumped         rows that were never written
    ├── BadIndices             sample indices that are not 1-D integers inside the dataset
    ├── BadLogits              NaN, infinite or too large logits, labels out of range
    ├── BadSource              labels to import that are unreadable, incomplete or of another shape
    ├── BadArgument            any other argument that cannot be meant
    ├── ReadOnlyStore          writing to a store that only plain Zarr can read
    ├── ChunkInUse             another process is writing the same rows
    ├── StoreFull              no space left on the disk
    └── DamagedStore           exit code 1: what lies on disk is not what was written
"""

from __future__ import annotations


class LabelStoreError(Exception):
    """Root of the tree above; `exit_code` is what the command line returns for it."""

    exit_code = 2


class StoreNotFound(LabelStoreError):
    """No label store at that path."""


class SubsetsNotFound(LabelStoreError):
    """No folder of materialised subsets at that path."""


class ViewNotFound(LabelStoreError):
    """No such expert or view, or several where one must be named."""


class WrongDataset(LabelStoreError):
    """The labels describe another dataset; the message names both ids."""


class WrongClasses(LabelStoreError):
    """The labels use another class order; the message names the first class that differs."""


class WrongFormat(LabelStoreError):
    """Labels of a layout that this program doesn't read; the message names both formats."""


class WrongIdentity(LabelStoreError):
    """The store or view exists already with another identity; the message names both values."""


class WrongCheckpoint(LabelStoreError):
    """The epoch was begun with another checkpoint; the message names both ids."""


class EpochNotDumped(LabelStoreError):
    """The rows asked for were never written; the message names the epoch and the command."""


class BadIndices(LabelStoreError, IndexError):
    """Sample indices that are not one-dimensional integers in 0 ≤ index < num_samples."""


class BadLogits(LabelStoreError, ValueError):
    """Logits that float16 cannot hold, or labels out of range; names the epoch and the sample."""


class BadSource(LabelStoreError, ValueError):
    """Labels to import that are unreadable, incomplete or of another shape; says what and where."""


class BadArgument(LabelStoreError, ValueError):
    """Any other argument that cannot be meant."""


class ReadOnlyStore(LabelStoreError):
    """Writing was asked of a store whose arrays have another layout than ours."""


class ChunkInUse(LabelStoreError):
    """Another process is writing the same rows."""


class StoreFull(LabelStoreError):
    """The disk is full; what was written before stays and the same command resumes."""


class DamagedStore(LabelStoreError):
    """What lies on disk is not what was written."""

    exit_code = 1
