"""Labels without an expert: learned through students' training, or measured in the images alone.

:func:`learn_labels` optimises the labels of random real images by back-propagation through
truncated student training, :func:`compare_with_expert` says which expert epoch they resemble, and
:func:`derive_labels` makes labels from distances in pixels or in an untrained network. The path
through the room: ``recipe`` → ``learn`` → ``problem`` → ``unroll``; on disk it is ``folder``.

Names are resolved on first use, so that importing the room imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.experiments.learned_labels.derive import derive_labels
    from engine.experiments.learned_labels.folder import verify_learned
    from engine.experiments.learned_labels.learn import learn_labels
    from engine.experiments.learned_labels.reading import Learned, learned_info, read_learned
    from engine.experiments.learned_labels.recipe import LearnedRecipe
    from engine.experiments.learned_labels.resemblance import compare_with_expert

_HOMES = {
    "Learned": "reading",
    "LearnedRecipe": "recipe",
    "compare_with_expert": "resemblance",
    "derive_labels": "derive",
    "learn_labels": "learn",
    "learned_info": "reading",
    "read_learned": "reading",
    "verify_learned": "folder",
}

__all__ = [
    "Learned",
    "LearnedRecipe",
    "compare_with_expert",
    "derive_labels",
    "learn_labels",
    "learned_info",
    "read_learned",
    "verify_learned",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
