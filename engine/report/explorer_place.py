"""The label explorer's place on the page: found where a sweep says that its sources lie, or given.

In: a report's results, and perhaps a dataset and a label store. Out: an HTML fragment, or why there
is none. Sources that were moved are no error unless they were asked for.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from engine.analysis.trials import LABEL_VIEW_ID
from engine.errors import EngineError, MismatchError, UsageError
from engine.report.sweeps import Results

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from beton_builder import Dataset
    from labelstore import LabelStore


def explorer_of(
    results: Results, data: str | Path | None, labels: str | Path | None
) -> tuple[str, str]:
    """(HTML fragment, note); the fragment is empty where there is nothing to explore.

    Of several places the first that works is taken; the note says why none did.

    Raises:
        UsageError: one of the two was given, and no sweep says where the other lies.
        MismatchError: the dataset that was given is not that of the sweeps.
        EngineError: what was given can't be read.
    """
    from beton_builder import BetonError
    from labelstore import LabelStoreError

    asked = data is not None or labels is not None
    recorded = results.places
    if data is not None and labels is not None:
        recorded = ((str(data), str(labels)),)
    places = dict.fromkeys((str(data or own[0]), str(labels or own[1])) for own in recorded)
    if asked and not places:
        lacking = "--data DATA" if data is None else "--labels STORE"
        raise UsageError(
            "expected the dataset and the label store for the label explorer, found one of "
            f"them: no sweep says where the other lies\nengine report … {lacking}"
        )
    errors: list[Exception] = []
    for place in places:
        if asked or all(Path(source).is_dir() for source in place):
            try:
                return _fragment(results, *place), ""
            except (EngineError, BetonError, LabelStoreError, OSError) as error:
                errors.append(error)
    if asked:
        raise errors[0]
    why = dict.fromkeys(" ".join(str(error).split()) for error in errors)
    return "", f"No label explorer: {'; '.join(why)}" if why else ""


def _fragment(results: Results, data: str, labels: str) -> str:
    import beton_builder
    import labelstore
    from engine.report.explorer import explorer_fragment

    dataset = beton_builder.open_dataset(data)
    if dataset.id != results.dataset_id:
        raise MismatchError(
            f"expected dataset {results.dataset_id} as in the sweeps, found {dataset.id} at {data}"
            "\nname the dataset that the students were trained on: engine report … --data DATA"
        )
    store = labelstore.open_store(labels)
    images = students_images(results, dataset)
    return explorer_fragment(dataset, store, sample_ids=images, **students_labels(results, store))


def students_labels(results: Results, store: LabelStore) -> dict[str, str]:
    """The labels that most students trained on, of those in a store: expert, view and codec.

    Where it has none of them, the view alone; where no student had an expert's labels, nothing.
    """
    stored = {
        (expert, view): store.view(expert, view, codecs[0]).id
        for expert, view in store.views()
        if (codecs := store.codecs(expert, view))
    }
    axes = (LABEL_VIEW_ID, "expert", "view", "codec")
    used = Counter(
        tuple(str(trial.axes.get(name) or "") for name in axes)
        for trial in results.trials
        if trial.done and trial.labels == "soft"
    ).most_common()
    for (view_id, expert, view, codec), _ in used:
        # A report may rename an expert; of an ensemble, whose ids are a list, a member will do.
        known = [name for name, own in stored.items() if own in view_id or name == (expert, view)]
        for named in sorted(known, key=lambda name: name != (expert, view)):
            if not codec or codec in store.codecs(*named):
                found = dict(zip(("expert", "view", "codec"), (*named, codec), strict=True))
                return {name: value for name, value in found.items() if value}
    views = [view for (_, _, view, _), _ in used if view]
    return {"view": views[0]} if views else {}


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
