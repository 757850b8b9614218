"""The claims of both papers, in their order, held against a report's trials."""

from __future__ import annotations

from engine.report.claims import budget_claims, label_claims
from engine.report.claims.registry import Judgement, judge

__all__ = ["Judgement", "budget_claims", "judge", "label_claims"]
