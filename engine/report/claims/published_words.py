"""The papers' numbers on one dataset in words, a sentence a claim; empty where there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from engine.report.experiments.worth import amount, published_worth
from engine.report.published import Published

T = TypeVar("T")
READ_OFF = "read by eye off the plot"
GRID = f"reproduction, Figure 3b, one run a cell, {READ_OFF}"


def soft_and_hard(published: Published) -> str:
    """Accuracies of soft and of hard labels."""
    hard = published.rows.get("hard labels (RN18)", {})
    soft = published.rows.get("soft labels (RN18→18)", {})
    if hard and soft:
        told = ", ".join(f"IPC {i} {soft[i][0]:g} % against {hard[i][0]:g} %" for i in hard)
        return f"soft against hard labels, ResNet18: {told} (Table 1)"
    if not published.shuffle:
        return ""
    told = _by_ipc(published.shuffle, lambda of: f"{of[0]:g} % against {of[1]:g} %")
    return f"soft against hard labels: {told} (reproduction, Figure 2b, {READ_OFF})"


def worth_in_images(published: Published) -> str:
    """Images per label, worked out from the reproduction's grid."""
    found = published_worth(published)
    if not found:
        return ""
    told = _by_ipc(found, amount)
    return f"no number but the title’s; images per label worked out here: {told} ({GRID})"


def fewer_soft_than_hard(published: Published) -> str:
    """The best soft labels of an IPC, and the hard labels of the next one."""
    grid, hard = published.grid, published.hard
    pairs = {ipc: more for ipc, more in zip(grid, [*grid][1:], strict=False) if more in hard}
    if not pairs:
        return ""
    told = "; ".join(
        f"{max(grid[ipc].values()):g} % with soft labels at IPC {ipc} against {hard[more]:g} % "
        f"with hard ones at IPC {more}"
        for ipc, more in pairs.items()
    )
    return f"{told} ({GRID})"


def soft_labels(published: Published) -> str:
    """Accuracies of random images with soft labels."""
    return _rows(published, [name for name in published.rows if name.startswith("soft labels")])


def methods(published: Published) -> str:
    """Accuracies of distilled sets beside those of random images with soft labels."""
    return _rows(published, [n for n in published.rows if "CutMix" not in n and "hard" not in n])


def cutmix(published: Published) -> str:
    """Accuracies under CutMix-augmented labels."""
    return _rows(published, [name for name in published.rows if "CutMix" in name])


def learning_rates(published: Published) -> str:
    """The students' learning rates of Table 7."""
    told = [
        f"{model}: {_by_ipc(of, lambda row: f'{row[1]:g}')}"
        for model, of in published.table7.items()
    ]
    return f"{'; '.join(told)} (Table 7)" if told else ""


def expert_course(published: Published) -> str:
    """Accuracy and label entropy of the first and the last expert epoch of the log."""
    if not published.expert:
        return ""
    told = " → ".join(
        f"epoch {epoch}: {published.expert[epoch][0]:.1f} %, {published.expert[epoch][1]:.2f} nats"
        for epoch in (min(published.expert), max(published.expert))
    )
    return f"{told} (the reproduction’s log)"


def epochs(published: Published) -> str:
    """The first, the best and the last expert epoch at every IPC."""
    told = []
    for ipc, row in published.grid.items():
        best = max(row, key=lambda epoch: row[epoch])
        shown = sorted({min(row), best, max(row)})
        points = " → ".join(f"epoch {epoch} {row[epoch]:g} %" for epoch in shown)
        told.append(f"IPC {ipc}: {points}")
    return f"first, best and last epoch of {'; '.join(told)} ({GRID})" if told else ""


def early_and_late(published: Published) -> str:
    """The best and the last expert epoch at the fewest images."""
    if not published.grid:
        return ""
    ipc, row = next(iter(published.grid.items()))
    best, last = max(row, key=lambda epoch: row[epoch]), max(row)
    return f"IPC {ipc}: epoch {best} {row[best]:g} %, epoch {last} {row[last]:g} % ({GRID})"


def best_epochs(published: Published) -> str:
    """The best expert epoch by IPC, of Table 7 and of the reproduction."""
    told = [
        f"{model}: {_by_ipc(of, lambda row: f'epoch {row[2]}')} (Table 7)"
        for model, of in published.table7.items()
    ]
    if published.grid:
        best = _by_ipc(published.grid, lambda row: f"epoch {max(row, key=lambda e: row[e])}")
        told.append(f"{best} ({GRID})")
    return "; ".join(told)


def other_architectures(published: Published) -> str:
    """Students of another architecture than the expert's."""
    return _rows(published, [n for n in published.rows if "RN18→50" in n or "RN50→18" in n])


def swaps(published: Published) -> str:
    """Shares of the accuracy that are left after swapping the i-th label."""
    told = [
        f"IPC {ipc}: " + ", ".join(f"{share:g} (i = {i})" for i, share in _ends(row).items())
        for ipc, row in published.swap.items()
    ]
    if not told:
        return ""
    return f"share of the accuracy left, {'; '.join(told)} (reproduction, Figure 2a, {READ_OFF})"


def shuffled(published: Published) -> str:
    """Accuracies of soft, hard and shuffled labels."""
    if not published.shuffle:
        return ""
    told = _by_ipc(published.shuffle, lambda of: " / ".join(f"{value:g} %" for value in of))
    return f"soft / hard / shuffled labels: {told} (reproduction, Figure 2b, {READ_OFF})"


def generated(published: Published) -> str:
    """Accuracies of labels with a given mass on the true class."""
    told = [
        f"IPC {ipc}: " + ", ".join(f"{mass:g}: {value:g} %" for mass, value in row.items())
        for ipc, row in published.generated.items()
    ]
    if not told:
        return ""
    return f"by the true class’s mass (1: hard labels), {'; '.join(told)} (reproduction, Figure 3a)"


def noisy(published: Published) -> str:
    """Accuracies without noise and with it in the most samples."""
    told = [
        f"IPC {ipc} {row[min(row)]:g} % without noise, {row[max(row)]:g} % with {100 * alpha:g} % "
        f"of it in {max(row)} % of the samples"
        for (ipc, alpha), row in published.noise.items()
    ]
    if not told:
        return ""
    return (
        f"{'; '.join(told)} (reproduction, Figure 4, {READ_OFF}; the points of 30 and 50 % at IPC "
        "1 come from another expert, which is part of their drop)"
    )


def _ends(row: Mapping[int, float]) -> dict[int, float]:
    """The first two entries and the last."""
    shown = sorted({*sorted(row)[:2], max(row)})
    return {i: row[i] for i in shown}


def _rows(published: Published, names: list[str]) -> str:
    """`DM: IPC 1 11.4 ± 0.3 %, IPC 10 …`, a method after the other."""
    return "; ".join(
        f"{name}: {_by_ipc(published.rows[name], lambda of: f'{of[0]:g} ± {of[1]:g} %')}"
        for name in names
    )


def _by_ipc(of: Mapping[int, T], say: Callable[[T], str]) -> str:
    return ", ".join(f"IPC {ipc} {say(value)}" for ipc, value in of.items())
