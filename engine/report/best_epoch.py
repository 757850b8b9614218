"""The best expert epoch by IPC, as a table, as rows and as a sentence that says what it shows."""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis.best_epoch import BestEpoch, best_epochs, best_epochs_among, judge_growth
from engine.analysis.grid import Panel
from engine.report import numbers
from engine.report.entries import Entry, Table, accuracy_entry
from engine.report.experiments.evidence import Evidence, of_first_expert
from engine.report.tables import Row, trial_ids

MOST_NAMED = 8  # IPCs in a sentence; the table has all
_NO_SCATTER = "fewer than two seeds in common, so the scatter is not known"


def best_epoch_view(panel: Panel) -> Table | None:
    """A row per IPC: the best expert epoch and how sure it is; None where there was no choice."""
    found = best_epochs(panel)
    if not found:
        return None
    rows = []
    for each in found:
        contest = each.contest
        marked = "*" if each.choice.chosen_on == "test" else ""
        rows.append(
            (
                Entry(text=str(each.ipc)),
                Entry(
                    text=f"{each.epoch}{marked}",
                    style="best",
                    title=f"chosen on {each.choice.chosen_on}",
                ),
                Entry(
                    text=f"{contest.wins} of {contest.blocks}" if contest.blocks else "",
                    title="runs of equal seeds in which no other epoch did better",
                ),
                Entry(
                    text=numbers.NOT_MEASURED
                    if contest.plausible is None
                    else epoch_spans(contest.plausible, each.compared),
                    title=_NO_SCATTER
                    if contest.plausible is None
                    else "epochs that can’t be ruled out as the best",
                ),
                accuracy_entry(each.choice.cell, "final"),
                Entry(
                    text=_compared(each),
                    title=f"measured: {', '.join(map(str, each.compared))}",
                ),
            )
        )
    return Table(
        title="Best expert epoch by IPC",
        columns=(
            "IPC",
            "best expert epoch",
            "best in seeds",
            "may be best (95 %)",
            "its test accuracy, final epoch",
            "epochs compared",
        ),
        rows=tuple(rows),
        legend=(
            "Chosen on validation images; the test accuracy beside it had no say in the choice."
            if all(each.choice.chosen_on == "validation" for each in found)
            else "* Chosen on test, for want of validation images: optimistic.",
            "May be best: the epochs that the seeds can’t rule out as the best at 95 % (multiple "
            "comparisons with the best over runs of equal seeds, scatter pooled over the epochs"
            + ("; the rows hold together). " if len(found) > 1 else "). ")
            + "This is about seeds: another expert or other validation images may differ more.",
            *(
                [f"{numbers.NOT_MEASURED}: {_NO_SCATTER}."]
                if any(each.contest.plausible is None for each in found)
                else []
            ),
        ),
    )


def best_epoch_rows(panels: Sequence[Panel]) -> list[Row]:
    """The same as flat rows; epochs that may be best, and those compared, as texts of numbers."""
    return [
        {
            **panel.axes,
            "ipc": each.ipc,
            "best_expert_epoch": each.epoch,
            "chosen_on": each.choice.chosen_on,
            "chosen_by": each.choice.measure,
            "seeds_won": each.contest.wins,
            "seeds_compared": each.contest.blocks,
            "may_be_best_95": _listing(each.contest.plausible),
            "epochs_compared": _listing(each.compared),
            "epochs_lacking_runs": _listing(each.owed),
            "final_test_mean": summary.mean if summary else None,
            "trials": " ".join(
                trial_ids(cell.trials)
                for cell in panel.soft_cells(each.ipc)
                if cell.expert_epoch in each.compared
            ),
        }
        for panel in panels
        for each in best_epochs(panel)
        for summary in [each.choice.cell.summary("final")]
    ]


def best_epochs_of(evidence: Evidence) -> list[BestEpoch]:
    """The best epoch of the first expert at every IPC, plain soft labels of the main student."""
    plain = {ipc: of_first_expert(evidence.plain_soft(ipc)) for ipc in evidence.ipcs}
    return best_epochs_among({ipc: [each.cell for each in of] for ipc, of in plain.items()})


def growth_sentences(panel: Panel) -> list[str]:
    """Whether the best expert epoch grows with IPC, on what evidence, and what to beware of.

    Nothing with fewer than two IPCs at which several epochs were measured.
    """
    found = best_epochs(panel)
    growth = judge_growth(found)
    if growth is None:
        return []
    shown = found if len(found) <= MOST_NAMED else [found[0], found[-1]]
    at = (", " if shown is found else " … ").join(f"{e.epoch} at IPC {e.ipc}" for e in shown)
    words = {
        "grows": f"grows with IPC: {at}",
        "falls": f"falls as IPC grows: {at}",
        "mixed": f"does not grow steadily with IPC: {at}",
        "equal": f"does not grow with IPC: it is {found[0].epoch} from IPC {found[0].ipc} to IPC "
        f"{found[-1].ipc}",
    }
    owing = [ipc for ipc in panel.ipcs if any(cell.missing for cell in panel.soft_cells(ipc))]
    when = "So far" if owing else "In these data"
    return [
        f"{when} the best expert epoch {words[growth.direction]}.",
        *how_sure(found),
        *_caveats(found, growth.same_epochs, owing),
    ]


def how_sure(found: Sequence[BestEpoch]) -> list[str]:
    """Between which IPCs the seeds establish that the best epoch differs; nothing of one IPC."""
    growth = judge_growth(found)
    if growth is None:
        return []
    if any(each.contest.plausible is None for each in found):
        single = all(each.is_of_single_runs for each in found)
        lack = "Every cell has one run" if single else "Some epochs share fewer than two seeds"
        return [f"{lack}, so how much of this is chance is not known."]
    by_ipc = {each.ipc: each for each in found}
    sentences = []
    for pairs, word in (growth.rises, "rise"), (growth.falls, "fall"):
        if pairs:
            # The widest apart says most; the others follow from the table.
            small, large = max(pairs, key=lambda pair: pair[1] / pair[0])
            sentences.append(established(by_ipc[small], by_ipc[large], word))
    if not sentences:
        seeds = sorted({each.contest.blocks for each in found})
        count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        sentences.append(
            f"The {count} seeds do not establish that the best epoch differs between any two IPCs "
            "(at 95 %)."
        )
    return sentences


def established(small: BestEpoch, large: BestEpoch, word: str) -> str:
    """That the best epoch of the larger IPC is surely another one: a rise, or a fall."""
    spans = [f"at IPC {e.ipc} only {plausible_epochs(e)} may be the best" for e in (small, large)]
    return (
        f"The seeds establish a {word} from IPC {small.ipc} to IPC {large.ipc} at 95 %: "
        f"{', '.join(spans)}."
    )


def _caveats(found: Sequence[BestEpoch], same_epochs: bool, owing: Sequence[int]) -> list[str]:
    caveats = []
    for ipcs, which, where in (
        ([each.ipc for each in found if each.is_last], "last", "later"),
        ([each.ipc for each in found if each.is_first and each.epoch > 0], "first", "earlier"),
    ):
        if ipcs:
            caveats.append(
                f"At {_ipcs(ipcs)} it is the {which} epoch compared: the true best may be {where}."
            )
    if not same_epochs:
        caveats.append(
            "Not every IPC had the same epochs to choose from, which alone can move the best one."
        )
    if owing:
        caveats.append(f"Runs are missing at {_ipcs(owing)}: this may change.")
    return caveats


def epoch_spans(epochs: Sequence[int], of: Sequence[int]) -> str:
    """Some of an ascending list in short: (4, 7, 10, 41) of (4, 7, 10, 24, 41) is "4–10, 41"."""
    spans: list[list[int]] = []
    for place, epoch in enumerate(of):
        if epoch in epochs:
            if spans and place and of[place - 1] == spans[-1][-1]:
                spans[-1].append(epoch)
            else:
                spans.append([epoch])
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}–{s[-1]}" for s in spans)


def _ipcs(ipcs: Sequence[int]) -> str:
    if len(ipcs) > MOST_NAMED:
        return f"{len(ipcs)} IPCs from {ipcs[0]} to {ipcs[-1]}"
    return f"IPC {numbers.listed([str(ipc) for ipc in ipcs])}"


def plausible_epochs(each: BestEpoch) -> str:
    """ "epochs 4–7, 15": those that can't be ruled out as the best."""
    plausible = each.contest.plausible or ()
    noun = "epoch" if len(plausible) == 1 else "epochs"
    return f"{noun} {epoch_spans(plausible, each.compared)}"


def _compared(each: BestEpoch) -> str:
    whole = len(set(each.compared) | set(each.owed))
    count = len(each.compared)
    of = f" of {whole}" if whole > count else ""
    return f"{count}{of} ({each.compared[0]}–{each.compared[-1]})"


def _listing(epochs: Sequence[int] | None) -> str | None:
    return None if epochs is None else " ".join(map(str, epochs))
