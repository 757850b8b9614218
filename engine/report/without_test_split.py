"""What a report has to say where a dataset has no test split: of which images accuracies are."""

from __future__ import annotations

from engine.report.sweeps import Results

IN_SHORT = "On validation images, for want of a test split."


def caveat(results: Results) -> str:
    """Of which images the accuracies are, and who has seen them; empty with a test split."""
    if not lacks_test_split(results):
        return ""
    count = "" if results.num_validation is None else f"{results.num_validation:,} "
    seen = {
        True: "; no expert was trained on them",
        False: "; an expert was trained on them, too",
        None: "; whether an expert was trained on them is not recorded",
    }[results.held_out]
    return (
        f"No test split: accuracies are of the {count}validation images that also chose the expert "
        f"epoch{seen if results.experts else ''}."
    )


def lacks_test_split(results: Results) -> bool:
    """Whether something was measured, and nothing on test."""
    done = [trial for trial in results.trials if trial.done]
    return bool(done) and all(each.test.get("final") is None for each in done)
