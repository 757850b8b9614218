"""The ledger of a sweep: one file per finished trial, which is the only truth about it.

    SWEEP/sweep.json              the plan asked for last, the dataset, the experts
    SWEEP/trials/3f/3fa9….json    one record a trial: done or failed

A finished trial is never run again; a failed one is. The head is derived: where it is missing or
damaged, the next run of the sweep writes it anew.

A restart asks for every record, so each is proved by its content alone: comparing its layout too,
as `verify_sweep` does, took twice as long (0.27 against 0.13 ms of a core a record of 3 kB).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.destination import check_destination
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.records import CHECKSUM, canonical_json, read_record, write_record
from engine.sweep.planning.epochs import BEST_ON_TEST

HEAD = "sweep.json"
TRIALS = "trials/*/*.json"
CHOSE_ON_TEST = "chose_epochs_on_test"
"""Of a head: some run of the sweep did, so the accuracies of its trials there are optimistic."""


class Ledger:
    """The files of one sweep."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._trials = os.fspath(self.path / "trials")

    def trial_path(self, trial_id: str) -> Path:
        """Where a trial's record lies."""
        return Path(self._file(trial_id))

    def _file(self, trial_id: str) -> str:
        return f"{self._trials}/{trial_id[:2]}/{trial_id}.json"

    def exists(self) -> bool:
        """Whether a sweep lies here."""
        return (self.path / HEAD).exists()

    def head(self) -> dict[str, Any]:
        """The plan, dataset and experts of the sweep.

        Raises:
            ArtefactError: no sweep lies here.
            DamageError: its file is damaged.
        """
        again = f"`engine sweep-students --data DATA --labels STORE --out {self.path}`"
        if not self.exists():
            raise ArtefactError(f"{self.path} is no sweep (no {HEAD}): run {again} first")
        try:
            head = read_record(self.path / HEAD)
        except DamageError as error:
            raise DamageError(
                f"{self.path / HEAD} is damaged: its content does not match its checksum. The "
                f"trials beside it are kept: run the sweep again ({again}, with the options it "
                "had), which writes the file anew and repeats no finished trial"
            ) from error
        if head.get("kind") != "sweep":
            raise ArtefactError(f"{self.path / HEAD} holds a {head.get('kind')}, expected a sweep")
        return head

    def remembered(self) -> dict[str, Any]:
        """The head of the run before; where that is missing or damaged, what the trials say of it.

        Empty where no sweep lies here. From trials come the dataset's id and ``auto_precision``.
        """
        if self.exists():
            with contextlib.suppress(DamageError):
                return self.head()
        return _head_of(self.whole_records(path.stem for path in self._files()))

    def begin(self, head: dict[str, Any]) -> None:
        """Write the plan of this run of the sweep.

        Experts of earlier runs are kept, and that one of them chose expert epochs on test images.

        Raises:
            MismatchError: the folder holds trials on another dataset.
            UsageError: something that is no sweep lies there.
        """
        self.check(head["dataset"])
        before = self.remembered()
        known = {expert["run_id"]: expert for expert in before.get("experts", ())}
        known |= {expert["run_id"]: expert for expert in head["experts"]}
        kept: dict[str, Any] = {"experts": list(known.values())}
        if chose_epochs_on_test(before) or chose_epochs_on_test(head):
            kept[CHOSE_ON_TEST] = True
        write_record(self.path / HEAD, {**head, **kept})

    def check(self, dataset: Mapping[str, Any]) -> None:
        """Raise as :meth:`begin` does, without writing; ``dataset`` has its id and name."""
        check_destination(self.path, "sweep", records=TRIALS, derived=True)
        old = self.remembered().get("dataset", dataset)
        if old["id"] != dataset["id"]:
            raise MismatchError(
                f"{self.path} holds trials on dataset {old['id']} ({old['name']}), not on "
                f"{dataset['id']} ({dataset['name']}); choose another --out"
            )

    def is_done(self, trial_id: str) -> bool:
        """Whether a trial finished well; a damaged or failed record counts as not."""
        return any(record.get("status") == "done" for record in self.whole_records([trial_id]))

    def read(self, trial_id: str) -> dict[str, Any]:
        """A trial's record; blind to damage that leaves its content as it was, like a blank.

        Raises:
            ArtefactError: there is none.
            DamageError: it is no trial of that id whose content matches its checksum.
        """
        path = self._file(trial_id)
        try:
            with open(path, "rb") as file:  # noqa: PTH123 (a Path costs as much as the reading)
                data = file.read()
        except OSError as error:
            raise ArtefactError(f"{path} can't be read: {error.strerror}") from error
        try:
            record: dict[str, Any] = json.loads(data)
            checksum = record.pop(CHECKSUM)
            whole = hashlib.sha256(canonical_json(record)).hexdigest() == checksum
            whole = whole and (record["kind"], record["id"]) == ("trial", trial_id)
        except (ValueError, AttributeError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DamageError(
                f"{path} is damaged: it is no trial {trial_id} whose content matches its "
                "checksum; running the sweep again makes it anew"
            )
        return record

    def whole_records(self, trial_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The records of these trials, in their order, less those that are missing or damaged."""
        for trial_id in trial_ids:
            if not os.path.exists(self._file(trial_id)):  # noqa: PTH110
                continue
            try:
                yield self.read(trial_id)
            except DamageError:
                continue

    def write(self, record: dict[str, Any]) -> None:
        """Make a trial's outcome durable."""
        write_record(self.trial_path(record["id"]), record)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every trial's record, by id. Raises as :meth:`read` does."""
        for path in self._files():
            yield self.read(path.stem)

    def _files(self) -> list[Path]:
        return sorted(self.path.glob(TRIALS))


def chose_epochs_on_test(head: Mapping[str, Any]) -> bool:
    """Whether the plan of a head, or of a run before it, chose expert epochs on test images."""
    return bool(head.get(CHOSE_ON_TEST)) or f'"{BEST_ON_TEST}"' in json.dumps(head.get("plan"))


def _head_of(records: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What whole trials say of the head that they lost."""
    head: dict[str, Any] = {}
    for record in records:
        name = "its name is lost"
        head.setdefault("dataset", {"id": record["parents"]["dataset"], "name": name})
        if record["student"].get("precision") == "auto" and record["status"] == "done":
            return head | {"auto_precision": record["environment"]["precision"]}
    return head


def sweep_info(path: str | Path) -> dict[str, Any]:
    """What a sweep asked for and what is there."""
    ledger = Ledger(path)
    head = ledger.head()
    statuses = [record["status"] for record in ledger.records()]
    return {
        "kind": "sweep",
        "path": str(path),
        "dataset": head["dataset"]["name"],
        "plan": head["plan"],
        "trials_done": statuses.count("done"),
        "trials_failed": statuses.count("failed"),
    }


def verify_sweep(path: str | Path, *, progress: Any = None) -> dict[str, Any]:
    """Check every record of a sweep; returns ``{"ok", "checked", "problems"}``."""
    ledger = Ledger(path)
    problems = []
    files = [ledger.path / HEAD, *ledger._files()]
    for number, file in enumerate(files):
        try:
            record = read_record(file) if number else ledger.head()
            if number and record.get("id") != file.stem:
                problems.append(f"{file} holds trial {record.get('id')}; delete it")
        except ArtefactError as error:
            problems.append(str(error))
        if progress:
            progress("verify", number + 1, len(files))
    return {
        "kind": "sweep",
        "path": str(path),
        "ok": not problems,
        "checked": len(files),
        "problems": problems,
    }
