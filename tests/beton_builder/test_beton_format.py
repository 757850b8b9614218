"""The written file against an independent parse, for random samples, pages and chunks."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from beton_samples import parse_beton
from hypothesis import given, settings
from hypothesis import strategies as st

from beton_builder import beton_format as form
from beton_builder.beton_reader import BetonFile
from beton_builder.beton_writer import BetonWriter, PageTooSmall, write_fully
from beton_builder.errors import BadOption
from beton_builder.plan import largest_page

SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(1, 3000),
    ),
    min_size=1,
    max_size=40,
)


def write(path: Path, samples: list[tuple[int, int, int, int, bytes]], cuts: list[int]) -> int:
    with BetonWriter(path, num_slots=len(samples) + 2, page_size=form.MIN_PAGE_SIZE) as writer:
        edges = [0, *sorted({cut % len(samples) for cut in cuts} - {0}), len(samples)]
        for first, stop in pairwise(edges):
            modes, heights, widths, labels, payload = zip(*samples[first:stop], strict=True)
            columns = form.SampleColumns(
                np.array(labels, np.int64),
                np.array(modes, np.uint8),
                np.array(heights, np.uint16),
                np.array(widths, np.uint16),
            )
            writer.append(list(payload), columns)
        return writer.finish()


def filled(samples: list[tuple[int, int, int, int, int]]) -> list[tuple[int, int, int, int, bytes]]:
    rng = np.random.default_rng(len(samples))
    return [
        (mode, height, width, label, rng.bytes(height * width * 3 if mode else size))
        for mode, height, width, label, size in samples
    ]


@settings(max_examples=30)
@given(SAMPLES, st.lists(st.integers(0, 100), max_size=3))
def test_a_written_file_parses_back_to_its_samples(
    tmp_path_factory: pytest.TempPathFactory, drawn: list, cuts: list[int]
) -> None:
    path, samples = tmp_path_factory.mktemp("f") / "a.beton", filled(drawn)
    size = write(path, samples, cuts)
    parsed = parse_beton(path)
    assert path.stat().st_size == size
    assert [sample[:5] for sample in parsed["samples"]] == samples
    assert (parsed["version"], parsed["types"]) == (2, [2, 1])
    assert parsed["names"] == ["image", "label"]
    assert parsed["num_allocations"] == len(samples)


@settings(max_examples=30)
@given(SAMPLES, st.lists(st.integers(0, 100), max_size=3))
def test_the_bytes_do_not_depend_on_how_samples_are_cut_into_chunks(
    tmp_path_factory: pytest.TempPathFactory, drawn: list, cuts: list[int]
) -> None:
    folder, samples = tmp_path_factory.mktemp("f"), filled(drawn)
    write(folder / "one", samples, [])
    write(folder / "many", samples, cuts)
    assert (folder / "one").read_bytes() == (folder / "many").read_bytes()


@settings(max_examples=30)
@given(SAMPLES)
def test_our_reader_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, drawn: list
) -> None:
    path, samples = tmp_path_factory.mktemp("f") / "a.beton", filled(drawn)
    write(path, samples, [])
    with BetonFile(path) as file:
        found = zip(file.modes, file.heights, file.widths, file.labels, strict=True)
        assert [tuple(map(int, sample)) for sample in found] == [sample[:4] for sample in samples]
        assert [bytes(file.payload(i)) for i in range(len(file))] == [s[4] for s in samples]


@given(
    st.lists(st.integers(1, 1 << 21), min_size=1, max_size=30),
    st.integers(0, 1 << 23),
)
def test_no_sample_crosses_a_page_and_none_overlap(sizes: list[int], cursor: int) -> None:
    page, end = 1 << 21, cursor
    placed = list(form.place(np.array(sizes, np.uint64), cursor, page))
    assert [i for first, stop, _ in placed for i in range(first, stop)] == list(range(len(sizes)))
    for first, stop, pointer in placed:
        assert pointer >= end
        for size in sizes[first:stop]:
            assert pointer // page == (pointer + size - 1) // page
            pointer += size
        end = pointer


def test_a_sample_larger_than_the_page_asks_for_a_larger_page(tmp_path: Path) -> None:
    too_large = [(0, 1, 1, 0, bytes(form.MIN_PAGE_SIZE + 1))]
    with pytest.raises(PageTooSmall) as caught:
        write(tmp_path / "a", too_large, [])
    assert caught.value.needed == form.MIN_PAGE_SIZE + 1
    assert largest_page(caught.value.needed) == form.DEFAULT_PAGE_SIZE
    assert largest_page(form.DEFAULT_PAGE_SIZE + 1) == 2 * form.DEFAULT_PAGE_SIZE


def test_a_sample_beyond_the_largest_page_is_refused() -> None:
    with pytest.raises(BadOption, match="does not fit the format's largest page"):
        largest_page(form.MAX_PAGE_SIZE + 1)


def test_short_writes_of_the_kernel_are_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, views, at: real(fd, [views[0][:3]], at))
    with (tmp_path / "a").open("wb") as file:
        write_fully(file.fileno(), [b"abcde", b"", b"fghij", b"k"], 2)
    assert (tmp_path / "a").read_bytes() == b"\0\0abcdefghijk"
