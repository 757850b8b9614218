"""Successive halving: settings chosen by short students, on validation."""
