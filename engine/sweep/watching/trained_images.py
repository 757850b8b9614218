"""A sweep's progress: the images that its students were trained on, of all that they will be."""

from __future__ import annotations

from collections.abc import Iterable

from engine.sweep.executors.recording import Event
from engine.sweep.planning.trial import Trial
from engine.training.progress import Progress

STAGE = "train students"


class TrainedImages:
    """Events of a sweep to progress, in images.

    A worker may be at its next trial before the last one's record is durable, so what was seen is
    kept by trial, and counts until the trial's end takes its place or its worker is lost.
    """

    def __init__(self, trials: Iterable[Trial], progress: Progress) -> None:
        self._images = {trial.id: trial.training_images for trial in trials}
        self._total = sum(self._images.values())
        self._done = 0
        self._at: dict[int, str] = {}
        self._seen: dict[str, int] = {}
        self._progress = progress

    def __call__(self, event: Event) -> None:
        """Take one event into account."""
        kind = event["event"]
        if kind == "trial_started":
            self._at[event["worker"]] = event["id"]
        elif kind == "trial_progress":
            if trial := self._at.get(event["worker"]):  # no news of a worker that was lost
                self._seen[trial] = event["seen"]
        elif kind == "trial_finished":
            self._done += self._images[event["id"]]
            self._seen.pop(event["id"], None)
        elif kind == "worker_died":
            self._seen.pop(self._at.pop(event["worker"], ""), None)
        else:
            return
        self._progress(STAGE, min(self._total, self._done + sum(self._seen.values())), self._total)
