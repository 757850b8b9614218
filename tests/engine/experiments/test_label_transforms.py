"""Label transforms as they are written: parsed, put into one spelling, applied in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_transform_cases import (
    among_the_given,
    compositions,
    of_the_population,
    row_by_row,
    softened,
    truncated,
)
from label_transform_cases import probabilities as any_probabilities
from label_transform_cases import samples as any_samples

from engine.errors import UsageError
from engine.experiments import Samples, label_transform, parse_label_transform
from engine.experiments.label_transforms.registry import KNOWN

NUM_CLASSES = 4

logits = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(NUM_CLASSES)), elements=st.floats(-15, 15)
)
temperatures = st.floats(0.25, 8.0)
spellings = st.lists(
    st.one_of(st.sampled_from(["soft", "hard"]), temperatures.map(lambda t: f"temperature:{t}")),
    min_size=1,
    max_size=4,
).map("+".join)


def softmax(logits_nk: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    powers = np.exp((logits_nk - logits_nk.max(axis=1, keepdims=True)) / temperature)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def samples(count: int, seed: int = 0) -> Samples:
    ids = np.arange(count) * 7
    return Samples(labels=ids % NUM_CLASSES, ids=ids, seed=seed)


def one_by_one(spelling: str, probabilities: np.ndarray, of: Samples) -> np.ndarray:
    """Every part alone, in the order written: what a composition must equal."""
    for part in spelling.split("+"):
        name, _, value = part.partition(":")
        if name == "hard":
            probabilities = np.eye(NUM_CLASSES)[of.labels]
        elif name == "temperature":
            powers = probabilities.astype(np.float64) ** (1 / float(value))
            probabilities = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


@settings(deadline=None)
@given(spellings, logits, st.integers(0, 2**32 - 1))
def test_rows_sum_to_one_and_equal_seeds_give_equal_bytes(spelling, logits_nk, seed) -> None:
    transform, of = parse_label_transform(spelling), samples(len(logits_nk), seed)
    before = softmax(logits_nk)
    given_copy = before.copy()
    found, again = transform(before, of), transform(before, of)
    assert found.dtype == np.float32
    assert found.shape == before.shape
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.tobytes() == again.tobytes()
    assert (before == given_copy).all()


@settings(deadline=None)
@given(compositions, any_probabilities)
def test_a_composition_of_any_transforms_is_one_after_the_other(spelling, rows) -> None:
    of, expected = any_samples(len(rows)), rows
    for part in spelling.split("+"):
        expected = parse_label_transform(part)(expected, of)
    assert parse_label_transform(spelling)(rows, of).tobytes() == expected.tobytes()


@settings(deadline=None)
@given(spellings, logits)
def test_a_composition_is_its_parts_in_the_order_written(spelling, logits_nk) -> None:
    transform, of = parse_label_transform(spelling), samples(len(logits_nk))
    expected = one_by_one(spelling, softmax(logits_nk), of)
    np.testing.assert_allclose(transform(softmax(logits_nk), of), expected, rtol=1e-4, atol=1e-6)


@settings(deadline=None)
@given(spellings, logits, temperatures)
def test_a_temperature_at_the_head_goes_to_the_logits(spelling, logits_nk, first) -> None:
    """What the runner does, softmax(logits / T) and then the rest, is the whole composition."""
    transform, of = parse_label_transform(spelling).at_temperature(first), samples(len(logits_nk))
    softened = softmax(logits_nk, transform.temperature)
    expected = one_by_one(f"temperature:{first}+{spelling}", softmax(logits_nk), of)
    np.testing.assert_allclose(
        transform.after_softmax(softened, of), expected, rtol=1e-3, atol=1e-6
    )


@settings(deadline=None)
@given(st.one_of(spellings, compositions, truncated))
def test_a_spelling_read_back_is_the_same_transform(spelling) -> None:
    transform = parse_label_transform(spelling)
    assert parse_label_transform(str(transform)) == transform


def test_order_matters() -> None:
    rows, of = softmax(np.array([[3.0, 1.0, 0.0, 0.0]])), samples(1)
    assert parse_label_transform("temperature:2+hard")(rows, of).max() == 1
    cold = "temperature:2+soft+temperature:4"
    assert str(parse_label_transform(cold)) == "temperature:8.0"


@pytest.mark.parametrize(
    ("spelling", "one"),
    [
        ("soft", "soft"),
        ("soft+soft", "soft"),
        ("temperature:1", "soft"),
        ("temperature:2", "temperature:2.0"),
        ("soft+temperature:2.0", "temperature:2.0"),
        ("temperature:2.0+hard", "hard"),
        ("hard+soft", "hard"),
        (" temperature: 2 + soft ", "temperature:2.0"),
        ("swap-ith:03", "swap-ith:3"),
        ("top-k:4", "top-k:4"),
        ("top-k:4, keep", "top-k:4,keep"),
        ("noise-lowest-entropy: .2, .1", "noise-lowest-entropy:0.2,0.1"),
        ("uniform-noise:1", "uniform-noise:1.0"),
        ("temperature:2+class-mean", "temperature:2.0+class-mean"),
        ("temperature:2+shuffle-tail+generated:.9+smoothing:0", "generated:0.9+smoothing:0.0"),
        ("class-mean+hard", "hard"),
    ],
)
def test_equal_transforms_have_one_spelling(spelling: str, one: str) -> None:
    assert str(parse_label_transform(spelling)) == one


def test_only_what_reads_an_expert_needs_one() -> None:
    assert parse_label_transform("temperature:2").needs_expert
    assert not parse_label_transform("temperature:2+hard").needs_expert
    assert not parse_label_transform("swap-ith:1+generated:0.9+top-k:3").needs_expert
    assert not parse_label_transform("class-imbalanced:0.8").needs_expert


def test_a_composition_says_what_must_be_given_with_the_samples() -> None:
    needs = {
        "soft": (False, False),
        "temperature:2+class-mean+top-k:3": (True, False),
        "residual+within-superclasses": (True, True),
        "hard+between-superclasses": (False, True),
        "class-mean+hard": (False, False),
    }
    for spelling, expected in needs.items():
        transform = parse_label_transform(spelling)
        assert (transform.needs_population, transform.needs_superclasses) == expected


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("class-mean", "class-mean: expected what all labels of one expert have in common"),
        ("soft+within-superclasses", "within-superclasses: expected .* classes have superclasses"),
    ],
)
def test_what_is_needed_and_not_there_is_said(spelling: str, message: str) -> None:
    rows, of = softmax(np.zeros((2, NUM_CLASSES))), samples(2)
    with pytest.raises(UsageError, match=message):
        parse_label_transform(spelling)(rows, of)
    parse_label_transform(spelling).check(NUM_CLASSES)


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("sofd", "unknown label transform 'sofd'.*did you mean soft"),
        ("distilled", r"known: .*hard, noise-lowest-entropy:share,alpha, .*top-k:k\[,keep\]"),
        ("swap", r"did you mean swap-ith:i\? known: between-superclasses, "),
        ("shuffled", "did you mean shuffle-tail"),
        ("soft+", "unknown label transform ''"),
        ("temperature", "expected temperature:value, found 0 values"),
        ("temperature:1,2", "expected temperature:value, found 2 values"),
        ("temperature:warm", "could not convert.*expected temperature:value"),
        ("hard:1", "expected hard, found 1 values"),
        ("temperature:0+soft", "temperature:0: expected a finite number above 0"),
        ("temperature:-1+temperature:-1", "temperature:-1: expected a finite number above 0"),
        ("temperature:nan", "expected a finite number above 0"),
        ("swap-ith:0", "swap-ith:0: expected a number from 1 to 3, found 0 .there are 4 classes"),
        ("swap-ith:4", "expected a number from 1 to 3"),
        ("swap-ith:1.5", "invalid literal.*expected swap-ith:i"),
        ("top-k:0", "top-k:0: expected a number from 1 to 4"),
        ("top-k:5", "expected a number from 1 to 4, found 5"),
        ("top-k:3,kept", r"'kept' is not 'keep', which may be left out; expected top-k:k\[,keep\]"),
        ("drop-class-column:4", "expected a number from 0 to 3, found 4 .classes count from 0"),
        ("drop-class-column:-1", "expected a number from 0 to 3"),
        ("generated:1.1", "generated:1.1: expected a number from 0 to 1, found 1.1"),
        ("class-imbalanced:nan", "expected a number from 0 to 1, found nan"),
        ("uniform-noise:-0.1", "expected a number from 0 to 1"),
        ("smoothing:2", "expected a number from 0 to 1"),
        ("noise-lowest-entropy:0.2", "expected noise-lowest-entropy:share,alpha, found 1 values"),
        ("noise-lowest-entropy:2,0.1", "expected a number from 0 to 1"),
        ("noise-lowest-entropy:0.2,inf", "expected a number from 0 to 1"),
        ("hard+class-mean", "class-mean after hard: .*write class-mean first"),
        ("temperature:2+top-k:2+residual", "residual after top-k:2: expected nothing but a temp"),
        ("class-mean+residual", "residual after class-mean"),
    ],
)
def test_what_can_not_be_meant_is_refused(spelling: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_label_transform(spelling).check(NUM_CLASSES)


@settings(deadline=None)
@given(st.one_of(row_by_row, of_the_population, softened, truncated, among_the_given))
def test_no_rows_stay_no_rows(spelling) -> None:
    transform = parse_label_transform(spelling)
    found = transform(np.zeros((0, 6), np.float32), any_samples(0))
    assert (found.shape, found.dtype) == ((0, 6), np.float32)
    transform.check(6)


def test_one_class_alone_has_no_tail() -> None:
    of = Samples(labels=np.zeros(1, np.int64), ids=np.zeros(1, np.int64), seed=0)
    for spelling in ("generated:1", "class-imbalanced:1", "shuffle-tail", "top-k:1"):
        assert parse_label_transform(spelling)(np.ones((1, 1), np.float32), of) == 1
    for spelling in ("generated:0.9", "swap-ith:1"):
        with pytest.raises(UsageError, match="expected"):
            parse_label_transform(spelling).check(1)


def test_one_decorated_function_adds_a_transform() -> None:
    @label_transform()
    def lift_one_class(probabilities_nk, samples, amount: float, class_index: int = 0):
        if class_index >= probabilities_nk.shape[1]:
            raise UsageError(f"there is no class {class_index}")
        lifted = probabilities_nk.copy()
        lifted[:, class_index] += np.float32(amount)
        return lifted / lifted.sum(axis=1, keepdims=True)

    try:
        transform = parse_label_transform("lift-one-class:1")
        assert str(transform) == "lift-one-class:1.0,0"
        rows = transform(np.full((2, 4), 0.25, np.float32), samples(2))
        np.testing.assert_allclose(rows, [[0.625, 0.125, 0.125, 0.125]] * 2)
        with pytest.raises(UsageError, match="there is no class 4"):
            parse_label_transform("lift-one-class:1,4").check(4)
    finally:
        del KNOWN["lift-one-class"]
