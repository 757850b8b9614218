"""The experiments of both papers, and ours: each a pure function from trials to what they say.

The way through: `conditions` (runs that differ in nothing but seeds) → `evidence` (all of them,
with their baselines) → an experiment's `find` → `finding` (sentences, tables, figures). Tables come
from `comparison`, figures from `curves`, `dots`, `bars` and `heat`. A new experiment is a `find`
and a line in `registry`; what no experiment is about stays in the panels of the main grid.
"""
