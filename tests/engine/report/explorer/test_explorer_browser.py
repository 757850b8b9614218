"""The explorer in a real browser: what one sees is what the store holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from explorer_cases import build_store, softmax, write_page

from engine.report.explorer import explorer_fragment


@pytest.fixture(scope="module")
def page(data, store, tmp_path_factory):
    fragment = explorer_fragment(data, store)
    return write_page(fragment, tmp_path_factory.mktemp("page") / "explorer.html")


def top_five(store, sample, epoch):
    labels = softmax(store.view().read(epoch, [sample]))[0]
    texts = []
    for c in np.argsort(-labels)[:5]:
        mark = " ✓" if c == sample // 9 else ""
        digits = 2 if labels[c] < 0.01 else 1
        texts.append(f"{store.classes[c]}{mark} {100 * labels[c]:.{digits}f} %")
    return texts


@pytest.mark.parametrize(("sample", "epoch"), [(17, 0), (17, 10), (40, 3)])
def test_the_top_five_of_the_chosen_image_and_epoch_are_shown(browser, page, store, sample, epoch):
    document = browser.open(page, f"image={sample}&epoch={epoch}")
    assert document.problems == ()
    assert document.items("le-now") == top_five(store, sample, epoch)
    assert document.inner("le-epoch") == str(epoch)
    facts = document.inner("le-facts")
    assert f"entropy {store.view().entropy(epoch, [sample])[0]:.2f} nats" in facts


def test_a_pinned_epoch_is_shown_beside_the_chosen_one(browser, page, store):
    document = browser.open(page, "image=40&epoch=3&pin=10")
    assert document.items("le-now") == top_five(store, 40, 3)
    assert document.items("le-pinned") == top_five(store, 40, 10)


def test_without_an_address_the_last_epoch_of_the_first_image_is_shown(browser, page, store):
    document = browser.open(page)
    assert document.problems == ()
    assert document.inner("le-epoch") == "10"
    assert "test accuracy 50.0 %" in document.inner("le-expert")


MOVES = """<script>addEventListener("load", () => {
const find = (selector) => document.querySelector(selector);
const slider = find(".le-slider");
slider.value = 1; slider.dispatchEvent(new Event("input"));
find("[data-image='40']").click();
find(".le-pin").click();
const matrix = find(".le-cells canvas"), box = matrix.getBoundingClientRect();
const at = (share) => ({ clientX: box.left + share * box.width, clientY: box.top + 1 });
matrix.dispatchEvent(new PointerEvent("pointermove", at(0.99)));
document.documentElement.dataset.hash = location.hash;
});</script></body>"""


def test_slider_images_pin_and_matrix_react(browser, page, store, data):
    moved = page.with_name("moved.html")
    moved.write_text(page.read_text("utf-8").replace("</body>", MOVES), "utf-8")
    document = browser.open(moved)
    assert document.problems == ()
    assert 'data-hash="#image=40&amp;epoch=3&amp;pin=3"' in document.text
    assert document.items("le-now") == document.items("le-pinned") == top_five(store, 40, 3)
    readout = document.inner("le-readout")
    labels = softmax(store.view().read(3, np.arange(54))).reshape(6, 9, 6).mean(1)
    row, column = (readout.split(":")[0].split(" → ")[i] for i in (0, 1))
    mean = labels[data.classes.index(row), data.classes.index(column)]
    shown = float(readout.split(": ")[1].split(" %")[0])
    assert abs(shown / 100 - mean) < 0.002


def test_names_that_are_markup_run_nothing(browser, data, tmp_path):
    evil = "</script><script>console.error(1)</script><img src=x onerror=console.error(2)>"
    named = replace(data, classes=(evil, *data.classes[1:]))
    fragment = explorer_fragment(named, build_store(named, tmp_path / "labels.zarr"))
    document = browser.open(write_page(fragment, tmp_path / "evil.html"), "image=0&epoch=3")
    assert document.problems == ()
    assert document.inner("le-true").startswith(evil)


def test_a_browser_that_fails_says_so_on_the_page(browser, page):
    broken = page.with_name("broken.html")
    broken.write_text(page.read_text("utf-8").replace('"records":"', '"records":"!'), "utf-8")
    document = browser.open(broken)
    assert "The explorer can’t run in this browser" in document.inner("le-failure")
    assert document.problems


def test_where_scripts_do_not_run_the_page_says_what_is_missing(browser, page):
    still = page.with_name("still.html")
    policy = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    still.write_text(page.read_text("utf-8").replace("<title>", policy + "<title>"), "utf-8")
    document = browser.open(still)
    assert document.problems == ("refused: inline",)
    assert "The explorer needs JavaScript" in document.inner("le-missing")
    assert document.text.count("<img") == 55
    assert document.text.count("<polyline") == 1
