"""Results in one flat table that follows the records, asked in SQL that reaches nothing else."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_records import trial_record, write_sweep

import engine
from engine.errors import ArtefactError, UsageError
from engine.records import CHECKSUM, canonical_json, read_record
from engine.sweep.answers.trial_table import FILE, read_trial_table
from engine.sweep.ledger import Ledger

GRID = [
    trial_record(ipc, epoch, seed, final=round(0.1 * ipc + 0.01 * seed, 4))
    for ipc in (1, 5)
    for epoch in (3, 7, None)
    for seed in (0, 1, 2)
]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "sweep", GRID)


def rows_by_id(sweep: Path, sql: str = "select * exclude (recorded_at) from trials") -> dict:
    return {row["id"]: row for row in engine.query_results(sweep, sql)["table"]}


def test_times_of_the_file_are_what_python_can_tell(sweep: Path) -> None:
    read_trial_table(sweep)
    table = pyarrow.parquet.read_table(sweep / FILE)
    assert str(table.schema.field("recorded_at").type) == "timestamp[us]"
    written = {f.stem: f.stat().st_mtime_ns // 1000 for f in sweep.glob("trials/*/*.json")}
    epoch, tick = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    told = {r["id"]: r["recorded_at"].replace(tzinfo=UTC) for r in table.to_pylist()}
    assert {trial: (at - epoch) // tick for trial, at in told.items()} == written


def test_every_key_of_a_record_is_a_column_whatever_its_name(tmp_path: Path) -> None:
    record = trial_record(5, 3, 1, transform="smooth:0.1", depth=2, blend=[1, 2], deep={"a": 0.5})
    record |= {"attempts": 2, "worker": {"host": "n1"}}
    (row,) = rows_by_id(write_sweep(tmp_path / "s", [record])).values()
    expected = {
        "id": record["id"],
        "status": "done",
        "ipc": 5,
        "labels": "soft",
        "expert": "e0",
        "expert_epoch": 3,
        "transform": "smooth:0.1",
        "depth": 2,
        "blend": "[1, 2]",
        "deep_a": 0.5,
        "subset_seed": 1,
        "final_test": 0.5,
        "final_validation": 0.25,
        "selected_epoch": 2,
        "max_on_test": 0.5,
        "max_on_test_epoch": 4,
        "train_loss": 1.5,
        "student_lr": 0.01,
        "student_optimiser_kind": "sgd",
        "seconds_steps": 2.0,
        "images_per_second": 100.0,
        "environment_threads": 1,
        "parent_dataset": "d0",
        "parent_checkpoints": '["c3"]',
        "record_attempts": 2,
        "record_worker_host": "n1",
        "error": None,
    }
    assert {name: row[name] for name in expected} == expected
    assert {name: type(row[name]) for name in expected} == {n: type(v) for n, v in expected.items()}


def test_one_name_in_two_parts_of_a_record_is_two_columns(tmp_path: Path) -> None:
    record = trial_record(error="E: x", init_seed="of the cell") | {"attempts": 1}
    record["cell"]["error"] = "of the cell too"
    (row,) = rows_by_id(write_sweep(tmp_path / "s", [record])).values()
    assert (row["error"], row["cell_error"]) == ("E: x", "of the cell too")
    assert {row["init_seed"], row.get("seeds_init_seed")} == {"of the cell", 0}


def test_the_file_is_what_was_asked(sweep: Path) -> None:
    rows = rows_by_id(sweep)
    stored = pyarrow.parquet.read_table(sweep / FILE)
    assert {r["id"]: r["final_test"] for r in rows.values()} == dict(
        zip(stored["id"].to_pylist(), stored["final_test"].to_pylist(), strict=True)
    )
    check = subprocess.run(
        ["sha256sum", "--check", f"{FILE}.sha256"], cwd=sweep, capture_output=True, check=False
    )
    assert check.returncode == 0, check.stderr


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-2, 2), st.sampled_from(["a", "1"])
)


@settings(max_examples=40)
@given(
    values=st.lists(st.tuples(PLAIN, st.booleans()), min_size=1, max_size=7),
    cuts=st.sets(st.integers(0, 7), max_size=3),
)
def test_reading_as_records_arrive_equals_reading_them_all_at_the_end(
    tmp_path_factory: pytest.TempPathFactory, values: list, cuts: set
) -> None:
    folder = write_sweep(tmp_path_factory.mktemp("grows"))
    for number, (value, failed) in enumerate(values):
        axes = {} if value is None else {"axis": value}
        error = "E: failed" if failed else None
        write_sweep(folder, [trial_record(1, 3, number, error=error, **axes)])
        if number in cuts:
            read_trial_table(folder)
    grown = read_trial_table(folder)
    (folder / FILE).unlink(missing_ok=True)
    assert grown.equals(read_trial_table(folder))
    assert grown.column_names == read_trial_table(folder).column_names


def test_a_trial_that_ran_again_and_one_that_went_are_noticed(sweep: Path) -> None:
    failed = trial_record(10, 3, error="E: out of memory")
    write_sweep(sweep, [failed])
    assert rows_by_id(sweep)[failed["id"]]["status"] == "failed"
    write_sweep(sweep, [trial_record(10, 3, final=0.25)])
    assert rows_by_id(sweep)[failed["id"]]["final_test"] == 0.25
    Ledger(sweep).trial_path(failed["id"]).unlink()
    assert failed["id"] not in rows_by_id(sweep)


def test_where_records_only_came_the_others_are_not_read_again(sweep: Path) -> None:
    before = rows_by_id(sweep)
    for record in GRID:  # spoilt behind the table's back: same size, same time
        path = Ledger(sweep).trial_path(record["id"])
        about = path.stat()
        path.write_bytes(b"x" * about.st_size)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    new = trial_record(10, 3)
    write_sweep(sweep, [new])
    after = rows_by_id(sweep)
    assert after.pop(new["id"])["status"] == "done"
    assert after == before


def test_a_damaged_record_is_told_and_left_out_of_the_means(sweep: Path) -> None:
    path = Ledger(sweep).trial_path(GRID[0]["id"])
    path.write_bytes(path.read_bytes().replace(b'"test": 0.1', b'"test": 0.9'))
    answer = engine.query_results(sweep)
    assert answer["ok"] is False
    assert str(path) in answer["problems"][0]
    assert answer["trials_done"] == len(GRID) - 1
    assert answer["table"][0]["n"] == 3
    assert max(row["final_test"] for row in answer["table"] if row["ipc"] == 1) < 0.2


def test_no_flipped_byte_of_the_file_changes_an_answer(sweep: Path) -> None:
    right = rows_by_id(sweep)
    data = (sweep / FILE).read_bytes()
    generator = random.Random(0)
    for position in [0, len(data) - 1, *generator.sample(range(len(data)), 60)]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << generator.randrange(8)
        (sweep / FILE).write_bytes(bytes(flipped))
        assert rows_by_id(sweep) == right
        assert (sweep / FILE).read_bytes() == data


def test_a_file_that_can_not_be_written_costs_no_answer(sweep: Path) -> None:
    (sweep / FILE).mkdir()
    assert engine.query_results(sweep)["trials"] == len(GRID)


def test_kill_9_while_the_file_is_written_costs_nothing(sweep: Path) -> None:
    code = (
        "import sys, pathlib; from engine.sweep.answers.trial_table import FILE, read_trial_table\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    read_trial_table(sys.argv[1]); pathlib.Path(sys.argv[1], FILE).unlink()"
    )
    right = {record["id"] for record in GRID}
    for number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(sweep)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.013 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert set(rows_by_id(sweep)) == right
        assert engine.verify_sweep(sweep)["ok"]


def test_without_a_question_the_answer_is_each_cells_mean(sweep: Path) -> None:
    answer = engine.query_results(sweep)
    assert (answer["trials"], answer["trials_done"], answer["trials_failed"]) == (18, 18, 0)
    assert len(answer["table"]) == 6
    for row in answer["table"]:
        assert set(row) == {
            "ipc", "labels", "expert_epoch", "n", "final_test", "selected_test", "max_on_test",
        }  # fmt: skip
        finals = [0.1 * row["ipc"] + 0.01 * seed for seed in (0, 1, 2)]
        assert row["n"] == 3
        assert row["final_test"] == pytest.approx(np.mean(finals))
        assert row["selected_test"] == pytest.approx(np.mean(finals) / 4)


@pytest.mark.parametrize(
    "other",
    [
        trial_record(1, 3, 5, student={"lr": 0.1}),
        trial_record(1, 3, 5, transform="hard"),
        trial_record(1, 3, 5) | {"protocol": 2},
        trial_record(1, 3, 5) | {"parents": {"dataset": "d0", "checkpoints": ["another"]}},
    ],
)
def test_trials_that_differ_in_anything_but_seeds_are_not_averaged(
    sweep: Path, other: dict
) -> None:
    write_sweep(sweep, [other])
    table = engine.query_results(sweep)["table"]
    cells = [row for row in table if row["ipc"] == 1 and row["expert_epoch"] == 3]
    assert sorted(row["n"] for row in cells) == [1, 3]
    assert len({tuple(v for k, v in row.items() if k in cells[0]) for row in cells}) == 2


def test_failed_trials_are_told_by_their_error(sweep: Path) -> None:
    failed = [trial_record(10, 3, n, error=f"Traceback\n …\nDiverged: {n // 2}") for n in range(3)]
    write_sweep(sweep, failed)
    answer = engine.query_results(sweep)
    assert answer["trials_failed"] == 3
    found = {row["error"]: set(row["failed_trials"]) for row in answer["failures"]}
    assert found == {
        "Diverged: 0": {failed[0]["id"], failed[1]["id"]},
        "Diverged: 1": {failed[2]["id"]},
    }


def test_a_sweep_without_a_trial_has_its_columns_and_no_rows(tmp_path: Path) -> None:
    empty = write_sweep(tmp_path / "sweep")
    assert engine.query_results(empty)["trials"] == 0
    count = engine.query_results(empty, "select count(final_test) as n from trials where ipc = 1")
    assert count["table"] == [{"n": 0}]


def test_a_question_is_sql_over_the_trials_chosen(sweep: Path) -> None:
    sql = "select ipc, count(*) as n, avg(final_test) as mean from trials group by all order by 1"
    assert [row["n"] for row in engine.query_results(sweep, sql)["table"]] == [9, 9]
    (row,) = engine.query_results(sweep, sql, where="ipc = 5 and labels = 'hard' -- those")["table"]
    assert row == {"ipc": 5, "n": 3, "mean": pytest.approx(0.51)}
    described = engine.query_results(sweep, "describe trials")["table"]
    assert {"ipc", "final_test", "student_lr"} <= {row["column_name"] for row in described}


@pytest.mark.parametrize("sql", ["select ipcs from trials", "selec ipc", "select 1; select 2", ""])
def test_a_question_that_fails_names_the_columns(sweep: Path, sql: str) -> None:
    with pytest.raises(UsageError) as caught:
        engine.query_results(sweep, sql)
    assert "one query" in str(caught.value) or "final_test, final_validation" in str(caught.value)


def test_a_condition_that_fails_names_the_columns(sweep: Path) -> None:
    with pytest.raises(UsageError, match="Columns of trials: id, status, ipc"):
        engine.query_results(sweep, where="ipcs = 1")


@pytest.mark.parametrize(
    "sql",
    [
        "copy trials to '{file}.new'",
        "copy trials to '{file}.new' (format parquet)",
        "select * from '{file}'",
        "select * from read_csv('{file}')",
        "select * from read_text('{file}')",
        "select * from read_blob('{file}')",
        "select * from read_json_auto('{file}')",
        "select * from read_parquet('{folder}/*.parquet')",
        "select * from glob('{folder}/*')",
        "attach '{folder}/new.db' as new",
        "export database '{folder}/new'",
        "import database '{folder}'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "reset enable_external_access",
        "set lock_configuration = false",
        "pragma enable_profiling='json'",
        "set profiling_output = '{folder}/new.json'",
        "set log_query_path = '{folder}/new.log'",
        "create persistent secret s (type s3)",
        "select * from os",
        "select * from everything",
    ],
)
def test_a_question_reaches_no_file_and_nothing_of_the_process(
    sweep: Path, tmp_path: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    (room / "secret.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(room)
    with pytest.raises(UsageError, match="can't be answered"):
        engine.query_results(sweep, sql.format(file=room / "secret.csv", folder=room))
    assert [file.name for file in room.iterdir()] == ["secret.csv"]


def test_a_condition_reaches_no_file_either(sweep: Path, tmp_path: Path) -> None:
    where = f"true); copy all_trials to '{tmp_path / 'new.csv'}'; select (1"
    with pytest.raises(UsageError):
        engine.query_results(sweep, where=where)
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_question_without_end_can_be_stopped(sweep: Path, number: int, code: int) -> None:
    endless = "select sum(a.range * b.range) from range(100000000) a, range(100000) b"
    program = (
        "import sys, cli.main, engine.sweep.answers.results as results\n"
        "read = results.read_trial_table\n"
        "def read_and_tell(sweep):\n"
        "    table = read(sweep)\n"
        "    print('asking', file=sys.stderr, flush=True)\n"
        "    return table\n"
        "results.read_trial_table = read_and_tell\n"
        "cli.main.run()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "results", str(sweep), "--sql", endless],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "asking\n"
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code


ODD = (
    "select ipc, sum(ipc) as total, avg(final_test) as mean, list(id order by id) as ids, "
    "max(recorded_at) as at, 'a,\"b' as said, 0 / 0 as nothing, 1.50::decimal(4, 2) as exact "
    "from trials group by ipc order by ipc"
)


def test_an_answer_is_exported_by_its_suffix(sweep: Path, tmp_path: Path) -> None:
    rows = engine.query_results(sweep, ODD)["table"]
    assert [(row["ipc"], row["total"], row["exact"]) for row in rows] == [(1, 9, 1.5), (5, 45, 1.5)]
    for suffix in ("csv", "json", "parquet"):
        answer = engine.query_results(sweep, ODD, out=tmp_path / f"a.{suffix}")
        assert (answer["rows"], answer["columns"]) == (2, 8)
    assert json.loads((tmp_path / "a.json").read_text()) == rows
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet")["ids"][1].as_py() == rows[1]["ids"]
    with (tmp_path / "a.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [json.loads(row["ids"]) for row in found] == [row["ids"] for row in rows]
    assert [float(row["mean"]) for row in found] == [row["mean"] for row in rows]
    assert found[0]["said"] == 'a,"b'


def test_without_a_question_the_trials_are_exported(sweep: Path, tmp_path: Path) -> None:
    engine.query_results(sweep, where="ipc = 5", out=tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())
    assert {row["id"] for row in rows} == {r["id"] for r in GRID if r["cell"]["ipc"] == 5}


def test_an_unknown_suffix_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.csv, \.parquet, \.json"):
        engine.query_results(tmp_path, out="results.xlsx")


def test_what_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is no sweep"):
        engine.query_results(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_ten_thousand_trials_are_read_in_seconds(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep", [trial_record(1, 3, 0)])
    template = Ledger(folder).trial_path(trial_record(1, 3, 0)["id"])
    record = read_record(template)
    curve = [{"epoch": 200 * n, "test": 0.1, "validation": 0.1} for n in range(15)]
    fill = {**record, "result": {**record["result"], "evaluations": curve}}
    for number in range(10_000):
        trial = {**fill, "id": hashlib.sha256(str(number).encode()).hexdigest()[:16]}
        trial[CHECKSUM] = hashlib.sha256(canonical_json(trial)).hexdigest()
        path = Ledger(folder).trial_path(trial["id"])
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(trial, indent=1, sort_keys=True) + "\n")
    started = time.process_time()  # not the clock's: what else the machine does is not meant
    assert read_trial_table(folder).num_rows == 10_001
    spent = time.process_time() - started
    assert spent < 3
