"""The functional forms of a knowledge-data scaling law: accuracy of students against data, N images
per class, and knowledge, K, the epoch of the expert (or the number of labels kept of each image).

A form is a formula with bounded parameters. None is derived from a theory and no published work
fits one, so several compete and held-out error decides (`engine.analysis.scaling_law`):

- data and knowledge each with a saturating power law of their own (separable);
- forms in which the best epoch moves with IPC, as it does on CIFAR-100: a parabola (or a bell) over
  ln K whose top lies at α + β·ln N, or a ceiling that rises with K times the share of it that N
  images reach, where later experts' labels need more images. In that last one the top moves by
  itself, and both ends are as they must be: no images, no accuracy; many, the expert's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.analysis.bootstrap import Array


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """`low` and `high` bound it; `usual` is where it stays if the data say nothing about it."""

    name: str
    low: float
    high: float
    usual: float


Curve = Callable[[tuple[Array, ...], Array, Array], Array]
"""(parameters, images per class, knowledge) → accuracy; everything broadcasts."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A formula, and how many different IPCs and values of K it takes to tell its parameters."""

    name: str
    formula: str
    parameters: tuple[Parameter, ...]
    curve: Curve
    least_ipcs: int = 3
    least_knowledge: int = 3

    def accuracy(self, parameters: Array, ipc: Array, knowledge: Array) -> Array:
        """Accuracies (…, points) for parameters (…, P) at points (points,)."""
        columns = tuple(parameters[..., i, None] for i in range(len(self.parameters)))
        return self.curve(columns, ipc, knowledge)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bounds, (P,) each."""
        low, high = zip(*((p.low, p.high) for p in self.parameters), strict=True)
        return np.asarray(low), np.asarray(high)

    @property
    def usual(self) -> Array:
        """Where parameters stay that the data say nothing about, (P,)."""
        return np.asarray([p.usual for p in self.parameters])


def _data_only(p: tuple[Array, ...], n: Array, _k: Array) -> Array:
    a, b, c = p
    return a - b * n**-c


def _data_demand(p: tuple[Array, ...], n: Array, _k: Array) -> Array:
    a, h, c = p
    return a / (1 + np.exp(np.clip(c * (h - np.log(n)), -50, 50)))


def _separable(p: tuple[Array, ...], n: Array, k: Array) -> Array:
    a, b, c, d, e = p
    return a - b * n**-c - d * k**-e


def _scarcity(p: tuple[Array, ...], n: Array, k: Array) -> Array:
    a, b, c, d, e, g = p
    return a - d * k**-e - b * k**g * n**-c


def _parabola(p: tuple[Array, ...], n: Array, k: Array) -> Array:
    a, b, c, w, alpha, beta = p
    return a - b * n**-c - w * (np.log(k) - alpha - beta * np.log(n)) ** 2


def _logarithmic(p: tuple[Array, ...], n: Array, k: Array) -> Array:
    a, b, w, alpha, beta = p
    return a + b * np.log(n) - w * (np.log(k) - alpha - beta * np.log(n)) ** 2


def _bell(p: tuple[Array, ...], n: Array, k: Array) -> Array:
    a, b, c, w, alpha, beta = p
    return (a - b * n**-c) * np.exp(-w * (np.log(k) - alpha - beta * np.log(n)) ** 2)


def _demand(p: tuple[Array, ...], n: Array, k: Array) -> Array:
    a, d, e, h, g, c = p
    # (e^h·K^g / N)^c by its logarithm, which no trial value of the parameters can overflow.
    lack = np.exp(np.clip(c * (h + g * np.log(k) - np.log(n)), -50, 50))
    return (a - d * k**-e) / (1 + lack)


_A = Parameter(name="a", low=0.0, high=1.0, usual=0.6)
_B = Parameter(name="b", low=0.0, high=1.5, usual=0.4)
_C = Parameter(name="c", low=0.01, high=3.0, usual=0.5)
_D = Parameter(name="d", low=0.0, high=2.0, usual=0.5)
_E = Parameter(name="e", low=0.01, high=3.0, usual=0.5)
_H = Parameter(name="h", low=-6.0, high=8.0, usual=1.0)
_DEMAND_C = Parameter(name="c", low=0.05, high=4.0, usual=0.8)
_W = Parameter(name="w", low=0.0, high=2.0, usual=0.05)
_ALPHA = Parameter(name="α", low=-3.0, high=9.0, usual=2.5)
_BETA = Parameter(name="β", low=-1.0, high=3.0, usual=0.5)

DATA_DEMAND = Form(
    name="data only, demand",
    formula="a / (1 + (exp(h) / N)^c)",
    parameters=(_A, _H, _DEMAND_C),
    curve=_data_demand,
    least_knowledge=1,
)
"""Of labels without an expert, hard ones above all: half of the ceiling a is reached at exp(h)."""

FORMS: tuple[Form, ...] = (
    Form(
        name="data only",
        formula="a − b·N^−c",
        parameters=(_A, _B, _C),
        curve=_data_only,
        least_knowledge=1,
    ),
    DATA_DEMAND,
    Form(
        name="separable",
        formula="a − b·N^−c − d·K^−e",
        parameters=(_A, _B, _C, _D, _E),
        curve=_separable,
    ),
    Form(
        name="scarcity grows with knowledge",
        formula="a − d·K^−e − b·K^g·N^−c",
        parameters=(_A, _B, _C, _D, _E, Parameter(name="g", low=0.0, high=3.0, usual=0.3)),
        curve=_scarcity,
    ),
    Form(
        name="moving optimum",
        formula="a − b·N^−c − w·(ln K − α − β·ln N)²",
        parameters=(_A, _B, _C, _W, _ALPHA, _BETA),
        curve=_parabola,
    ),
    Form(
        name="moving optimum, logarithmic data",
        formula="a + b·ln N − w·(ln K − α − β·ln N)²",
        parameters=(_A, _B, _W, _ALPHA, _BETA),
        curve=_logarithmic,
        least_ipcs=2,
    ),
    Form(
        name="moving optimum, relative",
        formula="(a − b·N^−c)·exp(−w·(ln K − α − β·ln N)²)",
        parameters=(_A, _B, _C, _W, _ALPHA, _BETA),
        curve=_bell,
    ),
    Form(
        name="ceiling and demand",
        formula="(a − d·K^−e) / (1 + (exp(h)·K^g / N)^c)",
        parameters=(
            _A,
            _D,
            _E,
            _H,
            Parameter(name="g", low=-1.0, high=4.0, usual=0.5),
            _DEMAND_C,
        ),
        curve=_demand,
    ),
)
"""In the order in which ties are broken: fewer parameters first, more or less."""
