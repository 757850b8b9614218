"""One student to train: its place in the grid, what identifies it, and how much work it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from engine.experiments import LabelTransform, Selection
from engine.records import content_id
from engine.sweep.planning.teachers import Teacher
from engine.training import Seeds, StudentRecipe

PROTOCOL_VERSION = 1

FORWARD_SHARE = 1 / 3
"""Work of evaluating an image over that of training on one, which also goes backward (twice as
much work as forward) and is augmented."""


class Shape(NamedTuple):
    """What a compiled step depends on: trials of one shape share everything but weights.

    ``batch_sizes``: those of an epoch, the full one and a partial last one.
    """

    model: str
    resolution: int
    channels: int
    num_classes: int
    batch_sizes: tuple[int, ...]


class SubsetKey(NamedTuple):
    """What a resident training subset depends on, within one dataset.

    ``subset_seed``: 0 where it has no influence. ``scored_by``: ids of the views, the codec and the
    checkpoints of an expert that had a say in it.
    """

    resolution: int
    selection: str
    ipc: int
    subset_seed: int
    scored_by: tuple[str, ...] = ()


class DatasetFacts(NamedTuple):
    """What a trial needs to know of its dataset. ``mean``, ``std``: by channel.

    ``whitening``: id of what normalised images are whitened with, if they are. ``superclass_of``:
    the superclass of every class, where the dataset has any.
    """

    id: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    num_classes: int
    evaluation_images: int
    whitening: str | None = None
    superclass_of: tuple[int, ...] | None = None

    @property
    def normalisation(self) -> dict[str, Any]:
        """How pixels are normalised, for a trial's record."""
        whitened = {} if self.whitening is None else {"whitening": self.whitening}
        return {"mean": list(self.mean), "std": list(self.std), **whitened}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One student to train. It pickles, and knows no path.

    ``labels``: the whole composition from the expert's logits to targets; ``teacher`` is None where
    it needs no expert. ``scorer``: whose scores the images are chosen by, if the selection asks for
    any. ``student``: resolved, with lengths and resolution filled in.
    """

    dataset: DatasetFacts
    ipc: int
    selection: Selection
    labels: LabelTransform
    teacher: Teacher | None
    seeds: Seeds
    student: StudentRecipe
    store: str | None = None
    scorer: Teacher | None = None

    @cached_property
    def id(self) -> str:
        """16 hex digits; equal for equal results.

        Made of what the labels are, not of where they lie or what their expert is called.
        """
        teacher, scorer = self.teacher, self.scorer
        return content_id(
            {
                "protocol": PROTOCOL_VERSION,
                "dataset": self.dataset.id,
                "normalisation": list(self.dataset.normalisation.values()),
                "ipc": self.ipc,
                "selection": str(self.selection),
                "labels": str(self.labels),
                "views": teacher and teacher.view_ids,
                "codec": teacher and teacher.codec,
                "checkpoints": teacher and teacher.checkpoints,
                "seeds": vars(self.seeds),
                "student": self.student.model_dump(mode="json"),
                **({} if scorer is None else {"scorer": scorer.parents()}),
                **self._superclasses,
            }
        )

    @property
    def _superclasses(self) -> dict[str, str]:
        """The hierarchy that labels were made with, which a dataset's id leaves open."""
        if not self.labels.needs_superclasses:
            return {}
        return {"superclasses": content_id(list(self.dataset.superclass_of or ()))}

    @property
    def num_images(self) -> int:
        """Images of the training subset."""
        return self.ipc * self.selection.num_classes(self.dataset.num_classes)

    @cached_property
    def shape(self) -> Shape:
        """Key of the compiled step, to keep trials of one shape together."""
        full = min(self.student.batch_size, self.num_images)
        partial = self.num_images % full
        return Shape(
            model=self.student.model,
            resolution=self.student.resolution or 0,
            channels=self.dataset.channels,
            num_classes=self.dataset.num_classes,
            batch_sizes=(full, partial) if partial else (full,),
        )

    @property
    def subset(self) -> SubsetKey:
        """Key of the images to train on, to keep trials of one subset together."""
        scorer = self.scorer
        return SubsetKey(
            resolution=self.student.resolution or 0,
            selection=str(self.selection),
            ipc=self.ipc,
            subset_seed=self.seeds.subset_seed if self.selection.seeded else 0,
            scored_by=(*scorer.view_ids, scorer.codec, *scorer.checkpoints) if scorer else (),
        )

    @property
    def training_images(self) -> int:
        """Images to train on, over all epochs."""
        return self.num_images * self.student.epochs

    @property
    def evaluation_images(self) -> int:
        """Images to evaluate on, over all evaluations."""
        return self.dataset.evaluation_images * len(self.student.evaluation_epochs())

    @property
    def work(self) -> float:
        """How much there is to do, in images to train on. Compares trials of one model and size."""
        return self.training_images + FORWARD_SHARE * self.evaluation_images

    @property
    def cell(self) -> dict[str, Any]:
        """Its place in the grid, without seeds and student: what reports make axes of.

        An ensemble has its last epoch as ``expert_epoch`` and all of several in ``ensemble``, which
        is there for nothing else; ``expert`` joins the names of several with a plus.
        ``transform`` is what happens to labels after the temperature; null for plain hard labels.
        ``selection`` is as it was asked for: `difficulty:3` is scored by ``expert_epoch``.
        """
        cell: dict[str, Any] = {
            "ipc": self.ipc,
            "selection": str(self.selection),
            "labels": "hard" if self.teacher is None else "soft",
            "expert": None,
            "expert_epoch": None,
            "view": None,
            "temperature": None,
            "transform": str(self.labels),
        }
        if self.teacher is None:
            return cell | {"transform": None} if str(self.labels) == "hard" else cell
        epochs = self.teacher.epochs
        several = {"ensemble": "+".join(map(str, epochs))} if len(epochs) > 1 else {}
        return (
            cell
            | several
            | {
                "expert": "+".join(self.teacher.experts),
                "expert_epoch": epochs[-1],
                "view": self.teacher.view,
                "temperature": self.labels.temperature,
                "transform": str(self.labels.after_softmax),
            }
        )

    @property
    def parents(self) -> dict[str, Any]:
        """Ids of what it was made from; ``scorer``, ``superclasses`` only where it has any."""
        images: dict[str, Any] = {
            "dataset": self.dataset.id,
            "normalisation": self.dataset.normalisation,
            **self._superclasses,
        }
        if self.scorer is not None:
            images["scorer"] = self.scorer.parents()
        if self.teacher is None:
            return {**images, "store": self.store, "view": None, "checkpoints": []}
        return {**images, "store": self.store, **self.teacher.parents()}

    def identity(self) -> dict[str, Any]:
        """The part of the trial's record that is known before it runs."""
        return {
            "kind": "trial",
            "id": self.id,
            "protocol": PROTOCOL_VERSION,
            "cell": self.cell,
            "seeds": asdict(self.seeds),
            "student": self.student.model_dump(mode="json"),
            "parents": self.parents,
            "teacher": None if self.teacher is None else self.teacher.describe(),
            **({} if self.scorer is None else {"scorer": self.scorer.describe()}),
        }

    def record_bytes(self) -> int:
        """About how many bytes its record will have on disk."""
        evaluation = {"epoch": self.student.epochs, "test": 1 / 3, "validation": 1 / 3}
        outcome = {
            "evaluations": [evaluation] * len(self.student.evaluation_epochs()),
            "test_per_class": [0.25] * self.dataset.num_classes,
        }
        return len(json.dumps({**self.identity(), **outcome}, indent=1)) + 1000
