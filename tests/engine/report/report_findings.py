"""What the experiments find in synthetic records, for the tests of experiments."""

from __future__ import annotations

import csv
import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_every_experiment import experts
from report_synthetic_sweep import asked_of

from engine.analysis import parse_trial
from engine.report import textual
from engine.report.experiments.evidence import evidence_of
from engine.report.experiments.registry import EXPERIMENTS, run_experiments
from engine.report.sweeps import ExpertEpoch, Results


def results_of(records, *, asked=(), name="cifar100", classes=()):
    return Results(
        dataset_id="d" * 16,
        dataset_name=name,
        num_classes=100,
        sweeps=("s",),
        experts=tuple(
            ExpertEpoch(expert=each["name"], run_id=each["run_id"], epoch=int(epoch), **about)
            for each in experts()
            for epoch, about in each["epochs"].items()
        ),
        trials=tuple(parse_trial(record) for record in records),
        asked=tuple(asked_of(asked)),
        notes=(),
        classes=tuple(classes),
    )


def evidence(records, **options):
    return evidence_of(results_of(records, **options), ("final", "test"))


def found_in(records, **options):
    """Findings by the experiment's name."""
    return {each.name: finding for each, finding in run_experiments(evidence(records, **options))}


def found_by(experiment, records, **options):
    """What one experiment finds, without the time that all others take."""
    (one,) = [each for each in EXPERIMENTS if each.name == experiment]
    return one.find(evidence(records, **options))


def rows_of(finding, table):
    (found,) = [each for each in finding.tables if each.name == table]
    return list(csv.DictReader(io.StringIO(textual.to_csv(found.rows))))


def lines_of(picture):
    """The drawn figure's lines by gid."""
    figure = picture.draw()
    FigureCanvasAgg(figure).draw()
    return {
        line.get_gid(): (list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.lines
        if line.get_gid()
    }
