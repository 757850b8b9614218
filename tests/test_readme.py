"""What README.md and docs/ tell to type exists, and the README's numbers are the committed ones."""

from __future__ import annotations

import csv
import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

from cli.main import app
from engine.configuration import preset_names
from engine.experiments import parse_label_transform, parse_selection
from engine.sweep import load_grids

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REPRODUCTION = ROOT / "docs" / "reproduction" / "tables"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OF_SCRIPTS = {"--cpu", "--long", "--without-ffcv"}
OF_CLUSTERS = {"--gpus-per-node", "--num-cpus", "--signal"}

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@cache
def text_of(document):
    return document.read_text("utf-8")


def spans(document):
    """Every piece of code: the lines of blocks, joined where they are broken, and inline code."""
    text = text_of(document)
    blocks = [join_broken(block) for language, block in FENCED.findall(text) if language != "yaml"]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


def join_broken(block):
    return re.sub(r"\\\n\s*", "", block)


def commands(document):
    """The tokens of every line that types `engine`, and so of what is typed after it."""
    typed = [span for span in spans(document) if re.match(r"engine [a-z…]|--\w", span)]
    return [shlex.split(span) for span in typed]


def options_of():
    """Command → its options."""
    known = typer.main.get_command(app).commands
    return {
        name: {option for each in command.params for option in each.opts + each.secondary_opts}
        for name, command in known.items()
    }


def values_of(document, option):
    return [
        after
        for tokens in commands(document)
        for before, after in pairwise(tokens)
        if before == option
    ]


def rows_of(table):
    with (REPRODUCTION / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@every_document
def test_every_command_and_option_exists(document):
    known = options_of()
    anywhere = set().union(*known.values()) | OF_SCRIPTS | OF_CLUSTERS
    for tokens in commands(document):
        given = {token.split("=")[0] for token in tokens if re.match(r"--\w", token)}
        if tokens[0] != "engine":
            assert given <= anywhere, tokens
        else:
            assert tokens[1] in known, tokens
            assert given <= known[tokens[1]], tokens


def test_the_readme_and_the_page_on_clusters_type_commands():
    assert len(commands(ROOT / "README.md")) > 40
    assert len(commands(ROOT / "docs" / "cluster.md")) > 4


@every_document
def test_every_preset_exists(document):
    shown = {span for span in spans(document) if re.fullmatch(r"paper/[\w-]+", span)}
    typed = {name for name in values_of(document, "--config") if not name.endswith(".yaml")}
    assert shown | typed <= set(preset_names())


@every_document
def test_every_plan_that_it_shows_is_one(document, tmp_path):
    for language, block in FENCED.findall(text_of(document)):
        if language == "yaml":
            file = tmp_path / "plan.yaml"
            file.write_text(block)
            assert load_grids(file)


@pytest.mark.parametrize(
    ("axis", "parse"), [("labels", parse_label_transform), ("selection", parse_selection)]
)
def test_every_label_transform_and_selection_exists(axis, parse):
    settings = values_of(ROOT / "README.md", "--set")
    (written,) = (each for each in settings if each.startswith(f"{axis}=["))
    names = yaml.safe_load(written.partition("=")[2])
    assert len(names) > 4
    for name in names:
        parse(name)


@every_document
def test_every_file_that_it_links_to_or_shows_is_there(document):
    links = re.findall(r"\]\(([^)#]+)", FENCED.sub("", text_of(document)))
    there = [link for link in links if "://" not in link]
    assert [link for link in there if not (document.parent / link).is_file()] == []


def test_no_text_installs_a_package_that_nobody_published():
    """The project is installed from its checkout; its extras, too."""
    rooms = ("engine", "beton_builder", "labelstore", "cli", "benchmarks")
    sources = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    named = re.compile(r"install[^\n]*softlabel-engine")
    assert [str(path) for path in (*DOCUMENTS, *sources) if named.search(path.read_text())] == []


def test_what_a_label_is_worth_is_what_the_committed_reproduction_says():
    text = text_of(ROOT / "README.md")
    rows = {int(row["ipc"]): row for row in rows_of("worth_in_images")}
    first = re.search(
        r"worth ([\d.]+) hard-labelled images\*\* \(95 % interval ([\d.]+) to ([\d.]+)\)(.*?)\.\s",
        text,
        re.DOTALL,
    )
    assert first
    columns = ("images_per_label", "worth_low", "worth_high")
    assert first.groups()[:3] == tuple(f"{float(rows[1][column]):.1f}" for column in columns)
    others = {int(ipc): amount for amount, ipc in re.findall(r"([\d.]+) at (\d+)", first[4])}
    expected = {ipc: f"{float(row['images_per_label']):.1f}" for ipc, row in rows.items()}
    assert {1: first[1], **others} == expected


def test_claims_and_students_are_as_many_as_the_committed_reproduction_has():
    text = text_of(ROOT / "README.md")
    assert re.findall(r"(\d+) claims", text) == [str(len(rows_of("claims")))]
    done = sum(row["sweep"] == "students" for row in rows_of("trials"))
    missing = sum(int(row["runs"]) for row in rows_of("problems") if row["what"] == "not run")
    told = re.search(r"(?:(\d+) of|all(?: of)?) its (\d+)\s+students", text)
    assert told
    assert (int(told[1] or told[2]), int(told[2])) == (done, done + missing)


def words_of_readme() -> str:
    return " ".join(text_of(ROOT / "README.md").split())


def test_verdicts_are_those_of_the_committed_reproduction():
    (told,) = re.findall(r"one by one, with (.*?):", words_of_readme())
    parts = re.findall(r"(\d+) (.*?)(?:,| and|$)", told)
    verdicts = [row["verdict"] for row in rows_of("claims")]
    expected = {verdict: verdicts.count(verdict) for verdict in verdicts}
    assert {verdict: int(number) for number, verdict in parts} == expected


def test_students_as_long_as_the_published_are_those_of_the_committed_reproduction():
    told = re.search(
        r"at IPC (\d+): ([\d.]+) % where ([\d.]+) % and ([\d.]+) % were published",
        words_of_readme(),
    )
    assert told
    (row,) = [row for row in rows_of("published") if row["ipc"] == told[1]]
    columns = (
        "as_long_max_on_test_mean",
        "published_soft labels (paper)",
        "published_soft labels (reproduction)",
    )
    assert told.groups()[1:] == tuple(f"{100 * float(row[column]):.1f}" for column in columns)
