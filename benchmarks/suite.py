"""How every suite measures and what it reports.

Contestants run in turns, round after round, so that a busy neighbour or a warm clock meets all of
them; each one's figure is the median of its rounds. A row compares us with a peer, or with a limit
of the machine measured in the same rounds (how fast memory copies, how fast the disk writes).
"""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.errors import DataMissing, UnknownSuite
from beton_builder.machine import usable_cores

__all__ = [
    "SUITES",
    "Progress",
    "ceiling",
    "figure",
    "find_data",
    "machine",
    "medians",
    "run",
    "share",
]

Progress = Callable[[str, int, int], None]
Figure = dict[str, Any]

SUITES = ("students", "load", "build", "labels", "sweep")
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "ffcv",
    "zarr",
    "zarrs",
    "tensorstore",
    "h5py",
    "pyarrow",
    "ray",
)


def run(name: str, *, progress: Progress | None, quick: bool) -> dict[str, Any]:
    """Run the suite of that name; see :func:`benchmarks.run_suite`."""
    if name not in SUITES:
        raise UnknownSuite(
            f"expected a suite among {', '.join(SUITES)}, got {name!r}. Next: `engine bench load`"
        )
    suite = import_module(f"benchmarks.{name}")
    figures = suite.figures(progress=progress or _silent, quick=quick)
    result = {"suite": name, "machine": machine(), "figures": figures}
    return {**result, "quick": True} if quick else result


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    peer: str,
    peer_value: float,
    bar: float | None = None,
    less_is_better: bool = False,
) -> Figure:
    """A row that compares with a peer; ``ratio`` over 1 means that we are ahead of it."""
    ratio = peer_value / value if less_is_better else value / peer_value
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": peer,
        "peer_value": peer_value,
        "ratio": ratio,
        "bar": bar,
        "limit": None,
    }


def share(name: str, value: float, unit: str, *, limit: float) -> Figure:
    """A row that compares with a limit of the machine; ``ratio`` is the share of it reached."""
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": None,
        "peer_value": None,
        "ratio": value / limit,
        "bar": None,
        "limit": limit,
    }


def ceiling(name: str, value: float, unit: str, *, limit: float) -> Figure:
    """A row whose value may not exceed a limit; ``ratio`` over 1 means that it stays below."""
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "peer": None,
        "peer_value": None,
        "ratio": limit / value,
        "bar": 1.0,
        "limit": limit,
    }


def medians(
    contestants: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    stage: str,
    progress: Progress,
) -> dict[str, float]:
    """Each contestant's median over ``rounds`` interleaved rounds, after one unmeasured round.

    A contestant is called without arguments and returns its own measure, such as images/s. The
    order is turned round every other time, so that none always runs in another's wake.
    """
    names = list(contestants)
    total = len(names) * (rounds + 1)
    values: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(rounds + 1):
        for position, name in enumerate(names if round_number % 2 == 0 else reversed(names)):
            progress(stage, round_number * len(names) + position, total)
            value = contestants[name]()
            if round_number:
                values[name].append(value)
    progress(stage, total, total)
    return {name: statistics.median(measured) for name, measured in values.items()}


def find_data(name: str) -> Path:
    """A folder of real data: ``$ENGINE_DATA/NAME``, or ``shared/data/NAME`` beside the checkout.

    Raises DataMissing.
    """
    chosen = os.environ.get("ENGINE_DATA")
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = (Path(chosen) if chosen else default) / name
    if not folder.is_dir():
        raise DataMissing(
            f"this suite measures with the real images of {name!r}, expected at {folder}. "
            f"Next: set ENGINE_DATA to the folder that holds {name}/"
        )
    return folder


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    versions: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = None
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "load_average": os.getloadavg()[0],
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _silent(stage: str, done: int, total: int) -> None:
    return None
