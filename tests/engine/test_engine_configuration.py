"""Configurations: one validated path from presets, files and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from engine.configuration import load_configuration, preset_names
from engine.errors import ConfigurationError
from engine.experiments.learned_labels.recipe import LearnedRecipe
from engine.reproduction.scale import Scale
from engine.sweep import Grid
from engine.training import ExpertRecipe, StudentRecipe


def kind_of(preset: str) -> type[BaseModel]:
    if preset.startswith("learned-labels"):
        return LearnedRecipe
    if preset.startswith("reproduce/"):
        return Scale
    return ExpertRecipe if "expert" in preset else Grid


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid(preset: str) -> None:
    load_configuration(kind_of(preset), preset)


def test_the_papers_presets_are_the_recipes_defaults() -> None:
    assert load_configuration(ExpertRecipe, "expert-small") == ExpertRecipe()
    (student,) = load_configuration(Grid, "students-paper").student.recipes()
    lengths = StudentRecipe().schedule.resolved(3000)
    assert student == StudentRecipe(schedule=lengths)


def test_overrides_are_read_as_numbers_even_where_yaml_1_1_sees_text() -> None:
    recipe = load_configuration(ExpertRecipe, None, {"lr": "5e-4", "optimiser.momentum": "0.9"})
    assert (recipe.lr, recipe.optimiser.momentum) == (5e-4, 0.9)


@pytest.mark.parametrize(
    ("typed", "read"), [("010", 10), ("1e3", 1000), ("+7", 7), ("[08, 9]", [8, 9])]
)
def test_numbers_are_decimal_wherever_they_are_typed(
    tmp_path: Path, typed: str, read: object
) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(f"student: {{epochs: {typed}}}\n")
    assert load_configuration(Grid, file).student.epochs == read
    assert load_configuration(Grid, None, {"student.epochs": typed}).student.epochs == read


@pytest.mark.parametrize("typed", ["1:30", "1_3", "0x1F", "0b11"])
def test_what_is_no_decimal_number_is_refused_as_it_was_typed(tmp_path: Path, typed: str) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(f"expert_epochs: {typed}\n")
    for source, overrides in ((file, {}), (None, {"expert_epochs": typed})):
        with pytest.raises(ConfigurationError, match=f"'{typed}' names no expert epochs"):
            load_configuration(Grid, source, overrides)


def test_a_mapping_by_numbers_replaces_the_default(tmp_path: Path) -> None:
    file = tmp_path / "scale.yaml"
    file.write_text("expert_epoch: {1: 4, 20: 5}\nexperiments: {a: {ipc: [2]}}\n")
    assert load_configuration(Scale, file).expert_epoch == {1: 4, 20: 5}
    file.write_text("expert_epoch: {2: 3}\nexperiments: {a: {ipc: [2]}}\n")
    assert load_configuration(Scale, file).expert_epoch == {2: 3}
    file.write_text('expert_epoch: {"2": 3}\nexperiments: {a: {ipc: [2]}}\n')
    assert load_configuration(Scale, file).expert_epoch == {2: 3}


@pytest.mark.parametrize("ten", ["10", '"10"'])
def test_an_override_at_one_ipc_leaves_the_rest_of_it_as_it_was(tmp_path: Path, ten: str) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(f"by_ipc: {{{ten}: {{epochs: 5}}, 1: {{lr: 0.1}}}}\n")
    by_ipc = load_configuration(Grid, file, {"by_ipc.10.lr": "0.2"}).by_ipc
    assert (by_ipc[10].epochs, by_ipc[10].lr, by_ipc[1].lr) == (5, 0.2, 0.1)


def leaves(tree: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in tree.items():
        inner = isinstance(value, dict) and value
        found |= leaves(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def test_overriding_one_key_leaves_its_siblings_as_they_were() -> None:
    before = leaves(Grid().model_dump())
    changes = {
        "student.optimiser.weight_decay": 0.001,
        "student.optimiser.momentum": 0.5,
        "student.schedule.factor": 0.5,
        "student.schedule.every": 7,
        "student.epochs": 11,
        "view": "flip",
    }
    for key, value in changes.items():
        after = leaves(load_configuration(Grid, None, {key: value}).model_dump())
        assert after == before | {key: value}


def test_another_optimiser_starts_from_its_own_defaults() -> None:
    student = load_configuration(Grid, None, {"student.optimiser.kind": "adamw"}).student
    assert (student.optimiser.momentum, student.optimiser.weight_decay) == (0.0, 0.01)
    with pytest.raises(ConfigurationError, match="momentum belongs to kind sgd"):
        load_configuration(Grid, None, {"student.optimiser": {"kind": "adamw", "momentum": 0.9}})


@pytest.mark.parametrize(
    ("key", "value"),
    [("seeds", "[-1]"), ("seeds", "[4294967296]"), ("ipc", "[0]"), ("student.lr", ".inf")],
)
def test_values_that_can_not_work_are_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=key):
        load_configuration(Grid, None, {key: value})


def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("student: {epoch: 3}\n")
    with pytest.raises(ConfigurationError, match=r"unknown key student\.epoch; .*epochs"):
        load_configuration(Grid, file)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1, 2]", "keys and values"), ("a: [", "no YAML"), ("ipc: []", "ipc"), ("ipc: [x]", "'x'")],
)
def test_a_file_that_does_not_fit_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_configuration(Grid, file)


def test_a_missing_file_names_the_nearest_preset() -> None:
    with pytest.raises(ConfigurationError, match="did you mean expert-small"):
        load_configuration(ExpertRecipe, "expert-smal")


@pytest.mark.parametrize(
    ("read", "preset", "message"),
    [
        (
            ExpertRecipe,
            "students-paper",
            "is a plan for engine sweep-students, expected a recipe",
        ),
        (Grid, "expert-small", "is a recipe for engine train-expert, expected a plan for"),
        (Grid, "learned-labels", "is a recipe for engine learn-labels, expected a plan for"),
        (Grid, "reproduce/cpu", "is a scale for engine reproduce, expected a plan for"),
        (LearnedRecipe, "table2-fashion-mnist", "is a plan for engine sweep-students"),
    ],
)
def test_a_preset_of_another_command_is_called_that(read, preset: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{preset} {message}"):
        load_configuration(read, preset)


def test_a_plan_of_several_grids_is_no_recipe(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("grids: [{ipc: 1}, {ipc: 10}]\n")
    with pytest.raises(ConfigurationError, match="is a plan for engine sweep-students"):
        load_configuration(ExpertRecipe, file)


def test_one_wrong_key_makes_no_other_configuration(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("model: convnet-d3\nlr: 0.1\nseeds: [0]\n")
    with pytest.raises(ConfigurationError, match="unknown key seeds"):
        load_configuration(ExpertRecipe, file)


def test_known_keys_are_listed_once_for_all_that_are_unknown(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("colour: 1\nshape: 2\nepochs: 3\n")
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(ExpertRecipe, file)
    assert "unknown keys colour, shape; known: model, epochs" in str(caught.value)
    assert str(caught.value).count("known: ") == 1
