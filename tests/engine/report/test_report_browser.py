"""A whole report opened in a real browser: nothing is fetched, nothing fails."""

from __future__ import annotations

import numpy as np
from explorer_cases import build_dataset, build_store
from report_synthetic_sweep import grid, trial, write_sweep

from engine.experiments import select_random
from engine.report import write_report

ACCURACIES = {(i, e): 0.1 + 0.01 * i + 0.001 * (e or 0) for i in (1, 10) for e in (5, 13, None)}


def test_a_report_opens_without_network_and_without_errors(browser, tmp_path):
    write_report([write_sweep(tmp_path / "sweep", grid(ACCURACIES))], tmp_path / "report")
    document = browser.open(tmp_path / "report" / "index.html")
    assert document.problems == ()
    assert "Soft labels on cifar100" in document.text


def test_a_report_holds_the_label_explorer_of_its_dataset(browser, tmp_path):
    data = build_dataset(tmp_path, per_class=12)
    store = build_store(data, tmp_path / "labels.zarr")
    named = {"id": data.id, "name": "noise", "classes": list(data.classes), "num_classes": 6}
    parents = {"dataset": data.id, "store": store.id, "checkpoints": []}
    sweep = write_sweep(tmp_path / "sweep", grid(ACCURACIES, parents=parents), dataset=named)
    write_report([sweep], tmp_path / "report", data=data.path, labels=store.path)
    candidates = np.setdiff1d(np.arange(72), data.validation_indices)
    seen = select_random(np.repeat(np.arange(6), 12), candidates, 10, 0, data.classes)
    sample = int(seen[11])
    document = browser.open(tmp_path / "report" / "index.html", f"image={sample}&epoch=3")
    assert document.problems == ()
    assert document.inner("le-true") == f"class-001, sample {sample}"
    likeliest = data.classes[store.view().probabilities(3, [sample])[0].argmax()]
    assert document.items("le-now")[0].startswith(likeliest)


def test_names_that_are_markup_run_nothing(browser, tmp_path):
    evil = "<script>console.error(1)</script><img src=x onerror=console.error(2)>"
    records = [trial(1, 5, 0.1, cell={"expert": evil}, environment={"machine": evil})]
    sweep = write_sweep(tmp_path / "s", records, dataset={"name": evil, "classes": [evil]})
    write_report([sweep], tmp_path / "report")
    document = browser.open(tmp_path / "report" / "index.html")
    assert document.problems == ()
    assert "&lt;img src=x onerror" in document.text


def test_the_watch_sees_what_it_is_there_to_see(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><html><head></head><body><img src='http://localhost:9/x.png'>"
        "<img src='beside.png'><script>nothing.there</script></body></html>"
    )
    problems = "\n".join(browser.open(page).problems)
    for expected in ("refused: http://localhost:9/x.png", "beside.png", "nothing is not defined"):
        assert expected in problems


def test_the_page_itself_refuses_what_is_not_in_it(browser, tmp_path):
    write_report([write_sweep(tmp_path / "sweep", grid(ACCURACIES))], tmp_path / "report")
    page = tmp_path / "report" / "index.html"
    beside = (tmp_path / "report" / "figures" / "accuracy_over_ipc.png").resolve().as_uri()
    foreign = f"<img src='{beside}'><img src='http://localhost:9/x.png'><script>nothing</script>"
    page.write_text(page.read_text("utf-8").replace("</main>", f"{foreign}</main>"), "utf-8")
    problems = "\n".join(browser.open(page, policy="").problems)
    for expected in ("refused: file", "refused: http://localhost:9/x.png", "refused: inline"):
        assert expected in problems
    assert "nothing is not defined" not in problems
