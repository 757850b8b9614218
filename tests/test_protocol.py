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


def test_the_grid_of_expert_epochs_is_the_published_one():
    columns = column_after("**IPC × expert epoch")
    for name, rows in columns.items():
        ipc = int(name.removeprefix("IPC "))
        hard = rows.pop("hard labels")
        assert {int(epoch): value for epoch, [value] in rows.items()} == CIFAR100["grid"][ipc]
        assert hard == [CIFAR100["hard"][ipc]]
    assert len(columns) == len(CIFAR100["grid"])
