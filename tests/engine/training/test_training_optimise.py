"""Schedules and optimisers against torch's own."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from engine.training.optimise import Optimiser, Schedule, make_optimiser
from engine.training.recipe import ExpertRecipe, StudentRecipe


def torchs_rates(make, base: float, epochs: int) -> list[float]:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = make(optimiser)
    rates = []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_step_schedule_of_students_equals_torchs_step_lr() -> None:
    schedule = Schedule(kind="step", factor=0.3).resolved(3000)
    assert schedule.every == 750
    ours = [schedule.learning_rate(0.01, epoch) for epoch in range(3000)]
    torchs = torchs_rates(
        lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=750, gamma=0.3), 0.01, 3000
    )
    assert ours == pytest.approx(torchs)


def test_cosine_schedule_equals_torchs() -> None:
    schedule = Schedule(kind="cosine").resolved(40)
    ours = [schedule.learning_rate(0.1, epoch) for epoch in range(40)]
    torchs = torchs_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40), 0.1, 40)
    assert ours == pytest.approx(torchs)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_fused_optimiser_takes_the_steps_of_torchs_plain_one(kind: str) -> None:
    config = Optimiser(kind=kind, momentum=0.9 if kind == "sgd" else 0.0, weight_decay=0.01)
    ours = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    plain = torch.nn.Parameter(ours.detach().clone())
    mine = make_optimiser([ours], config, 0.1)
    theirs = (
        torch.optim.SGD([plain], lr=0.1, momentum=0.9, weight_decay=0.01)
        if kind == "sgd"
        else torch.optim.AdamW([plain], lr=0.1, weight_decay=0.01)
    )
    for _ in range(5):
        for parameter, optimiser in ((ours, mine), (plain, theirs)):
            optimiser.zero_grad()
            (parameter**3).sum().backward()
            optimiser.step()
    torch.testing.assert_close(ours, plain)


def test_an_experts_schedule_must_not_depend_on_its_length() -> None:
    with pytest.raises(ValidationError, match="horizon"):
        ExpertRecipe(schedule=Schedule(kind="cosine"))
    assert ExpertRecipe(epochs=3).identity() == ExpertRecipe(epochs=90).identity()


def test_a_student_is_evaluated_at_the_papers_fifteen_epochs() -> None:
    assert StudentRecipe().evaluation_epochs() == list(range(200, 3001, 200))
    assert StudentRecipe(epochs=3, evaluations=15).evaluation_epochs() == [1, 2, 3]
