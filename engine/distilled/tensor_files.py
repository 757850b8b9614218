"""`.pt` and `.pth` files: tensors, and nothing that could run.

A `.pt` file is a pickle, and a pickle is a program. torch's restricted unpickler is the only one
used here; beyond its own list it may make plain numpy numbers and arrays, which DC and DM save
beside their images. What needs more is refused, unread.

In: a file. Out: its arrays, found in the layouts of published methods:

| Method | Layout |
|---|---|
| DC, DM | `{"data": [[images, labels], …], "accs_all_exps": …}`, an entry an experiment |
| MTT and its heirs | a tensor in `images_best.pt`, another in `labels_best.pt` beside it |
| Ra-BPTT | `{"model_state_dict": {"module.data.weight"}, "label_state_dict": {…}}` |
| anything else | a pair (images, labels), or a dict of tensors under usual names |
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.distilled.distilled_set import Finding
from engine.distilled.found import IMAGE_NAMES, LABEL_NAMES, SOFT_NAMES, Found, choose_arrays
from engine.errors import ArtefactError, DamageError

Array = npt.NDArray[Any]

SUFFIXES = (".pt", ".pth")
_IMAGES_FILE = re.compile(r"^images(?:_zca)?(_.*)?$")
_RA_BPTT = {"data.weight": "data", "label.weight": "label"}


def read_tensor_file(path: Path) -> Found:
    """What a `.pt` file holds, or an MTT pair of them.

    Raises:
        ArtefactError: the file needs more than tensors, or holds no images and labels.
        DamageError: it is cut off or no `.pt` file.
    """
    content = load_tensors(path)
    findings: list[Finding] = []
    if isinstance(content, Tensor):
        arrays = {"images": content, "labels": _labels_beside(path)}
    elif isinstance(content, Mapping):
        arrays, findings = _named(content, path)
    elif pair := _pair(content):
        arrays = pair
    else:
        raise ArtefactError(
            f"{path}: expected a tensor, a pair of tensors or a dict of them, found "
            f"{type(content).__name__}"
        )
    found = choose_arrays({k: _array(v) for k, v in arrays.items()}, str(path), "pt")
    return replace(found, findings=tuple(findings))


def load_tensors(path: Path) -> Any:
    """The content of a `.pt` file, by torch's restricted unpickler. Raises as the above."""
    try:
        with torch.serialization.safe_globals(_numpy_numbers()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        needs = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {needs[1]}" if needs else str(error).strip().splitlines()[0]
        raise ArtefactError(
            f"{path} was not loaded: a .pt file may hold tensors and plain numbers, and {reason}. "
            "Loading that could run any program\n"
            'where you trust it, save it anew: torch.save({"images": images, "labels": labels}, …)'
        ) from error
    except OSError as error:
        raise ArtefactError(f"{path} can't be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises whatever the broken bytes lead to
        said = str(error).strip().splitlines()
        raise DamageError(
            f"{path} is cut off or no .pt file: {said[0] if said else type(error).__name__}"
        ) from error


def _numpy_numbers() -> list[Any]:
    """What numpy's numbers and arrays of numbers are pickled as; no type that could act."""
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.zeros(0).__reduce__()[0]
    old_names = ("numpy.core.multiarray.scalar", "numpy.core.multiarray._reconstruct")
    functions = [scalar, reconstruct, (scalar, old_names[0]), (reconstruct, old_names[1])]
    numbers = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    return [*functions, np.ndarray, np.dtype, *numbers]


def _pair(content: Any) -> dict[str, Tensor] | None:
    if not isinstance(content, list | tuple) or len(content) != 2:
        return None
    images, labels = content
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        return None
    return {"images": images, "labels": labels}


def _named(content: Mapping[Any, Any], path: Path) -> tuple[dict[str, Any], list[Finding]]:
    """The arrays of a dict, of nested ones too, by their last names.

    Raises:
        ArtefactError: two of them are called images, say: those of a train and of a test set.
    """
    experiments = content.get("data")
    if isinstance(experiments, list | tuple) and experiments:
        pair = _pair(experiments) or _pair(experiments[0])
        if pair:
            more = len(experiments) if _pair(experiments) is None else 1
            note = Finding(
                about="file", taken_as="experiment 1", because=f"it holds the sets of {more}"
            )
            return dict(pair), [note] if more > 1 else []
    arrays: dict[str, Any] = {}
    for name, value in _tensors(content):
        if name in arrays and name in (*IMAGE_NAMES, *SOFT_NAMES, *LABEL_NAMES):
            raise ArtefactError(
                f"{path}: several tensors in it are called {name!r}, and which is meant is open; "
                "save the ones of the set alone: torch.save((images, labels), …)"
            )
        arrays[name] = value
    return arrays, []


def _tensors(content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        name = str(key).removeprefix("module.")
        if isinstance(value, Mapping):
            yield from _tensors(value)
        elif isinstance(value, Tensor | np.ndarray):
            yield _RA_BPTT.get(name, name), value


def _labels_beside(path: Path) -> Tensor:
    """MTT saves `labels_X.pt` beside `images_X.pt`, and beside `images_zca_X.pt`."""
    match = _IMAGES_FILE.match(path.stem)
    beside = path.with_name(f"labels{match[1] or ''}{path.suffix}") if match else None
    if beside is None or not beside.is_file():
        wanted = "" if beside is None else f" (looked for {beside})"
        raise ArtefactError(
            f"{path} holds one tensor, and no labels are beside it{wanted}\n"
            "save both: torch.save((images, labels), …), or images_NAME.pt and labels_NAME.pt"
        )
    labels = load_tensors(beside)
    if not isinstance(labels, Tensor):
        raise ArtefactError(f"{beside}: expected a tensor, found {type(labels).__name__}")
    return labels


def _array(value: Any) -> Array:
    if not isinstance(value, Tensor):
        return np.asarray(value)
    tensor = value.detach()
    if tensor.layout != torch.strided or tensor.is_quantized:
        tensor = tensor.to_dense() if not tensor.is_quantized else tensor.dequantize()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.numpy()
