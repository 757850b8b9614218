"""The compiled network: one form for every batch shape, or an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch._dynamo.exc import FailOnRecompileLimitHit

from engine.models import build_model
from engine.training import step
from engine.training.precision import Arithmetic
from engine.training.step import Network


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What torch.compile was asked to compile, which then runs as it is."""
    found: list[object] = []

    def backend(graph: torch.fx.GraphModule, _examples: object) -> Callable[..., object]:
        found.append(graph)
        return graph.forward

    limits = torch._dynamo.config
    names = ("recompile_limit", "accumulated_recompile_limit", "fail_on_recompile_limit_hit")
    with limits.patch({name: getattr(limits, name) for name in names}):  # put back afterwards
        torch._dynamo.reset()
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
        yield found
        torch._dynamo.reset()


def network(name: str = "convnet-d1-w2") -> Network:
    model = build_model(name, num_classes=2, channels=1, resolution=4, init_seed=0)
    compiled = Arithmetic(device="cpu", precision="fp32", compiled=True, threads=1, reason="")
    return Network(model, compiled, (0.5,), (0.5,))


def test_networks_of_one_code_compile_every_batch_shape(graphs: list[object]) -> None:
    shapes = range(2, 35)
    for each in (network("convnet-d1-w2"), network("convnet-d1-w3")):
        for batch_size in shapes:
            each.logits(torch.zeros(batch_size, 1, 4, 4))
    assert len(graphs) == 2 * len(shapes)


def test_what_torch_will_not_compile_any_more_is_an_error(
    graphs: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MOST_GRAPHS", 2)
    small = network()
    for batch_size in (2, 3):
        small.logits(torch.zeros(batch_size, 1, 4, 4))
    with pytest.raises(FailOnRecompileLimitHit):
        small.logits(torch.zeros(4, 1, 4, 4))
    assert len(graphs) == 2
