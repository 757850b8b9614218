"""The fragment as text: escaped, bounded, repeatable; and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from explorer_cases import build_dataset, build_store, data_of

from engine.errors import ArtefactError, MismatchError, UsageError
from engine.report.explorer import explorer_fragment
from labelstore import create_store

EVIL = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "a & b",
    "<!--<script>",
    "\u2028line",
)


def test_the_same_labels_give_the_same_bytes(data, store):
    assert explorer_fragment(data, store) == explorer_fragment(data.path, store.path)


def test_names_are_shown_as_text_never_as_markup(data, tmp_path):
    evil = replace(data, classes=EVIL, superclasses=EVIL[:2], superclass_of=(0, 1, 0, 1, 0, 1))
    fragment = explorer_fragment(evil, build_store(evil, tmp_path / "labels.zarr"))
    assert fragment.count("<script") == fragment.count("</script") == 2
    assert "<img src=x" not in fragment
    assert "<!--" not in fragment
    (text,) = re.findall(r'<script type="application/json".*?</script>', fragment, re.DOTALL)
    assert '" onload=' not in fragment.replace(text, "")
    assert data_of(fragment)["classes"] == list(EVIL)


def test_the_fragment_needs_no_network(data, store):
    fragment = explorer_fragment(data, store)
    assert not re.search(r'(src|href)="(?!data:|#)', fragment)
    assert not re.search(r"url\(|@import|fetch\(|eval\(|innerHTML", fragment)


def test_a_hundred_classes_and_42_epochs_stay_below_one_and_a_half_megabytes(tmp_path):
    data = build_dataset(tmp_path, num_classes=100, per_class=3, side=32)
    store = build_store(data, tmp_path / "labels.zarr", epochs=range(42))
    fragment = explorer_fragment(data, store)
    assert len(data_of(fragment)["images"]) == 60
    assert 800_000 < len(fragment.encode()) < 1_500_000


def test_the_page_says_how_many_labels_a_mean_is_of(data, store):
    assert "over 9 images of each class, evenly chosen" in explorer_fragment(data, store)
    fewer = explorer_fragment(data, store, labels_per_class=4)
    assert "over 4 images of each class, evenly chosen" in fewer


def test_of_several_experts_one_is_shown_and_named(data, tmp_path):
    store = build_store(data, tmp_path / "labels.zarr", epochs=(1,), experts=("b", "a"))
    assert "those of a (one of 2 experts), at temperature 1" in explorer_fragment(data, store)
    named = explorer_fragment(data, store, expert="b")
    assert "those of b (one of 2 experts)" in named
    assert data_of(named)["entropy"] != data_of(explorer_fragment(data, store))["entropy"]


def test_labels_of_another_dataset_are_refused(data, store):
    with pytest.raises(MismatchError, match=rf"{data.id}.*anotherid"):
        explorer_fragment(replace(data, id="anotherid"), store)
    with pytest.raises(MismatchError):
        explorer_fragment(replace(data, classes=data.classes[::-1]), store)


def test_epochs_that_are_not_there_are_named_with_the_command(data, store):
    with pytest.raises(UsageError, match=r"\[7\].*\[0, 3, 10\].*engine dump-labels .*--epochs 7"):
        explorer_fragment(data, store, epochs=[3, 7])
    with pytest.raises(UsageError, match="at least one expert epoch"):
        explorer_fragment(data, store, epochs=[])


def test_a_store_without_a_complete_epoch_has_nothing_to_explore(data, tmp_path):
    empty = create_store(
        tmp_path / "s.zarr", dataset_id=data.id, classes=data.classes, num_samples=54
    )
    empty.add_view("expert", "plain", identity={})
    with pytest.raises(ArtefactError, match="engine dump-labels"):
        explorer_fragment(data, empty)


@pytest.mark.parametrize("ids", [[], [54], [-1]])
def test_images_that_do_not_exist_are_refused(data, store, ids):
    with pytest.raises(UsageError, match="sample_ids: expected ids from 0 to 53"):
        explorer_fragment(data, store, sample_ids=ids)


@pytest.mark.parametrize("name", ["max_images", "images_per_class", "labels_per_class"])
def test_counts_below_one_are_refused(data, store, name):
    with pytest.raises(UsageError, match=f"{name}: expected at least 1, found 0"):
        explorer_fragment(data, store, **{name: 0})


def test_importing_the_room_imports_no_heavy_library():
    code = (
        "import sys, engine.report.explorer; "
        "print({'torch', 'scipy', 'numpy', 'jinja2', 'zarr'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
