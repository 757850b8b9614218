"""Questions to finished trials: results, why, diff."""
