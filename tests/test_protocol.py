"""docs/protocol.md prints the numbers that reports compare with: those of published.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "protocol.md").read_text("utf-8")
PUBLISHED = yaml.safe_load((ROOT / "engine" / "analysis" / "published.yaml").read_text("utf-8"))
DATASETS = PUBLISHED["datasets"]
CIFAR100 = DATASETS["cifar100"]
TITLES = {key: of["title"] for key, of in DATASETS.items()}

TABLE_7 = {
    "ImageNet ResNet18": DATASETS["imagenet"]["table7"]["ResNet18"],
    "ImageNet ResNet50": DATASETS["imagenet"]["table7"]["ResNet50"],
    "TinyImageNet D4": DATASETS["tinyimagenet"]["table7"]["ConvNetD4"],
    "CIFAR-100 D3": CIFAR100["table7"]["ConvNetD3"],
    "CIFAR-10 D3": DATASETS["cifar10"]["table7"]["ConvNetD3"],
}
TABLE_2 = {
    "TinyImageNet": DATASETS["tinyimagenet"]["table2"]["soft labels (paper)"],
    "CIFAR-100": CIFAR100["table2"]["soft labels (paper)"],
    "CIFAR-100, reproduction": CIFAR100["table2"]["soft labels (reproduction)"],
    "CIFAR-10": DATASETS["cifar10"]["table2"]["soft labels (paper)"],
}


def column_after(heading: str) -> dict[str, dict[str, list[float]]]:
    """The table that follows a heading in the text: column → first cell of a row → numbers."""
    rows = re.search(r"^\|.*?(?=^(?!\|)|\Z)", TEXT.split(heading, 1)[1], re.M | re.S)
    assert rows
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in rows[0].splitlines()]
    header, _, *body = cells
    return {
        name: {
            row[0]: [float(number) for number in re.findall(r"[\d.]+(?:e-?\d+)?", row[place])]
            for row in body
            if row[place]
        }
        for place, name in enumerate(header)
        if place
    }


@pytest.mark.parametrize(
    ("heading", "published"),
    [
        ("**Table 7**", TABLE_7),
        ("**Table 1**", dict(enumerate(DATASETS["imagenet"]["table1"].values()))),
        ("**Table 2**", TABLE_2),
    ],
)
def test_tables_of_the_paper_are_the_published_numbers(heading, published):
    columns = column_after(heading)
    assert len(columns) == len(published)
    for name, (column, rows) in zip(published, columns.items(), strict=True):
        assert name == column or isinstance(name, int)
        assert rows == {str(ipc): values for ipc, values in published[name].items()}, column


def test_distilled_images_are_the_published_ones():
    distilled = {
        f"{TITLES[key]}, {method}": row
        for key in ("tinyimagenet", "cifar100", "cifar10")
        for method, row in DATASETS[key]["table2"].items()
        if not method.startswith("soft labels")
    }
    for ipc, rows in column_after("**Distilled images**").items():
        assert rows == {name: row[int(ipc)] for name, row in distilled.items() if int(ipc) in row}


def test_accuracies_on_all_images_are_the_published_ones():
    (small,) = re.findall(r"Trained on all images: (TinyImageNet[^|]*?)\.\s*\n", TEXT)
    numbers = [float(each) for each in re.findall(r" (\d+\.\d+)", small)]
    of = [DATASETS[key]["full"].values() for key in ("tinyimagenet", "cifar100", "cifar10")]
    assert numbers == [value for values in of for value in values]


def test_the_experts_log_is_the_published_one():
    columns = column_after("**The log of an expert**")
    assert {int(epoch): [v for [v] in rows.values()] for epoch, rows in columns.items()} == (
        CIFAR100["expert"]
    )


def test_points_under_noise_are_the_published_ones():
    text = " ".join(TEXT.split("**Noise**", 1)[1].split("(At", 1)[0].split())
    shares = [int(each) for each in re.findall(r"\d+", text.split(" in ")[1].split("%")[0])]
    rows = re.findall(r"IPC (\d+), (\d+) % noise: ([\d. ]+\d)", text)
    assert [
        {
            "ipc": int(ipc),
            "alpha": int(alpha) / 100,
            "accuracy": dict(zip(shares, values, strict=True)),
        }
        for ipc, alpha, row in rows
        for values in [[float(value) for value in row.split()]]
    ] == CIFAR100["noise"]


def test_the_grid_of_expert_epochs_is_the_published_one():
    columns = column_after("**IPC × expert epoch")
    for name, rows in columns.items():
        ipc = int(name.removeprefix("IPC "))
        hard = rows.pop("hard labels")
        assert {int(epoch): value for epoch, [value] in rows.items()} == CIFAR100["grid"][ipc]
        assert hard == [CIFAR100["hard"][ipc]]
    assert len(columns) == len(CIFAR100["grid"])
