"""The ledger of a sweep: one file per finished trial, which is the only truth about it.

    SWEEP/sweep.json              the plan asked for last, the dataset, the experts
    SWEEP/trials/3f/3fa9….json    one record a trial: done or failed

A finished trial is never run again; a failed one is.

A restart asks for every record, so each is proved by its content alone: comparing its layout too,
as `verify_sweep` does, took twice as long (0.27 against 0.13 ms of a core a record of 3 kB).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.destination import check_destination
from engine.errors import ArtefactError, DamageError, MismatchError
from engine.records import CHECKSUM, canonical_json, read_record, write_record

HEAD = "sweep.json"


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
        """
        if not self.exists():
            raise ArtefactError(
                f"{self.path} is no sweep (no {HEAD}): run "
                f"`engine sweep-students --data DATA --labels STORE --out {self.path}` first"
            )
        head = read_record(self.path / HEAD)
        if head.get("kind") != "sweep":
            raise ArtefactError(f"{self.path / HEAD} holds a {head.get('kind')}, expected a sweep")
        return head

    def begin(self, head: dict[str, Any]) -> None:
        """Write the plan of this run of the sweep; experts of earlier runs are kept.

        Raises:
            MismatchError: the folder holds trials on another dataset.
            UsageError: something that is no sweep lies there.
        """
        self.check(head["dataset"])
        if self.exists():
            known = {expert["run_id"]: expert for expert in self.head()["experts"]}
            known |= {expert["run_id"]: expert for expert in head["experts"]}
            head = {**head, "experts": list(known.values())}
        write_record(self.path / HEAD, head)

    def check(self, dataset: Mapping[str, Any]) -> None:
        """Raise as :meth:`begin` does, without writing; ``dataset`` has its id and name."""
        check_destination(self.path, "sweep", records="trials/*/*.json")
        if self.exists():
            old = self.head()["dataset"]
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
        for path in sorted(self.path.glob("trials/*/*.json")):
            yield self.read(path.stem)


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
    files = [ledger.path / HEAD, *sorted(ledger.path.glob("trials/*/*.json"))]
    for number, file in enumerate(files):
        try:
            record = read_record(file)
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
