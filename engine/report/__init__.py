"""Numbers to tables, figures and one self-contained HTML page.

In: sweep folders. Out: a folder with `index.html`, `figures/`, `tables/` and, last,
`manifest.json`. The same trials give the same bytes, so a report can be committed and compared.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "main_table": "engine.report.write",
    "plot_labels": "engine.report.label_figure",
    "report_info": "engine.report.publish",
    "verify_report": "engine.report.publish",
    "write_report": "engine.report.write",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
