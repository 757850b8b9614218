"""What a kill or damage leaves of learned labels: what is made again, what is told."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from learned_cases import MODEL, QUICK, learn, stored

import beton_builder
import engine
from engine.errors import (
    ArtefactError,
    DamageError,
)
from engine.experiments.learned_labels import folder as learned_folder
from engine.experiments.learned_labels import resemblance
from engine.records import write_record

KILLED_BEFORE_FILE = """
import os, signal, sys
from pathlib import Path
import engine
data, out, files = sys.argv[1], sys.argv[2], int(sys.argv[3])
rename = Path.replace
def rename_or_die(self, target):
    global files
    if str(target).startswith(out):
        if not files:
            os.kill(os.getpid(), signal.SIGKILL)
        files -= 1
    return rename(self, target)
Path.replace = rename_or_die
engine.learn_labels(data, out, ipc=2, steps=4, model={model!r}, overrides={quick!r})
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("begun", "renames"),
    [
        (None, 10),  # manifest, three checkpoints and their records, two arrays, the result
        (2, 5),  # a checkpoint and its record, two arrays, the result
    ],
)
def test_a_kill_before_any_file_appears_loses_nothing(
    small_data: Path, learned: Path, tmp_path: Path, begun: int | None, renames: int
) -> None:
    code = KILLED_BEFORE_FILE.replace("{model!r}", repr(MODEL)).replace("{quick!r}", repr(QUICK))
    for files in range(20):
        out = tmp_path / str(files)
        if begun is not None:
            learn(small_data, out, steps=begun)
        arguments = [str(small_data), str(out), str(files)]
        status = subprocess.run([sys.executable, "-c", code, *arguments], check=False).returncode
        assert begun is None or engine.verify_learned(out)["ok"]
        learn(small_data, out)
        assert stored(out) == stored(learned)
        assert engine.verify_learned(out)["ok"]
        assert not list(out.rglob("*.partial"))
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert files == renames


def test_an_extension_stopped_between_its_files_leaves_no_damage(
    small_data: Path, learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "labels"
    learn(small_data, out, steps=2)
    with monkeypatch.context() as patch:
        write = learned_folder.write_npz

        def write_or_stop(path: Path, arrays: dict) -> None:
            if path.name == "distilled.npz":
                raise KeyboardInterrupt
            write(path, arrays)

        patch.setattr(learned_folder, "write_npz", write_or_stop)
        with pytest.raises(KeyboardInterrupt):
            learn(small_data, out)
    assert engine.verify_learned(out)["ok"]
    with pytest.raises(ArtefactError, match=r"not finished \(step 4 is the last on disk\)"):
        engine.read_learned(out)
    learn(small_data, out)
    assert stored(out) == stored(learned)


def test_a_result_lost_after_the_last_checkpoint_is_made_again(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    learn(small_data, out)
    (out / "result.json").unlink()
    with pytest.raises(ArtefactError, match="step 4 is the last on disk"):
        engine.read_learned(out)
    assert learn(small_data, out)["status"] == "learned"
    assert stored(out) == stored(learned)


def flip_a_bit(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)


def test_a_damaged_result_is_made_again_from_the_last_step(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    flip_a_bit(out / "result.json")
    steps = {file.name: file.stat().st_mtime_ns for file in (out / "steps").iterdir()}
    (problem,) = engine.verify_learned(out)["problems"]
    assert "result.json is damaged" in problem
    assert "run the same `engine learn-labels` command again" in problem
    with pytest.raises(DamageError, match=r"result\.json.*`engine learn-labels` command again"):
        engine.read_learned(out)
    assert learn(small_data, out)["status"] == "learned"
    assert stored(out) == stored(learned)
    assert {file.name: file.stat().st_mtime_ns for file in (out / "steps").iterdir()} == steps
    assert engine.verify_learned(out)["ok"]


def test_a_damaged_comparison_is_made_again_and_keeps_nobody_from_the_labels(
    small_data: Path, small_store: Path, learned: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    resemblance.compare_with_expert(out, small_store, resamples=9)
    whole = (out / "comparison.json").read_bytes()
    flip_a_bit(out / "comparison.json")
    (problem,) = engine.verify_learned(out)["problems"]
    assert "comparison.json is damaged" in problem
    assert "`engine learn-labels` command again, with --compare STORE" in problem
    assert engine.read_learned(out).comparisons == ()
    dataset = beton_builder.open_dataset(small_data)
    opened = engine.open_distilled(out, dataset=dataset)
    assert opened.id == engine.open_distilled(learned, dataset=dataset).id
    resemblance.compare_with_expert(out, small_store, resamples=9)
    assert (out / "comparison.json").read_bytes() == whole


@pytest.mark.parametrize("name", ["manifest.json", "steps/step_000002.json"])
def test_what_cannot_be_made_again_names_the_command_that_learns_anew(
    learned: Path, tmp_path: Path, name: str
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    flip_a_bit(out / name)
    (problem,) = engine.verify_learned(out)["problems"]
    assert "the same `engine learn-labels` command with --force" in problem
    assert "train-expert" not in problem


def test_a_lost_part_of_the_history_is_found(small_data: Path, tmp_path: Path) -> None:
    learn(small_data, tmp_path / "labels")
    (tmp_path / "labels/steps/step_000002.json").unlink()
    answer = engine.verify_learned(tmp_path / "labels")
    assert not answer["ok"]
    assert "history of outer step 1 is missing" in answer["problems"][0]


def test_labels_that_were_not_learned_to_the_end_are_no_set(
    small_data: Path, learned: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(learned, tmp_path / "labels")
    (out / "result.json").unlink()
    with pytest.raises(ArtefactError, match="learning was not finished"):
        engine.open_distilled(out, dataset=beton_builder.open_dataset(small_data))


def test_every_flipped_byte_is_found(small_data: Path, learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    learn(small_data, out)
    write_record(out / "comparison.json", {"id": "x", "comparisons": []})
    assert engine.verify_learned(out)["ok"]
    rng = np.random.default_rng(0)
    for file in [f for f in out.rglob("*") if f.is_file() and f.name != ".lock"]:
        whole = file.read_bytes()
        for place in rng.integers(0, len(whole), 12):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            found = engine.verify_learned(out)
            assert not found["ok"], f"{file.name} byte {place}"
        file.write_bytes(whole)
    assert engine.verify_learned(out)["ok"]
    (out / "labels.npz").write_bytes(b"")
    with pytest.raises(DamageError, match=r"labels\.npz"):
        engine.read_learned(out)
