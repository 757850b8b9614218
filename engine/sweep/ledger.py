"""The ledger of a sweep: one file per finished trial, which is the only truth about it.

    SWEEP/sweep.json              the plan asked for last, the dataset, the experts
    SWEEP/trials/3f/3fa9….json    one record a trial: done or failed

A finished trial is never run again; a failed one is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import ArtefactError, DamageError, MismatchError, UsageError
from engine.records import is_unclaimed, read_record, write_record

HEAD = "sweep.json"


class Ledger:
    """The files of one sweep."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def trial_path(self, trial_id: str) -> Path:
        """Where a trial's record lies."""
        return self.path / "trials" / trial_id[:2] / f"{trial_id}.json"

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
        if self.exists():
            old = self.head()["dataset"]
            if old["id"] != dataset["id"]:
                raise MismatchError(
                    f"{self.path} holds trials on dataset {old['id']} ({old['name']}), not on "
                    f"{dataset['id']} ({dataset['name']}); choose another --out"
                )
        elif not is_unclaimed(self.path):
            raise UsageError(f"{self.path} exists and is no sweep; choose another --out")

    def is_done(self, trial_id: str) -> bool:
        """Whether a trial finished well; a damaged or failed record counts as not."""
        path = self.trial_path(trial_id)
        if not path.exists():
            return False
        try:
            return read_record(path).get("status") == "done"
        except DamageError:
            return False

    def write(self, record: dict[str, Any]) -> None:
        """Make a trial's outcome durable."""
        write_record(self.trial_path(record["id"]), record)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every trial's record, by id."""
        for path in sorted(self.path.glob("trials/*/*.json")):
            yield read_record(path)


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
