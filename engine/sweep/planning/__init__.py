"""Plans: a grid of settings to trials, each a student to train."""
