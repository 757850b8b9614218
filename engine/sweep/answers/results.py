"""Questions about a sweep's results, in SQL, and their export.

DuckDB, because the question that a user has is SQL over one file: nothing new to learn, no server
and no index to keep. Every trial is a row of the table ``trials`` (columns: ``trial_table.py``).
"""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from engine.errors import UsageError
from engine.records import write_bytes
from engine.sweep.answers.trial_table import read_trial_table, section_of

SUFFIXES = (".csv", ".parquet", ".json")
MEASURES = ("final_test", "selected_test", "max_on_test")
DEFINING = ("cell", "student", "parents")
"""Sections of a record that, with the seeds, define a student."""
WITHOUT_TEST = ("final_validation", "selected_validation")

# The question sees the table and nothing else: no file, no network, no way to lift the ban.
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}


def query_results(
    sweep: str | Path,
    sql: str | None = None,
    *,
    where: str | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Ask a sweep's results a question; without one, the mean of every cell.

    Args:
        sweep: folder of the sweep; it may still be running.
        sql: one query over ``trials``, such as ``select ipc, avg(final_test) from trials group
            by all``; ``describe trials`` lists the columns.
        where: which trials ``trials`` holds, such as ``ipc = 10``; all by default.
        out: a file for the answer's rows, by its suffix .csv, .parquet or .json; without ``sql``,
            for the trials themselves, one row each.

    Returns:
        ``table``, a dict a row. Without ``sql``: a row a cell with the number ``n`` of finished
        trials and their mean accuracies, ``trials``, ``trials_done``, ``trials_failed``, and
        ``failures``, the failed trials by their error. With ``out``: the file and its size
        instead. Where records are damaged: ``ok`` false, and ``problems``.

    Raises:
        ArtefactError: no sweep lies there, or the file can't be written.
        UsageError: a query that fails (the columns are named), or a suffix that is none of ours.
    """
    suffix = None if out is None else _known_suffix(Path(out))
    everything = read_trial_table(sweep)
    defining = [n for n in everything.column_names if section_of(everything, n) in DEFINING]
    with _database(everything, where) as ask:
        if out is not None and suffix is not None:
            rows = ask(sql or "select * from trials")
            write_bytes(Path(out), _exported(rows, suffix))
            answer: dict[str, Any] = {
                "out": str(out),
                "rows": rows.num_rows,
                "columns": rows.num_columns,
            }
        elif sql is not None:
            answer = {"table": _as_dicts(ask(sql))}
        else:
            answer = {"sweep": str(sweep), **_overview(ask("select * from trials"), defining, ask)}
    damaged = [
        row["error"]
        for row in everything.select(["status", "error"]).to_pylist()
        if row["status"] == "damaged"
    ]
    return answer | ({"ok": False, "problems": damaged} if damaged else {})


@contextmanager
def _database(everything: pa.Table, where: str | None) -> Iterator[Any]:
    """A function from one SQL statement to its answer as a table; sees ``trials`` alone."""
    with (
        duckdb.connect(":memory:", config=_LOCKED) as connection,
        ThreadPoolExecutor(1, thread_name_prefix="query") as thread,
    ):
        connection.register("arrow", everything)
        connection.execute("create table all_trials as select * from arrow")
        connection.unregister("arrow")

        def run(sql: str) -> pa.Table:
            statements = connection.extract_statements(sql)
            if len(statements) != 1:
                raise UsageError(f"expected one query, found {len(statements)} in: {sql}")
            answer = connection.sql(statements[0])
            return pa.table({}) if answer is None else answer.to_arrow_table()

        def ask(sql: str) -> pa.Table:
            # A query is deaf to Ctrl-C and SIGTERM, which reach the main thread: that one waits.
            running = thread.submit(run, sql)
            try:
                return running.result()
            except duckdb.Error as error:
                said = str(error).strip()
                raise UsageError(
                    f"the query can't be answered: {said}\n"
                    f"Columns of trials: {', '.join(everything.column_names)}"
                ) from error
            finally:
                while not running.done():  # it may not have begun when it is told first
                    connection.interrupt()
                    wait([running], timeout=0.1)

        ask(f"create view trials as select * from all_trials where (\n{where or 'true'}\n)")
        yield ask


def _overview(trials: pa.Table, defining: list[str], ask: Any) -> dict[str, Any]:
    statuses = trials["status"].to_pylist()
    done = trials.filter(pa.compute.equal(trials["status"], "done"))
    cell = _telling_columns(done, defining)
    measured = [m for m in MEASURES if done[m].null_count < len(done)]
    measured = measured or [m for m in WITHOUT_TEST if done[m].null_count < len(done)]
    means = "".join(f", avg({measure}) as {measure}" for measure in measured)
    by = ", ".join(_quoted(name) for name in cell)
    table = ask(
        f"select {by}, count(*) as n{means} from trials where status = 'done' "
        f"group by {by} order by {by}"
    )
    return {
        "trials": len(statuses),
        "trials_done": statuses.count("done"),
        "trials_failed": statuses.count("failed"),
        "table": _as_dicts(table),
        "failures": _failures(trials),
    }


def _telling_columns(trials: pa.Table, defining: list[str]) -> list[str]:
    """The fewest columns that tell cells apart: one that splits no group further is left out.

    Grouping by them equals grouping by everything that defines a student but its seeds, so trials
    that differ in anything else, a learning rate say, are never averaged together.
    """
    chosen = ["ipc", "labels", "expert_epoch"]
    groups = trials.group_by(chosen).aggregate([]).num_rows
    for name in defining:
        # The store's id is no part of a trial's identity; its labels' view and checkpoints are.
        if name in chosen or name == "parent_store":
            continue
        finer = trials.group_by([*chosen, name]).aggregate([]).num_rows
        if finer > groups:
            chosen, groups = [*chosen, name], finer
    return chosen


def _failures(trials: pa.Table) -> list[dict[str, Any]]:
    by_error: dict[str, list[str]] = {}
    for row in trials.select(["id", "status", "error"]).to_pylist():
        if row["status"] == "failed":
            lines = (row["error"] or "").strip().splitlines()
            by_error.setdefault(lines[-1] if lines else "", []).append(row["id"])
    return [
        {"error": error, "n": len(failed), "failed_trials": failed}
        for error, failed in by_error.items()
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _known_suffix(out: Path) -> str:
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"{out} says no format that results are exported in: expected a file that ends in "
            f"{', '.join(SUFFIXES)}"
        )
    return suffix


def _exported(rows: pa.Table, suffix: str) -> bytes:
    if suffix == ".json":
        return (json.dumps(_as_dicts(rows), indent=1) + "\n").encode()
    sink = pa.BufferOutputStream()
    if suffix == ".csv":
        pyarrow.csv.write_csv(_without_nesting(rows), sink)
    else:
        pyarrow.parquet.write_table(rows.replace_schema_metadata(None), sink)
    return sink.getvalue().to_pybytes()


def _without_nesting(rows: pa.Table) -> pa.Table:
    """Lists and the like as their JSON, since a field of a CSV file holds none."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            texts = [json.dumps(_plain(value)) for value in rows.column(number).to_pylist()]
            rows = rows.set_column(number, field.name, pa.array(texts, pa.string()))
    return rows


def _as_dicts(rows: pa.Table) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    """A value of SQL as JSON has it."""
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if value - value == 0 else None  # JSON has no infinities
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
