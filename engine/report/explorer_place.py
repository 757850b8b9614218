"""The label explorer's place on the page: found where a sweep says that its sources lie, or given.

In: a report's results, and perhaps a dataset and a label store. Out: an HTML fragment, or why there
is none. Sources that were moved are no error unless they were asked for.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import EngineError, MismatchError
from engine.report.sweeps import Results


def explorer_of(
    results: Results, data: str | Path | None, labels: str | Path | None
) -> tuple[str, str]:
    """(HTML fragment, note); the fragment is empty where there is nothing to explore.

    Raises:
        MismatchError: the dataset that was given is not that of the sweeps.
        EngineError: what was given can't be read.
    """
    if data is not None or labels is not None:
        first = results.places[0] if results.places else ("", "")
        return _fragment(results, data or first[0], labels or first[1]), ""
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
    return explorer_fragment(dataset, labelstore.open_store(labels))
