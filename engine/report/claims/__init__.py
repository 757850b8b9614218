"""What both papers claim, and what the runs of a report make of it."""
