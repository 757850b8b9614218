"""The label explorer's place on the page: found where a sweep says that its sources lie, or given.

In: a report's results, and perhaps a dataset and a label store. Out: an HTML fragment, or why there
is none. Sources that were moved are no error unless they were asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError, MismatchError, UsageError
from engine.report.sweeps import Results

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from beton_builder import Dataset


def explorer_of(
    results: Results, data: str | Path | None, labels: str | Path | None
) -> tuple[str, str]:
    """(HTML fragment, note); the fragment is empty where there is nothing to explore.

    Raises:
        UsageError: one of the two was given, and no sweep says where the other lies.
        MismatchError: the dataset that was given is not that of the sweeps.
        EngineError: what was given can't be read.
    """
    if data is not None or labels is not None:
        first = results.places[0] if results.places else (None, None)
        data, labels = data or first[0], labels or first[1]
        if data is None or labels is None:
            lacking = "--data DATA" if data is None else "--labels STORE"
            raise UsageError(
                "expected the dataset and the label store for the label explorer, found one of "
                f"them: no sweep says where the other lies\nengine report … {lacking}"
            )
        return _fragment(results, data, labels), ""
    for own_data, own_labels in results.places:
        if Path(own_data).is_dir() and Path(own_labels).is_dir():
            from beton_builder import BetonError
            from labelstore import LabelStoreError

            try:
                return _fragment(results, own_data, own_labels), ""
            except (EngineError, BetonError, LabelStoreError, OSError) as error:
                return "", f"No label explorer: {' '.join(str(error).split())}"
    return "", ""


def _fragment(results: Results, data: str | Path, labels: str | Path) -> str:
    import beton_builder
    import labelstore
    from engine.report.explorer import explorer_fragment

    dataset = beton_builder.open_dataset(data)
    if dataset.id != results.dataset_id:
        raise MismatchError(
            f"expected dataset {results.dataset_id} as in the sweeps, found {dataset.id} at {data}"
            "\nname the dataset that the students were trained on: engine report … --data DATA"
        )
    images = students_images(results, dataset)
    return explorer_fragment(dataset, labelstore.open_store(labels), sample_ids=images)


def students_images(results: Results, dataset: Dataset) -> npt.NDArray[np.int64] | None:
    """Random images that students were trained on: sample ids; None where no student had any.

    Those of the lowest subset seed and of the smallest IPC that fills the explorer, or else of the
    largest: subsets of one seed are nested, so students of every larger IPC saw them too.
    """
    from engine.experiments import select_random
    from engine.report.explorer.fragment import MAX_IMAGES
    from engine.sweep.planning.plan import sample_pool

    subsets = {
        (trial.subset_seed, trial.ipc)
        for trial in results.trials
        if trial.done and (trial.axes.get("selection") or "random") == "random"
    }
    seeds = sorted(seed for seed, _ in subsets if seed is not None)
    if not seeds:
        return None
    ipcs = sorted(ipc for seed, ipc in subsets if seed == seeds[0])
    filling = [ipc for ipc in ipcs if ipc * dataset.num_classes >= MAX_IMAGES]
    ipc = filling[0] if filling else ipcs[-1]
    labels, candidates = sample_pool(dataset)
    return select_random(labels, candidates, ipc, seeds[0], dataset.classes)
