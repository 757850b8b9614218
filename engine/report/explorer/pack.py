"""The explorer's numbers as text that a browser reads: quantised, base64, in one JSON document.

| What | stored as | off by at most |
|---|---|---|
| probabilities | uint16 of 65,535ths | 7.7e-6 |
| entropy | uint16, 65,535ths of ln k | 5.3e-5 nats for 1,000 classes |
| class means off the diagonal | uint8, the root of their share of the greatest | 1/254 of it |

Numbers of two bytes are little-endian. Legend as in `labels`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.report.explorer.labels import ClassMeans, Floats, ImageLabels

MOST_CLASSES = 65_535
"""How many classes a uint16 can number and rank."""


def pack_images(labels: ImageLabels, num_classes: int) -> dict[str, Any]:
    """{"records": base64 of uint16 (e, i, 2t + 3), "top": t, "max_entropy": nats}.

    A record: t classes, their probabilities, the true class's probability and rank, the entropy.
    """
    most = math.log(num_classes)
    records = np.concatenate(
        [
            labels.top_classes_eit,
            _of_one(labels.top_probabilities_eit),
            _of_one(labels.true_probability_ei)[..., None],
            labels.true_rank_ei[..., None],
            _of_one(labels.entropy_ei / max(most, 1e-12))[..., None],
        ],
        axis=-1,
    )
    return {
        "records": _base64(records.astype("<u2")),
        "top": labels.top_classes_eit.shape[-1],
        "max_entropy": most,
    }


def pack_means(means: ClassMeans) -> dict[str, Any]:
    """{"means": base64 of uint8 (e, m, m), "scale", "diagonal": base64 of uint16 (e, m), "order"}.

    A mean off the diagonal is scale × (code / 255)²; the root keeps small ones apart, and the
    diagonal, ten times as large as the rest, has codes of its own.
    """
    off_diagonal = means.means_emm.copy()
    diagonal_em = np.diagonal(off_diagonal, axis1=1, axis2=2).copy()
    each = np.arange(off_diagonal.shape[1])
    off_diagonal[:, each, each] = 0.0
    scale = max(float(off_diagonal.max(initial=0.0)), 1e-12)
    codes = np.rint(255 * np.sqrt(off_diagonal / scale))
    return {
        "means": _base64(codes.astype(np.uint8)),
        "scale": scale,
        "diagonal": _base64(_of_one(diagonal_em).astype("<u2")),
        "order": means.classes_m.tolist(),
    }


def json_for_html(content: Mapping[str, Any]) -> str:
    """JSON that can't end the <script> element it stands in, whatever its texts contain."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _of_one(shares: Floats) -> npt.NDArray[np.int64]:
    return np.rint(65_535 * np.clip(shares, 0.0, 1.0)).astype(np.int64)


def _base64(codes: npt.NDArray[Any]) -> str:
    return base64.b64encode(codes.tobytes()).decode("ascii")
