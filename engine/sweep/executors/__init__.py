"""Executors: trials to workers of this machine or of a Ray cluster, records back."""
