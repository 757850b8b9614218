"""Every label transform against a computation row by row, class by class, in plain Python."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from label_transform_cases import (
    NUM_CLASSES,
    POPULATION,
    SUPERCLASS_OF,
    among_the_given,
    of_the_population,
    probabilities,
    row_by_row,
    samples,
    seeds,
    softened,
    truncated,
)

from engine.experiments import Samples, label_transform_forms, parse_label_transform

CLASSES = range(NUM_CLASSES)
Row = list[float]


def drawn(what: str, seed: int, counter: int, count: int = NUM_CLASSES) -> Row:
    """numpy's own Philox, four numbers a block."""
    key = np.array([(zlib.crc32(f"label {what}".encode()) << 32) | seed, 0], dtype=np.uint64)
    numbers: Row = []
    for block in range(math.ceil(count / 4)):
        generator = np.random.Generator(np.random.Philox(key=key, counter=[counter, block, 0, 0]))
        numbers += list(generator.random(4))
    return numbers[:count]


def ranked(row: Row) -> list[int]:
    return sorted(CLASSES, key=lambda j: (-row[j], j))


def scaled(row: Row, total: float = 1.0) -> Row:
    return [value * total / sum(row) for value in row]


def entropy_of(row: Row) -> float:
    return -math.fsum(p * math.log(p) for p in row if p > 0)


def with_own(own: float, tail: Row, label: int) -> Row:
    rest = [0.0 if j == label else tail[j] for j in CLASSES]
    if sum(rest) == 0:
        rest = [float(j != label) for j in CLASSES]
    rest = scaled(rest, 1 - own)
    rest[label] = own
    return rest


def soft(row, label, sample, seed):
    return row


def hard(row, label, sample, seed):
    return [float(j == label) for j in CLASSES]


def temperature(row, label, sample, seed, value):
    return scaled([(p / max(row)) ** (1 / value) for p in row])


def smoothing(row, label, sample, seed, eps):
    return [(1 - eps) * p + eps / NUM_CLASSES for p in row]


def swap_ith(row, label, sample, seed, i):
    order, row = ranked(row), list(row)
    first, last = order[int(i) - 1], order[-1]
    row[first], row[last] = row[last], row[first]
    return row


def shuffle_tail(row, label, sample, seed):
    top = ranked(row)[0]
    tail = [j for j in CLASSES if j != top]
    keys, shuffled = drawn("shuffle-tail", seed, sample), list(row)
    for place, of in enumerate(sorted(range(len(tail)), key=lambda place: keys[place])):
        shuffled[tail[place]] = row[tail[of]]
    return shuffled


def top_k(row, label, sample, seed, k, keep=False):
    largest = ranked(row)[: int(k)]
    cut = [p if j in largest else 0.0 for j, p in enumerate(row)]
    return cut if keep else scaled(cut)


def uniform_noise(row, label, sample, seed, alpha, what="uniform-noise"):
    noise = scaled(drawn(what, seed, sample))
    return [(1 - alpha) * p + alpha * u for p, u in zip(row, noise, strict=True)]


def generated(row, label, sample, seed, p):
    return with_own(p, drawn("generated", seed, sample), label)


def class_imbalanced(row, label, sample, seed, p):
    keys = [drawn("class-imbalanced", seed, j, 1)[0] for j in CLASSES]
    rank = {j: place for place, j in enumerate(sorted(CLASSES, key=lambda j: keys[j]), start=1)}
    return with_own(p, [1 / rank[j] for j in CLASSES], label)


def drop_class_column(row, label, sample, seed, c):
    if label == c:
        return row
    left = [0.0 if j == c else p for j, p in enumerate(row)]
    return scaled(left) if sum(left) > 0 else hard(row, label, sample, seed)


def within_superclasses(row, label, sample, seed):
    outside = [j for j in CLASSES if SUPERCLASS_OF[j] != SUPERCLASS_OF[label]]
    even = sum(row[j] for j in outside) / len(outside)
    return [even if j in outside else p for j, p in enumerate(row)]


def between_superclasses(row, label, sample, seed):
    result = [0.0] * NUM_CLASSES
    for j in CLASSES:
        mates = [m for m in CLASSES if SUPERCLASS_OF[m] == SUPERCLASS_OF[j] and m != label]
        result[j] = row[j] if j == label else sum(row[m] for m in mates) / len(mates)
    return result


def class_mean(row, label, sample, seed):
    return list(POPULATION.class_means_kk[label])


def co_occurrence(row, label, sample, seed):
    own = float(POPULATION.class_means_kk[label, label])
    return with_own(own, [float(v) for v in POPULATION.co_occurrence_kk[label]], label)


def residual(row, label, sample, seed):
    means = [float(m) for m in POPULATION.class_means_kk[label]]
    ratios = [p / m if m > 0 else 0.0 for p, m in zip(row, means, strict=True)]
    return with_own(row[label], ratios, label)


BY_ROW: dict[str, Callable[..., Row]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(soft, hard, temperature, smoothing, swap_ith, shuffle_tail, top_k, uniform_noise),
        *(generated, class_imbalanced, drop_class_column),
        *(within_superclasses, between_superclasses, class_mean, co_occurrence, residual),
    )
}


def values_of(spelling: str) -> list:
    _, _, rest = spelling.partition(":")
    return [True if each == "keep" else float(each) for each in rest.split(",") if each]


def reference(spelling: str, rows: np.ndarray, of: Samples) -> np.ndarray:
    """The transform of that spelling, row by row."""
    expected = [
        BY_ROW[spelling.partition(":")[0]](
            [float(p) for p in row], int(label), int(sample), of.seed, *values_of(spelling)
        )
        for row, label, sample in zip(rows, of.labels, of.ids, strict=True)
    ]
    return np.array(expected).reshape(-1, NUM_CLASSES)


def found(spelling: str, rows: np.ndarray, of: Samples) -> np.ndarray:
    return parse_label_transform(spelling)(rows, of)


def test_every_transform_has_a_reference() -> None:
    assert set(BY_ROW) | {"noise-lowest-entropy"} == set(label_transform_forms())


@settings(deadline=None)
@given(st.one_of(row_by_row, of_the_population, softened, truncated), probabilities, seeds)
def test_a_transform_equals_its_reference_row_by_row(spelling, rows, seed) -> None:
    of = samples(len(rows), seed)
    np.testing.assert_allclose(
        found(spelling, rows, of), reference(spelling, rows, of), rtol=2e-5, atol=2e-7
    )


@settings(deadline=None)
@given(among_the_given, probabilities, seeds)
def test_noise_goes_to_the_rows_of_lowest_entropy(spelling, rows, seed) -> None:
    share, alpha = values_of(spelling)
    of = samples(len(rows), seed)
    entropies = [entropy_of([float(p) for p in row]) for row in rows]
    # Labels of the same numbers have one entropy, so ids decide; others must be told apart.
    gaps = np.diff(np.unique(entropies))
    assume((gaps > 1e-12).all())
    order = sorted(range(len(rows)), key=lambda n: (entropies[n], of.ids[n]))
    count = math.floor(share * len(rows) + 0.5)
    expected = rows.astype(np.float64)
    for n in order[:count]:
        row, sample = [float(p) for p in rows[n]], int(of.ids[n])
        expected[n] = uniform_noise(row, 0, sample, seed, alpha, what="noise-lowest-entropy")
    np.testing.assert_allclose(found(spelling, rows, of), expected, rtol=2e-5, atol=2e-7)


def test_swapping_exchanges_the_written_rank_with_the_smallest() -> None:
    row = np.array([[0.05, 0.4, 0.3, 0.02, 0.13, 0.1]], np.float32)
    for i, expected in {
        1: [0.05, 0.02, 0.3, 0.4, 0.13, 0.1],
        2: [0.05, 0.4, 0.02, 0.3, 0.13, 0.1],
        5: [0.02, 0.4, 0.3, 0.05, 0.13, 0.1],
    }.items():
        swapped = found(f"swap-ith:{i}", row, samples(1))
        np.testing.assert_array_equal(swapped, np.array([expected], np.float32))


def test_residuals_of_a_class_mean_are_even_and_class_means_have_no_residual() -> None:
    of = samples(4)
    means = found("class-mean", np.zeros((4, NUM_CLASSES), np.float32), of)
    flat = found("residual", means, of)
    for row, mean, label in zip(flat, means, of.labels, strict=True):
        named = [j for j in CLASSES if j != label and mean[j] > 0]
        np.testing.assert_allclose(row[named], (1 - mean[label]) / len(named), rtol=1e-5)


def test_a_tail_with_nothing_to_follow_is_even() -> None:
    """All of a label at a class that is never named: the rest has no structure left."""
    row = np.eye(NUM_CLASSES, dtype=np.float32)[[1]]
    even = np.array([[0, *[1 / (NUM_CLASSES - 1)] * (NUM_CLASSES - 1)]])
    np.testing.assert_allclose(found("residual", row, samples(1)), even, atol=1e-7)
    np.testing.assert_allclose(reference("residual", row, samples(1)), even, atol=1e-7)


@pytest.mark.parametrize("spelling", ["generated:0.3", "class-imbalanced:0.3", "shuffle-tail"])
def test_what_is_drawn_differs_between_seeds(spelling: str) -> None:
    rows = np.tile(np.arange(1, NUM_CLASSES + 1, dtype=np.float32) / 21, (20, 1))
    first, other = (found(spelling, rows, samples(20, seed)) for seed in (0, 1))
    assert not np.allclose(first, other)


def test_every_permutation_of_a_tail_is_equally_likely() -> None:
    count = 24_000
    rows = np.tile(np.array([0.1, 0.2, 0.4, 0.3], np.float32), (count, 1))
    of = Samples(labels=np.zeros(count, np.int64), ids=np.arange(count), seed=3)
    permutations, counts = np.unique(found("shuffle-tail", rows, of), axis=0, return_counts=True)
    assert len(permutations) == 6
    assert (permutations[:, 2] == np.float32(0.4)).all()
    # Five standard deviations of a binomial count.
    assert abs(counts - count / 6).max() < 5 * math.sqrt(count * 5 / 36)
