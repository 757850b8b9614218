"""Labels made elsewhere, for the tests that import them: the arrays, and how to write them."""

from __future__ import annotations

import labelstore_cases as cases
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import labelstore

N, C = cases.NUM_SAMPLES, cases.NUM_CLASSES
LOGITS = cases.logits_of(0)
WEIGHTS = np.exp(LOGITS.astype(np.float64) - LOGITS.max(axis=1, keepdims=True))
PROBABILITIES = WEIGHTS / WEIGHTS.sum(axis=1, keepdims=True)
ORDER = np.random.default_rng(0).permutation(N)


def do_import(store, source, **options):
    given = {
        "dataset_id": "dataset-1",
        "classes": cases.CLASSES,
        "labels": cases.LABELS,
        "expert": "elsewhere",
    }
    return labelstore.import_labels(store, source, **{**given, **options})


def view_of(store, **options):
    return labelstore.open_store(store).view(**options)


def npz(path, compressed=True, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def parquet(path, logits, *, fixed=False, column="logits", row_group_size=700, **columns):
    if fixed:
        flat = pa.array(np.ascontiguousarray(logits).reshape(-1))
        values = pa.FixedSizeListArray.from_arrays(flat, logits.shape[1])
    else:
        values = pa.array(list(logits))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: values, **columns}), path, row_group_size=row_group_size)
    return path
