"""docs/plans.md is the reference of plans: every key, transform, selection and preset, no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from engine.configuration import load_configuration, preset_names
from engine.experiments import label_transform_forms, selection_forms
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.reproduction.scale import Scale
from engine.sweep import Grid, load_grids
from engine.sweep.planning.grid import IpcChange, StudentAxes
from engine.training import ExpertRecipe

TEXT = (Path(__file__).parents[1] / "docs" / "plans.md").read_text("utf-8")

READS = {
    "train-expert": lambda preset: load_configuration(ExpertRecipe, preset),
    "sweep-students": load_grids,
    "learn-labels": lambda preset: load_configuration(LearnedRecipe, preset),
    "reproduce": lambda preset: load_configuration(Scale, preset),
}


def rows_below(header: str) -> list[list[str]]:
    """The cells of the table with that first line, as they are written."""
    lines = TEXT.split(f"| {header} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(
    ("below", "forms"),
    [("What becomes of the labels", label_transform_forms()), ("Which images", selection_forms())],
)
def test_every_transform_and_selection_is_described_as_it_is_written(below, forms):
    described = [code for row in rows_below(f"Written | {below}") for code in codes(row[0])]
    assert sorted(described) == sorted(forms.values())


@pytest.mark.parametrize(
    ("of", "model"),
    [("Key", Grid), ("Key of `student`", StudentAxes), ("Key of a recipe", ExpertRecipe)],
)
def test_every_key_is_there_with_its_default(of, model):
    defaults = model().model_dump()
    rows = rows_below(f"{of} | Default | What it is")
    assert sorted(codes(key)[0] for key, *_ in rows) == sorted(defaults)
    for key, written, _ in rows:
        (name,) = codes(key)
        if name == "student":  # has a table of its own
            continue
        said, default = yaml.safe_load(codes(written)[0]), defaults[name]
        if isinstance(said, dict) and said:
            default = {each: default[each] for each in said}
        assert said == default, name


def test_what_may_differ_by_ipc_is_named():
    (row,) = (row for row in rows_below("Key | Default | What it is") if row[0] == "`by_ipc`")
    assert codes(row[2])[1:] == list(IpcChange.model_fields)


def test_every_preset_is_listed_with_the_command_that_reads_it():
    listed = {}
    for presets, readers, _ in rows_below("Preset | For | What it is"):
        for preset in codes(presets):
            listed[preset] = codes(readers)[0].split()[0]
    assert sorted(listed) == preset_names()
    for preset, command in listed.items():
        assert READS[command](preset)
