"""What lies at ``--out`` is never harmed: by no command and no ``--force``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from cli.main import main
from engine import destination
from engine.destination import KINDS, check_destination
from engine.errors import UsageError
from engine.records import write_record

COMMANDS = {
    "train-expert": "--data {dataset} --model convnet-d2-w8 --epochs 1 --force",
    "dump-labels": "--data {dataset} --expert {expert-run} --all-epochs",
    "import-labels": "--data {dataset} --source {logits} --expert other",
    "derive-labels": "--data {dataset} --entropy 0.7",
    "sweep-students": "--data {dataset} --ipc 1 --set labels=[hard] --workers 1",
    "report": "{sweep}",
    "export": "--data {dataset} --labels {label-store} --ipc 1 --expert-epoch 1 --force",
    "evaluate": "--data {dataset} --distilled {distilled} --workers 1 --seeds 0",
    "learn-labels": "--data {dataset} --model convnet-d2-w8 --ipc 1 --force",
    "reproduce": "--data {dataset} --scale smoke",
}
"""Commands that make an artefact, and what they are given besides ``--out``."""
MAKES = {
    "train-expert": "expert-run",
    "sweep-students": "sweep",
    "report": "report",
    "export": "distilled",
    "evaluate": "evaluation",
    "learn-labels": "learned-labels",
    "reproduce": "reproduction",
}
STORE = "label-store"
OTHERS = {
    "reproduction": "other files (.lock, experts, plan.yaml)",
    "thesis": "other files (.one.tex.partial, chapters)",
    "web page": "other files (checkpoints, manifest.json)",
    "grades": "other files (evaluation.json)",
    "people": "other files (experts)",
    "chimneys": "other files (sweep.json)",
    "zarr group": "other files (zarr.json)",
    "file": "a file",
}
"""What is no artefact with an identity, and what a refusal calls it."""


@pytest.fixture(scope="module")
def places(
    small_data: Path, small_run: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """By name: an artefact of every kind, folders of somebody else, and a file of labels."""
    root = tmp_path_factory.mktemp("places")
    made = {"dataset": small_data, "expert-run": small_run, STORE: small_store}
    made |= {name: root / name for name in {*KINDS, *OTHERS, "logits"} - set(made)}
    student = {"student.model": "convnet-d2-w8", "student.epochs": 1, "student.precision": "fp32"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_EAGER", "1")
        engine.sweep_students(
            small_data,
            None,
            made["sweep"],
            ipc=[1],
            seeds=[0],
            workers=1,
            overrides={**student, "labels": ["hard"]},
        )
        engine.write_report([made["sweep"]], made["report"])
        engine.export_distilled(
            small_data, small_store, made["distilled"], ipc=1, expert_epoch=1, format="npz"
        )
        engine.evaluate_distilled(
            small_data,
            made["distilled"],
            made["evaluation"],
            seeds=[0],
            workers=1,
            overrides=student,
        )
        engine.learn_labels(
            small_data, made["learned-labels"], ipc=1, steps=0, model="convnet-d2-w8"
        )
    np.savez(made["logits"].with_suffix(".npz"), logits=np.zeros((120, 3), np.float32))
    made["logits"] = made["logits"].with_suffix(".npz")
    shutil.copytree(small_run, made["reproduction"] / "experts" / "seed-0")
    for name, content in {
        "reproduction/.lock": "",
        "reproduction/plan.yaml": "grids: []",
        "thesis/chapters/one.tex": "years of work",
        "thesis/.one.tex.partial": "somebody else's, too",
        "web page/manifest.json": '{"kind": "Pod", "name": "a web page"}',
        "web page/checkpoints/epoch_0000.json": "{}",
        "zarr group/zarr.json": '{"zarr_format": 3, "node_type": "group", "attributes": {}}',
        "grades/evaluation.json": '[{"kind": "essay", "grade": 1}]',
        "chimneys/sweep.json": '{"kind": "round", "streets": 12}',
        "people/experts/alice/photo.jpg": "a portrait",
        "file": "a file",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return made


def everything_at(place: Path) -> dict[str, bytes | None]:
    """Every file's bytes and every folder, hidden ones too."""
    every = [place, *place.rglob("*")]
    return {str(each): each.read_bytes() if each.is_file() else None for each in every}


@pytest.mark.parametrize(
    ("command", "lies_there"),
    [
        (command, place)
        for command in COMMANDS
        for place in (*KINDS, *OTHERS)
        if place != MAKES.get(command, STORE)
    ],
)
def test_no_command_changes_what_it_did_not_make(
    places: Mapping[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    lies_there: str,
) -> None:
    out, original = tmp_path / "out", places[lies_there]
    if original.is_dir():
        shutil.copytree(original, out)
    else:
        shutil.copy(original, out)
    before = everything_at(tmp_path)
    options = COMMANDS[command].split()
    given = [option.format_map(places) for option in options]
    assert main([command, *given, "--out", str(out)]) == 2
    assert everything_at(tmp_path) == before
    said = capsys.readouterr().err
    assert str(out) in said
    assert "another --out" in said
    if command in MAKES:  # labelstore has words of its own
        assert f"found {KINDS.get(lies_there) or OTHERS[lies_there]};" in said


@pytest.mark.parametrize("kind", ["expert-run", "learned-labels", "evaluation"])
@pytest.mark.parametrize("left", [0, 100])
def test_an_identity_cut_short_leaves_its_folder_to_its_own_command(
    places: Mapping[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    left: int,
) -> None:
    """By whole records of epochs, steps or students; somebody else's JSON stays with its owner."""
    out = tmp_path / "out"
    shutil.copytree(places[kind], out)
    (identity,) = (out / name for name in destination.IDENTITIES if (out / name).is_file())
    identity.write_bytes(identity.read_bytes()[:left])
    commands = {made: command for command, made in MAKES.items()}
    for command in ("train-expert", "learn-labels", "evaluate"):
        own = commands[kind] == command
        given = [option.format_map(places) for option in COMMANDS[command].split()]
        told = main([command, *given, "--out", str(out), "--dry-run"])
        assert ("or an empty place" in capsys.readouterr().err) == (not own)
        # These options describe another evaluation than the one there, which can't be forced.
        assert told == (0 if own and kind != "evaluation" else 2)
    identity.write_text('{"name": "a web page"}')
    for command in ("train-expert", "learn-labels", "evaluate"):
        given = [option.format_map(places) for option in COMMANDS[command].split()]
        assert main([command, *given, "--out", str(out)]) == 2


def test_a_run_with_a_damaged_manifest_is_trained_anew_by_force(
    places: Mapping[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(places["expert-run"], out)
    (out / "manifest.json").write_bytes(b"")
    given = [option.format_map(places) for option in COMMANDS["train-expert"].split()]
    assert main(["train-expert", *given, "--out", str(out)]) == 0
    assert engine.verify_run(out)["ok"]


@given(data=st.data())
def test_no_flipped_bit_gives_a_folder_to_another_kind(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Wherever it is; and where the kind is still legible, the folder stays with its own."""
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    folder = tmp_path_factory.mktemp("flipped")
    name = data.draw(st.sampled_from(destination.IDENTITIES))
    content = {"kind": kind, "id": "0" * 16, "dataset": {"kind": "dataset", "name": "ü"}}
    write_record(folder / name, content)
    whole = (folder / name).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(flipped)
    line = f'\n "kind": "{kind}"'.encode()
    if line in flipped:
        check_destination(folder, kind)
    for other in set(KINDS) - {kind}:
        with pytest.raises(UsageError, match="another --out"):
            check_destination(folder, other, records="*.json")


def test_an_empty_place_is_free_and_a_lock_in_it_is_somebodys(tmp_path: Path) -> None:
    for kind in KINDS:
        check_destination(tmp_path, kind)
        check_destination(tmp_path, kind, replaced=True)
        check_destination(tmp_path / "absent", kind, replaced=True)
    (tmp_path / ".lock").touch()
    check_destination(tmp_path, "expert-run")
    with pytest.raises(UsageError, match=r"found other files \(\.lock\)"):
        check_destination(tmp_path, "report", replaced=True)
