"""What all compiled loops rest on: float16, exponentials, independence of rows, the cache."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    encode_dense,
    encode_quantised,
    encode_topk,
    few,
    make_rows,
    measure_errors,
    rows_to_try,
    softmax_rows,
)
from numba import njit
from numba.core.errors import TypingError

from labelstore import kernels
from labelstore.kernels import compiling, float16
from labelstore.kernels.exponential import LOG2_E, log1p, power, power_constants
from labelstore.kernels.lanes import LANES
from labelstore.kernels.memory import put_vector, vector

ALL_HALVES = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)


# --------------------------------------------------------------------------------------------------
# float16
# --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["by the machine", "by integers"])
def converters(request, monkeypatch):
    """Functions to_half(float32 (1, n)) and from_half(uint16 (1, n)), and their scalar likes."""
    if request.param == "by integers":
        monkeypatch.setattr(float16, "_has_float16", lambda context: False)

    @njit
    def convert(source, target):
        for column in range(0, source.shape[1], LANES):
            left = source.shape[1] - column
            x = vector(source, 0, column, left, np.float32(0.0))
            put_vector(target, 0, column, left, x)

    @njit
    def scalar_bits(source, target):
        for column in range(source.shape[1]):
            target[0, column] = float16.half_bits(source[0, column])

    @njit
    def scalar_values(source, target):
        for column in range(source.shape[1]):
            target[0, column] = float16.half_value(source[0, column])

    def run(function, source, *, dtype):
        target = np.empty((1, source.size), dtype)
        function(source.reshape(1, -1), target)
        return target[0]

    return (
        [partial(run, each, dtype=np.uint16) for each in (convert, scalar_bits)],
        [partial(run, each, dtype=np.float32) for each in (convert, scalar_values)],
    )


def test_every_float16_becomes_the_float32_that_numpy_makes(converters):
    expected = ALL_HALVES.view(np.float16).astype(np.float32)
    for from_half in converters[1]:
        np.testing.assert_array_equal(from_half(ALL_HALVES), expected)


def test_float32_becomes_the_float16_that_numpy_makes(converters):
    halves = ALL_HALVES.view(np.float16).astype(np.float32)
    halves = np.sort(halves[np.isfinite(halves)])
    middles = (halves[:-1] + halves[1:]) / 2  # exact in float32
    patterns = np.random.default_rng(0).integers(0, 1 << 32, 500_000, dtype=np.uint64)
    inputs = np.concatenate(
        [
            halves,
            middles,
            np.nextafter(middles, np.float32(np.inf)),
            np.nextafter(middles, np.float32(-np.inf)),
            np.array([65_519.996, 65_520, -65_520, 1e30, np.inf, -np.inf, -0.0], np.float32),
            patterns.astype(np.uint32).view(np.float32),
        ]
    )
    with np.errstate(over="ignore"):
        expected = inputs.astype(np.float16)
    is_nan = np.isnan(inputs)
    for to_half in converters[0]:
        found = to_half(inputs)
        assert np.isnan(found.view(np.float16)[is_nan]).all()
        np.testing.assert_array_equal(found[~is_nan], expected.view(np.uint16)[~is_nan])


# --------------------------------------------------------------------------------------------------
# Exponential and logarithm
# --------------------------------------------------------------------------------------------------


def test_powers_of_e_are_right_to_2e_7():
    @njit
    def exponentials(source, target):
        constants = power_constants(LOG2_E)
        for column in range(0, source.shape[1], LANES):
            x = vector(source, 0, column, LANES, np.float32(0.0))
            put_vector(target, 0, column, LANES, power(x, constants))

    z = np.linspace(-87, 0, 1 << 20, dtype=np.float32).reshape(1, -1)
    found = np.empty_like(z)
    exponentials(z, found)
    assert np.abs(found / np.exp(z.astype(np.float64)) - 1).max() < 2e-7
    assert found[0, -1] == 1


def test_logarithms_are_right_to_1e_10():
    @njit
    def logarithms(source, target):
        for place in range(len(source)):
            target[place] = log1p(source[place])

    x = np.concatenate([[0.0, 1.0, 65_535.0], np.logspace(-300, 6, 100_000)])
    found = np.empty_like(x)
    logarithms(x, found)
    np.testing.assert_allclose(found, np.log1p(x), rtol=1e-10)


# --------------------------------------------------------------------------------------------------
# All of them
# --------------------------------------------------------------------------------------------------


@few
@given(logits=rows_to_try, data=st.data())
def test_results_do_not_depend_on_how_rows_are_divided_or_where_they_lie(logits, data):
    num_classes = logits.shape[1]
    labels = np.arange(len(logits)) % num_classes
    cuts = data.draw(st.sets(st.integers(1, len(logits))))
    offset = data.draw(st.integers(0, 5))
    moved = np.empty(logits.size + offset, np.float32)[offset:].reshape(logits.shape)
    moved[:] = logits

    def everything(rows, labels):
        _, bits, *figures = encode_dense(rows, labels)
        noisy = (rows * np.float32(0.9)).astype(np.float16).view(np.uint16)
        results = [bits, *figures, *measure_errors(rows, noisy), softmax_rows(bits, 3)]
        results += [encode_quantised(rows, each) for each in (8, 4, 5)]
        if num_classes > 3:
            results.append(encode_topk(rows, 3))
        return results

    whole = everything(logits, labels)
    bounds = [0, *sorted(cuts), len(logits)]
    blocks = [everything(moved[a:b], labels[a:b]) for a, b in pairwise(bounds)]
    for expected, parts in zip(whole, zip(*blocks, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_rows_that_are_not_contiguous_are_refused():
    logits = np.zeros((4, 40), np.uint16)[:, ::2]
    with pytest.raises(TypingError, match="C-contiguous"):
        kernels.softmax_rows(logits, np.float32(1), np.empty((4, 20), np.float32))


def test_compiled_code_is_forgotten_when_any_source_is_newer(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    times = {"a.py": 10, "b.py": 30, "__pycache__/a.1.nbi": 20, "__pycache__/b.1.nbi": 40}
    for name, time in times.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    compiling.forget_stale_code(tmp_path)
    assert [path.name for path in cache.iterdir()] == ["b.1.nbi"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names an x86 processor")
def test_a_processor_without_vector_instructions_computes_the_same_rows(tmp_path):
    """The plainest x86-64: no float16, no fused multiply-add, vectors of four."""
    logits = make_rows("normal", 50, 37, 3.0, 0)
    np.save(tmp_path / "logits.npy", logits)
    program = (
        "import numpy as np; from labelstore import kernels\n"
        f"logits = np.load({str(tmp_path / 'logits.npy')!r}); n = len(logits)\n"
        "out = np.empty(logits.shape, np.uint16); e, c, m = np.empty((3, n), np.float32)\n"
        "kl, p = np.empty(n), np.empty(logits.shape, np.float32)\n"
        "kernels.encode_dense(logits, np.zeros(n, np.int64), out, e, c, m, kl)\n"
        "kernels.softmax_rows(out, np.float32(1), p)\n"
        f"np.savez({str(tmp_path / 'out.npz')!r}, out=out, e=e, c=c, m=m, kl=kl, p=p)\n"
    )
    plain = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | plain, check=True)
    found = np.load(tmp_path / "out.npz")
    _, bits, *figures = encode_dense(logits, np.zeros(50, np.int64))
    np.testing.assert_array_equal(found["out"], bits)
    for name, expected, rtol in zip("ecm", figures, (1e-6, 1e-6, 0), strict=False):
        np.testing.assert_allclose(found[name], expected, rtol=rtol)
    np.testing.assert_allclose(found["kl"], figures[3], rtol=0.01)
    np.testing.assert_allclose(found["p"], softmax_rows(bits, 1), rtol=2e-6)
