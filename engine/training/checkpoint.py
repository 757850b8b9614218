"""Checkpoints as safetensors: one file an epoch, identified by the hash of its bytes.

All metadata sit in one entry, because safetensors writes several in an arbitrary order and the
file's bytes are its identity.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from engine.errors import ArtefactError, DamageError
from engine.records import file_sha256, write_bytes

METADATA_ENTRY = "engine"


def save_checkpoint(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> str:
    """Write tensors and metadata atomically; returns the SHA-256 of the file.

    Raises:
        ArtefactError: the file can't be written.
    """
    # A copy of every tensor: state_dict hands out live parameters (docs/protocol.md §3, trap 4).
    still = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    entry = {METADATA_ENTRY: json.dumps(metadata, sort_keys=True)}
    write_bytes(path, safetensors.torch.save(still, metadata=entry))
    return file_sha256(path)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote: tensors by name, and the metadata.

    Raises:
        ArtefactError: there is no such file.
        DamageError: it is no whole safetensors file.
    """
    if not path.is_file():
        raise ArtefactError(
            f"no checkpoint at {path}: train that run anew, the same `engine train-expert` command "
            "with --force"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_ENTRY, "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError) as error:
        raise DamageError(
            f"{path} is no whole safetensors file ({error}): train that run anew, the same "
            "`engine train-expert` command with --force"
        ) from error


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, the live tensors."""
    return dict(model.state_dict())


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: ``<parameter's position>.<name>``."""
    return {
        f"{position}.{name}": torch.as_tensor(value)
        for position, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimiser_tensors` took out."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        position, name = key.split(".", 1)
        parameter = parameters[int(position)]
        if value.shape == parameter.shape:
            # The fused kernels walk memory, so the state must lie as its parameter does.
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(position), {})[name] = value
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
