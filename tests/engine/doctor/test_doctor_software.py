"""Python and packages: other versions, missing ones, and those one can do without."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import engine
from engine.doctor import software
from engine.doctor.finding import Asked
from engine.doctor.software import check_extras, check_packages, check_python

ANY = Asked()


@pytest.fixture
def versions(monkeypatch):
    """`versions(torch="1.0", timm=None)`: as if these were installed, or weren't."""
    real = metadata.version

    def pretend(**others):
        def version(package):
            found = others[package] if package in others else real(package)
            if found is None:
                raise metadata.PackageNotFoundError(package)
            return found

        monkeypatch.setattr(metadata, "version", version)

    return pretend


def test_this_python_fits():
    found = check_python(ANY)
    assert found.status == "ok"
    assert platform.python_version() in found.found


@pytest.mark.parametrize("other", ["3.10.4", "3.12.0", "3.13.1"])
def test_another_python_is_a_problem(monkeypatch, other):
    monkeypatch.setattr(platform, "python_version", lambda: other)
    found = check_python(ANY)
    assert found.status == "problem"
    assert other in found.found
    assert "<3.12,>=3.11" in found.found
    assert "ENGINE_PYTHON" in found.next


def test_requirements_are_those_of_pyproject():
    project = tomllib.loads((Path(engine.__file__).parents[1] / "pyproject.toml").read_text())
    wanted = {(r.name, r.specifier) for r in map(Requirement, project["project"]["dependencies"])}
    assert {(each.name, each.specifier) for each in software.requirements()} == wanted


def test_installed_packages_fit():
    assert check_packages(ANY).status == "ok"
    assert set(software.package_versions()) == {each.name for each in software.requirements()}


def test_a_missing_package_is_a_problem(versions):
    versions(timm=None, duckdb=None)
    found = check_packages(ANY)
    assert (found.status, found.found) == ("problem", "not installed: duckdb, timm")
    assert found.next == "scripts/setup"


def test_packages_with_a_check_of_their_own_may_be_missing(versions):
    versions(isal=None, zarr=None)
    found = check_packages(ANY)
    assert found.status == "ok"
    needed = len(software.requirements())
    assert found.found.startswith(f"{needed - 2} of {needed}")


def test_a_version_outside_the_range_is_a_warning(versions):
    versions(torch="2.1.0+cpu")
    found = check_packages(ANY)
    assert found.status == "warning"
    assert "torch 2.1.0+cpu (needed: >=2.9)" in found.found


def test_a_version_in_the_range_that_was_not_tested_is_named(versions):
    tested = software.tested_versions()["torch"]
    versions(torch=f"{tested}+cpu", timm="1.99.0")
    found = check_packages(ANY)
    assert found.status == "ok"
    assert "timm 1.99.0 (tested: " in found.found
    assert "torch" not in found.found


def test_extras_are_information_only(versions):
    versions(ray=None, tensorboard="2.20.0", wandb=None, h5py=None)
    found = check_extras(ANY)
    assert found.status == "ok"
    assert "no ray (sweeps on a cluster); tensorboard 2.20.0" in found.found
