"""The README's command lines: every command, option, preset and name in them exists."""

from __future__ import annotations

import csv
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

from cli.main import app
from engine.configuration import preset_names
from engine.experiments import parse_label_transform, parse_selection

TEXT = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
OF_SCRIPTS = {"--cpu", "--long"}


def spans():
    """Every piece of code: the lines of blocks, joined where they are broken, and inline code."""
    lines = [line for block in FENCED.findall(TEXT) for line in join_broken(block).splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", FENCED.sub("", TEXT))


def join_broken(block):
    return re.sub(r"\\\n\s*", "", block)


def commands():
    """The tokens of every line that types `engine`, and so of what is typed after it."""
    return [shlex.split(span) for span in spans() if re.match(r"engine |--\w", span)]


def options_of():
    """Command → its options."""
    known = typer.main.get_command(app).commands
    return {
        name: {option for each in command.params for option in each.opts + each.secondary_opts}
        for name, command in known.items()
    }


def values_of(option):
    return [
        after for tokens in commands() for before, after in pairwise(tokens) if before == option
    ]


def test_every_command_and_option_exists():
    known = options_of()
    anywhere = set().union(*known.values()) | OF_SCRIPTS
    lines = commands()
    assert len(lines) > 40
    for tokens in lines:
        given = {token for token in tokens if re.match(r"--\w", token)}
        if tokens[0] != "engine":
            assert given <= anywhere, tokens
        else:
            assert tokens[1] in known, tokens
            assert given <= known[tokens[1]], tokens


def test_every_preset_exists():
    named = {*values_of("--config"), *(s for s in spans() if re.fullmatch(r"paper/[\w-]+", s))}
    assert len(named) > 4
    assert named <= set(preset_names())


@pytest.mark.parametrize(
    ("axis", "parse"), [("labels", parse_label_transform), ("selection", parse_selection)]
)
def test_every_label_transform_and_selection_exists(axis, parse):
    (written,) = (each for each in values_of("--set") if each.startswith(f"{axis}=["))
    names = yaml.safe_load(written.partition("=")[2])
    assert len(names) > 4
    for name in names:
        parse(name)


def test_every_file_that_it_links_to_or_shows_is_there():
    root = Path(__file__).parents[1]
    links = [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in link]
    assert links
    assert [link for link in links if not (root / link).is_file()] == []


def test_what_a_label_is_worth_is_what_the_committed_reproduction_says():
    folder = Path(__file__).parents[1] / "docs" / "reproduction" / "tables"
    with (folder / "worth_in_images.csv").open(newline="") as file:
        rows = {int(row["ipc"]): row for row in csv.DictReader(file)}
    told = re.search(
        r"worth ([\d.]+) hard-labelled images\*\* \(95 % interval ([\d.]+) to ([\d.]+)\)", TEXT
    )
    assert told
    first = rows[1]
    for text, column in zip(
        told.groups(), ("images_per_label", "worth_low", "worth_high"), strict=True
    ):
        assert text == f"{float(first[column]):.1f}"
