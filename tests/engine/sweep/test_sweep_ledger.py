"""The ledger reads records quickly, and still none that isn't what was written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_records import trial_record

from engine.errors import ArtefactError, DamageError, MismatchError, UsageError
from engine.records import read_record, write_record
from engine.sweep.ledger import HEAD, Ledger, verify_sweep

BEGUN = {"kind": "sweep", "dataset": {"id": "d0", "name": "tiny"}, "experts": []}


def written(ledger: Ledger, *records: dict) -> list[str]:
    for record in records:
        ledger.write(record)
    return [record["id"] for record in records]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    record = trial_record(seed=3)
    written(ledger, record)
    assert ledger.read(record["id"]) == record == read_record(ledger.trial_path(record["id"]))


@given(place=st.integers(0, 10**6), other=st.integers(1, 255))
def test_a_flipped_byte_is_found_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, other: int
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    record = trial_record()
    written(ledger, record)
    file = ledger.trial_path(record["id"])
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= other
    file.write_bytes(data)
    try:
        assert ledger.read(record["id"]) == record
    except DamageError:
        assert not ledger.is_done(record["id"])
    else:
        assert ledger.is_done(record["id"])


def test_a_record_under_the_id_of_another_is_damage(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    (first,) = written(ledger, trial_record(seed=0))
    other = trial_record(seed=1)["id"]
    write_record(ledger.trial_path(other), ledger.read(first))
    with pytest.raises(DamageError, match=f"no trial {other}"):
        ledger.read(other)
    assert not ledger.is_done(other)


def test_a_record_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"0123\.json can't be read: No such file"):
        Ledger(tmp_path).read("0123")


def test_whole_records_come_in_the_order_asked_for_less_missing_and_damaged_ones(
    tmp_path: Path,
) -> None:
    ledger = Ledger(tmp_path)
    done, failed, damaged = written(
        ledger, trial_record(seed=0), trial_record(seed=1, error="x"), trial_record(seed=2)
    )
    ledger.trial_path(damaged).write_bytes(b"{}")
    asked = [failed, damaged, "ffffffffffffffff", done]
    assert [record["id"] for record in ledger.whole_records(asked)] == [failed, done]
    assert [ledger.is_done(trial) for trial in asked] == [False, False, False, True]


def test_a_record_that_may_not_be_read_is_no_trial_to_run_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    (trial,) = written(ledger, trial_record())
    ledger.trial_path(trial).unlink()
    ledger.trial_path(trial).mkdir()
    with pytest.raises(ArtefactError, match="can't be read"):
        ledger.is_done(trial)


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("lose", [flip_a_byte, empty, Path.unlink])
def test_a_lost_head_is_written_anew_beside_the_trials_it_had(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin(BEGUN)
    (trial,) = written(ledger, trial_record())
    lose(tmp_path / HEAD)
    assert not verify_sweep(tmp_path)["ok"]
    with pytest.raises(ArtefactError, match=f"engine sweep-students .*--out {tmp_path}"):
        ledger.head()
    ledger.begin(BEGUN)
    assert ledger.head() == BEGUN
    assert ledger.is_done(trial)
    assert verify_sweep(tmp_path)["ok"]


@pytest.mark.parametrize("lose", [flip_a_byte, empty, Path.unlink])
def test_trials_refuse_another_dataset_where_the_head_is_lost(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.begin(BEGUN)
    written(ledger, trial_record())
    lose(tmp_path / HEAD)
    with pytest.raises(MismatchError, match=r"trials on dataset d0 .*, not on d1"):
        ledger.begin(BEGUN | {"dataset": {"id": "d1", "name": "other"}})


def test_damaged_trials_alone_are_no_sweep(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    (trial,) = written(ledger, trial_record())
    flip_a_byte(ledger.trial_path(trial))
    with pytest.raises(UsageError, match=r"found other files \(trials\)"):
        ledger.begin(BEGUN)


def test_trials_say_which_precision_was_chosen_once_where_the_head_is_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    written(ledger, trial_record(seed=0), trial_record(seed=1, student={"precision": "auto"}))
    assert ledger.remembered()["auto_precision"] == "fp32"
