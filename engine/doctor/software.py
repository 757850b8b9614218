"""Python, the machine's name, and the packages: are they there, in versions that fit?"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import engine
from engine.doctor.finding import Asked, Finding, ok, problem, warning

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT = "softlabel-engine"
SETUP = "scripts/setup"
CAN_DO_WITHOUT = frozenset({"isal", "zarr"})
"""Required by the project's metadata, and each with a check of its own that says what it is for."""

EXTRAS = {
    "ray": "sweeps on a cluster",
    "tensorboard": "--tracker tensorboard",
    "wandb": "--tracker wandb",
    "h5py": "distilled sets in HDF5",
}


def check_python(_: Asked) -> Finding:
    """The interpreter against the versions that the project asks for."""
    from packaging.specifiers import SpecifierSet

    found, wanted = platform.python_version(), metadata.metadata(PROJECT)["Requires-Python"]
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return problem(
            f"Python {found}; {PROJECT} needs {wanted}",
            f"ENGINE_PYTHON=/path/to/python3.11 {SETUP}",
        )
    return ok(f"Python {found}, {PROJECT} {metadata.version(PROJECT)}")


def check_machine(_: Asked) -> Finding:
    """Processor and operating system, for whoever reads the report elsewhere."""
    from engine.training.precision import machine_name

    return ok(f"{machine_name()}; {platform.system()} {platform.release()} {platform.machine()}")


def check_packages(_: Asked) -> Finding:
    """Every required package against the project's ranges, and against the tested versions."""
    needed, versions = requirements(), package_versions()
    missing = [r.name for r in needed if versions[r.name] is None and r.name not in CAN_DO_WITHOUT]
    if missing:
        return problem(f"not installed: {', '.join(missing)}", SETUP)
    unfit = [
        f"{r.name} {version} (needed: {r.specifier})"
        for r in needed
        if (version := versions[r.name]) and not r.specifier.contains(version, prereleases=True)
    ]
    if unfit:
        return warning(f"versions that don't fit: {', '.join(unfit)}", SETUP)
    there = sum(version is not None for version in versions.values())
    tested = tested_versions()
    others = [
        f"{name} {version} (tested: {tested[name]})"
        for name, version in versions.items()
        # A build such as 2.9.0+cpu is the tested one, too.
        if version and tested.get(name, version) != version.partition("+")[0]
    ]
    note = f"; other versions than the tested: {', '.join(others)}" if others else ""
    return ok(f"{there} of {len(versions)} are there and fit{note}")


def check_extras(_: Asked) -> Finding:
    """Packages that only some options ask for; none of them need be there."""
    found = {name: installed_version(name) for name in EXTRAS}
    return ok(
        "; ".join(
            f"{name} {version}" if version else f"no {name} ({EXTRAS[name]})"
            for name, version in found.items()
        )
    )


def requirements() -> list[Requirement]:
    """What the installed project asks for, extras left out."""
    from packaging.requirements import Requirement

    every = [Requirement(line) for line in metadata.requires(PROJECT) or ()]
    return [each for each in every if each.marker is None or each.marker.evaluate({"extra": ""})]


def package_versions() -> dict[str, str | None]:
    """Required package → installed version, None where it isn't."""
    return {each.name: installed_version(each.name) for each in requirements()}


def installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def tested_versions() -> dict[str, str]:
    """Package → version that ``scripts/setup`` installs; nothing outside a checkout."""
    place = engine.__file__
    constraints = Path(place).parents[1] / "scripts" / "constraints.txt" if place else None
    if constraints is None or not constraints.is_file():
        return {}
    pins = [line.split("==") for line in constraints.read_text("utf-8").split() if "==" in line]
    return {name.lower(): version for name, version in pins}
