"""Which pictures experiments have, and that none hides a condition behind another."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_every_experiment import CLASSES, SOFT, everything, plain, student
from report_findings import found_by, lines_of, results_of, rows_of
from report_others import evaluation, learned
from report_synthetic_sweep import grid, trial
from report_words import words_of

from engine.report.experiments.evidence import evidence_of
from engine.report.experiments.registry import EXPERIMENTS, run_experiments

OTHER = "cifar100-d3-s1"
USUAL = student(augmentation="dsa")


def texts_of(picture):
    """Every text within the axes of a drawn figure, and under its title."""
    figure = picture.draw()
    FigureCanvasAgg(figure).draw()
    inside = [t.get_text() for axes in figure.axes for t in axes.texts]
    return inside, " ".join(text.get_text() for text in figure.texts[1:])


def bars_of(picture):
    """Heights of a figure's bars by the name of their group, from left to right."""
    axes = picture.draw().axes[0]
    names = [label.get_text().replace("\n", ", ") for label in axes.get_xticklabels()]
    found = {name: [] for name in names}
    for bar in sorted(axes.patches, key=lambda bar: bar.get_x()):
        found[names[round(bar.get_x() + bar.get_width() / 2)]].append(bar.get_height())
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("temperature", {"cell": {"temperature": 4.0}, "student": USUAL}),
        ("cutmix", {"student": student(augmentation="cutmix")}),
        ("students", {"student": student(augmentation="dsa", model="resnet18")}),
    ],
)
def test_what_was_asked_for_and_did_not_run_has_no_picture(name, options):
    asked = grid({(10, 13): 0.2, (1, 13): 0.1}, **options)
    usual = [{**record, "student": USUAL} for record in plain()]
    finding = found_by(name, usual, asked=[*usual, *asked])
    assert not finding.pictures
    assert finding.sentences == ("No such run is finished.",)
    (picture,) = found_by(name, [*usual, *asked[:3]], asked=[*usual, *asked]).pictures
    # IPC 1, whose runs are missing, would be its baseline alone.
    words = {word for text, _ in words_of(picture.draw()) for word in text.split(" | ")}
    assert "IPC 10" in words
    assert "IPC 1" not in words


def test_where_published_points_are_drawn_the_figure_says_how_the_students_differ(all_found):
    told = {}
    for finding in all_found.values():
        for picture in finding.pictures:
            figure = picture.draw()
            keys = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
            if any(key.startswith("published") for key in keys):
                told[picture.name] = " ".join(text.get_text() for text in figure.texts[1:])
    assert set(told) == {
        *("baseline", "accuracy_over_expert_accuracy", "accuracy_over_label_entropy"),
        *("expert_epoch_published", "swap_ith", "shuffle_tail", "generated"),
        "noise_lowest_entropy",
    }
    theirs = dict.fromkeys(told, "max on test") | {"generated": "final epoch"}
    ours = dict.fromkeys(told, "final epoch") | {"baseline": "max on test"}
    for name, text in told.items():
        assert f"ours: students of 3,000 epochs, {ours[name]}" in text
        assert f"published: students of 3,000 epochs, {theirs[name]}" in text
        assert "n = " in text or name == "expert_epoch_published"


def test_our_students_length_is_named_where_it_is_not_the_published_one():
    short = [{**record, "student": student(epochs=300)} for record in plain()]
    (_, picture) = found_by("pareto", short).pictures
    assert (
        "ours: students of 300 epochs, final epoch; published: students of 3,000"
        in (texts_of(picture)[1])
    )
    assert "published" not in texts_of(found_by("pareto", short, name="flowers").pictures[0])[1]


def test_the_papers_choice_on_test_is_named_beside_the_published_accuracy():
    finding = found_by("baseline", plain())
    assert "here (max on test, epoch 41 chosen on test too), 34.3" in finding.sentences[1]
    alone = found_by("baseline", grid({(10, 13): 0.2, (10, None): 0.1}))
    assert "here (max on test, epoch 13), 34.3" in alone.sentences[0]


def test_students_as_long_as_the_published_stand_beside_them_where_the_main_ones_are_shorter():
    short = [{**record, "student": student(epochs=300)} for record in plain()]
    others = [
        ((10, 13), {}, 0.30),
        ((10, 41), {}, 0.33),
        ((10, 41), {"model": "resnet18"}, 0.44),
        ((10, 41), {"augmentation": "cutmix"}, 0.45),
        ((10, 41), {"epochs": 1000}, 0.46),
        ((10, None), {}, 0.2),
    ]
    long = [
        {**record, "student": student(**settings)}
        for place, settings, value in others
        for record in grid({place: value}, (0, 1))
    ]
    finding = found_by("baseline", [*short, *long])
    assert "Students of 3,000 epochs at IPC 10 reach 33.1" in finding.sentences[-1]
    assert "expert epoch 41, n = 2" in finding.sentences[-1]
    told = {row["ipc"]: row["as_long_max_on_test_mean"] for row in rows_of(finding, "published")}
    assert float(told.pop("10")) == pytest.approx(0.331)
    assert set(told.values()) == {""}
    assert "ours: students of 300–3,000 epochs" in texts_of(finding.pictures[0])[1]
    assert lines_of(finding.pictures[0])["ours-as-long"] == ([10], [pytest.approx(33.1)])
    assert "ours-as-long" not in lines_of(found_by("baseline", plain()).pictures[0])


def two_experts():
    """Softened labels of two experts, whose students differ by ten points."""
    records = grid({(10, e): SOFT[10, e] + 0.1 for e in (4, 13)}, cell={"expert": OTHER})
    for expert, more in ("cifar100-d3-s0", 0.0), (OTHER, 0.1):
        for epoch in (4, 13):
            cell = {"temperature": 4.0, "expert": expert}
            records += grid({(10, epoch): 0.15 + 0.001 * epoch + more}, cell=cell)
    return [*plain(), *records]


def test_every_experts_temperatures_have_a_map_of_their_own():
    finding = found_by("temperature", two_experts())
    assert len(finding.sentences) == 2
    first, other = finding.sentences
    assert first.startswith("At IPC 10, expert cifar100-d3-s0, the best of the 4 cells")
    assert other.startswith(f"At IPC 10, expert {OTHER}, the best of the 4 cells")
    maps = [texts_of(picture) for picture in finding.pictures]
    own = [100 * SOFT[10, epoch] + 0.2 for epoch in (4, 13)]  # 0.2: the mean over three seeds
    assert [sorted(map(float, inside)) for inside, _ in maps] == [
        pytest.approx([15.6, 16.5, *own]),
        pytest.approx([25.6, 26.5, *(each + 10 for each in own)]),
    ]
    assert f"expert {OTHER}" in maps[1][1]


def test_students_of_one_place_are_told_apart_in_the_split_of_variance():
    records = [*plain(), *grid({(10, 13): SOFT[10, 13]}, cell={"expert": OTHER})]
    for expert, accuracy in ("cifar100-d3-s0", 0.30), (OTHER, 0.40):
        records += grid(
            {(10, 13): accuracy}, cell={"expert": expert}, student=student(model="resnet18")
        )
    finding = found_by("robustness", records)
    rows = rows_of(finding, "variance_split")
    assert {row["student.model"] for row in rows} == {"convnet-d3", "resnet18"}
    assert "student model" in finding.tables[0].view.columns
    (picture,) = finding.pictures
    # The experts of the main students do not differ, those of the other ones by ten points.
    assert bars_of(picture)["IPC 10, epoch 13"][0] < 1
    assert "1 of 2 cells, of the main students" in texts_of(picture)[1]


def test_cells_beyond_those_drawn_of_the_split_of_variance_are_said_to_be():
    cells = {(ipc, epoch): 0.1 for ipc in (1, 5, 10, 50) for epoch in (4, 13, 41)}
    records = [r for name in ("a", "b") for r in grid(cells, cell={"expert": name})]
    (picture,) = found_by("robustness", records).pictures
    assert len(bars_of(picture)) == 8
    assert "8 of 12 cells" in texts_of(picture)[1]


def test_every_expert_epoch_of_a_class_taken_away_has_its_bars():
    def scored(epoch, on_it, **cell):
        kept = [0.3] * CLASSES
        kept[7] = on_it
        return [trial(10, epoch, 0.2, seed=seed, per_class=kept, cell=cell) for seed in (0, 1, 2)]

    records = [
        *scored(4, 0.5),
        *scored(13, 0.6),
        *scored(4, 0.1, selection="drop-class:7"),
        *scored(13, 0.2, selection="drop-class:7"),
        *scored(13, 0.9, expert=OTHER),
        *scored(13, 0.8, selection="drop-class:7", expert=OTHER),
        *scored(None, 0.0, selection="drop-class:7"),
    ]
    (picture,) = found_by("zero-shot", records).pictures
    assert bars_of(picture) == {
        "class 7, epoch 4": pytest.approx([50, 10, 0]),
        "class 7, epoch 13": pytest.approx([60, 20, 0]),
    }
    under = texts_of(picture)[1]
    assert "over n = 3 runs" in under
    assert "the table has further cells" in under


def without(records, *splits):
    """The same trials of a dataset that lacks these splits."""
    for record in records:
        result = record["result"]
        for name in ("final", "selected"):
            result[name] = {**result[name], **dict.fromkeys(splits)}
        if "test" in splits:
            result["max_on_test"] = None
    return records


@pytest.mark.parametrize("splits", [["test"], ["test", "validation"]])
def test_every_picture_draws_whatever_was_not_measured(splits):
    of = ("final", "validation") if splits == ["test"] else ("final", "test")
    nowhere = {"final": (), "selected": (), "max_on_test": ()}
    results = results_of(without(everything(), *splits), name="flowers")
    found = run_experiments(evidence_of(results, of, evaluated=(evaluation(accuracies=nowhere),)))
    for experiment, finding in found:
        for picture in finding.pictures:
            FigureCanvasAgg(picture.draw()).draw()
        if experiment.name in ("baseline", *(["temperature"] if len(splits) > 1 else [])):
            assert not finding.pictures


def test_learned_labels_of_one_ipc_have_lines_of_other_names():
    pair = [
        learned(id=str(number) * 16, path=Path(f"learned/ipc-1-{initial}"))
        for number, initial in enumerate(("hard", "uniform"))
    ]
    (one,) = [each for each in EXPERIMENTS if each.name == "learned-labels"]
    results = results_of(plain())
    for group, names in (pair, {"ipc-1-hard", "ipc-1-uniform"}), (pair[:1], {"IPC 1"}):
        finding = one.find(evidence_of(results, ("final", "test"), learned=tuple(group)))
        assert len(finding.pictures) == 2
        for picture in finding.pictures:
            assert names <= set(texts_of(picture)[0])
