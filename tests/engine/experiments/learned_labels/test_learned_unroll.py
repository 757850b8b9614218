"""The gradient by the labels, against finite differences and a plainly unrolled training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.experiments.learned_labels.unroll import InnerBatch, Sgd, label_gradient
from engine.models import build_model

SGD = Sgd(lr=0.2, momentum=0.9, weight_decay=0.05)
CLASSES = 3


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 4, CLASSES))


def convolutional() -> nn.Module:
    """As ConvNet, but smooth everywhere and in any precision."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.GroupNorm(4, 4),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, CLASSES),
    )


class Case:
    """Six images in batches of two, and another six that measure the student."""

    def __init__(self, make: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = make().to(dtype)
            self.images = torch.randn(6, 2, 4, 4, dtype=dtype)
            self.outer_images = torch.randn(6, 2, 4, 4, dtype=dtype)
            self.targets = torch.randn(6, CLASSES, dtype=dtype).softmax(1)
        self.outer_labels = torch.arange(6) % CLASSES
        self.weights = {n: p.detach().clone() for n, p in self.model.named_parameters()}

    def batch(self, step: int) -> InnerBatch:
        rows = torch.tensor([(2 * step) % 6, (2 * step + 1) % 6])
        # As augmentation does, each step sees another image.
        return InnerBatch(images_bchw=self.images[rows] * (1 + 0.1 * step), rows_b=rows)

    def outer_loss(self, weights: dict[str, Tensor]) -> Tensor:
        logits = torch.func.functional_call(self.model, weights, (self.outer_images,))
        return F.cross_entropy(logits, self.outer_labels)

    def found(self, start: int, window: int, targets: Tensor | None = None):
        return label_gradient(
            self.model,
            self.weights,
            self.targets if targets is None else targets,
            self.batch,
            start=start,
            window=window,
            sgd=SGD,
            outer_loss=self.outer_loss,
        )

    def plainly_unrolled(self, start: int, window: int) -> tuple[Tensor, Tensor]:
        """One autograd graph over all differentiated steps, momentum buffers inside it."""
        targets = self.targets.clone().requires_grad_()
        weights = {n: w.clone().requires_grad_() for n, w in self.weights.items()}
        buffers = {n: torch.zeros_like(w) for n, w in weights.items()}
        for step in range(start + window):
            batch = self.batch(step)
            logits = torch.func.functional_call(self.model, weights, (batch.images_bchw,))
            loss = -(targets[batch.rows_b] * logits.log_softmax(1)).sum(1).mean()
            found = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            for (name, weight), gradient in zip(list(weights.items()), found, strict=True):
                buffers[name] = SGD.momentum * buffers[name] + gradient + SGD.weight_decay * weight
                weights[name] = weight - SGD.lr * buffers[name]
            if step < start:
                weights = {n: w.detach().requires_grad_() for n, w in weights.items()}
                buffers = {n: b.detach() for n, b in buffers.items()}
        loss = self.outer_loss(weights)
        (gradient,) = torch.autograd.grad(loss, targets)
        return loss.detach(), gradient


@pytest.mark.parametrize("make", [linear, convolutional])
@pytest.mark.parametrize(("start", "window"), [(0, 1), (0, 5), (3, 4)])
def test_the_gradient_equals_that_of_a_plainly_unrolled_training(make, start, window) -> None:
    case = Case(make)
    loss, gradient = case.found(start, window)
    expected_loss, expected = case.plainly_unrolled(start, window)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-12)
    assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("make", [linear, convolutional])
def test_the_gradient_equals_finite_differences(make) -> None:
    case = Case(make)
    _, gradient = case.found(0, 5)
    width = 1e-6
    for row in range(6):
        for column in range(CLASSES):
            moved = [case.targets.clone(), case.targets.clone()]
            moved[0][row, column] += width
            moved[1][row, column] -= width
            above, below = (case.found(0, 5, targets)[0] for targets in moved)
            difference = float(above - below) / (2 * width)
            assert difference == pytest.approx(float(gradient[row, column]), rel=1e-5, abs=1e-9)


def test_the_students_steps_are_those_of_torchs_sgd() -> None:
    case = Case(convolutional)
    optimiser = torch.optim.SGD(
        case.model.parameters(),
        lr=SGD.lr,
        momentum=SGD.momentum,
        weight_decay=SGD.weight_decay,
    )
    for step in range(7):
        batch = case.batch(step)
        optimiser.zero_grad()
        F.cross_entropy(case.model(batch.images_bchw), case.targets[batch.rows_b]).backward()
        optimiser.step()
    expected = case.outer_loss(dict(case.model.named_parameters()))
    torch.testing.assert_close(case.found(3, 4)[0], expected.detach())


def test_the_papers_convnet_is_differentiated_twice_in_fp32() -> None:
    def convnet() -> nn.Module:
        shape = {"num_classes": CLASSES, "channels": 2, "resolution": 4}
        return build_model("convnet-d2-w8", init_seed=0, **shape)

    case = Case(convnet, torch.float32)
    loss, gradient = case.found(2, 4)
    expected_loss, expected = case.plainly_unrolled(2, 4)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


def test_what_lies_before_the_window_takes_no_memory_of_the_labels() -> None:
    """Truncation: rows that only earlier batches hold get no gradient."""
    case = Case(linear)
    _, gradient = case.found(1, 2)
    assert (gradient[:2] == 0).all()
    assert (gradient[2:] != 0).any(dim=1).all()
