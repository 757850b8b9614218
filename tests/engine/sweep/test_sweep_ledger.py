"""The ledger reads records quickly, and still none that isn't what was written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_records import trial_record

from engine.errors import ArtefactError, DamageError
from engine.records import read_record, write_record
from engine.sweep.ledger import Ledger


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
