"""The published grid of IPC × expert epoch: what a law is fitted to where nothing was measured yet.

CIFAR-100, ConvNetD3, students of 3,000 epochs, one run a cell: Figure 3b of the reproduction of
*A Label is Worth a Thousand Images* (PROTOCOL.md §2), read by eye off the plot, about ±0.3 points;
test accuracies, the greatest during training. Epoch → accuracy in percent at each IPC.
"""

from __future__ import annotations

IPCS = (1, 5, 10, 50, 100)

BY_EPOCH: dict[int, tuple[float, ...]] = {
    4: (12.5, 17.0, 17.9, 18.9, 19.1),
    7: (14.3, 20.8, 23.1, 25.2, 25.6),
    10: (15.1, 23.7, 26.3, 29.1, 29.9),
    15: (15.2, 27.0, 29.8, 34.3, 35.2),
    24: (13.7, 28.0, 32.5, 38.8, 40.2),
    41: (11.0, 26.5, 32.0, 41.6, 43.9),
    57: (10.3, 24.6, 32.7, 45.7, 48.3),
    125: (8.2, 20.8, 28.9, 45.9, 50.0),
}

HARD_LABELS = (4.7, 13.0, 19.0, 36.7, 44.8)
"""Accuracy in percent with hard labels at each IPC."""

STUDENT_LR = 1e-2
"""Of students on CIFAR-100 at every IPC (Table 7)."""
