"""Advice before a run: which expert epoch and learning rate, and what fits a budget of time.

`recommend` reads finished sweeps of a dataset (or, without any, the published grid of another one),
fits the knowledge-data scaling law, measures this machine's pace for a few seconds, and says what
to do and what it rests on. Nothing is written.
"""

from __future__ import annotations

from engine.advice.recommendation import recommend

__all__ = ["recommend"]
