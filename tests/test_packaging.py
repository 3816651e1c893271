"""Tests of what the wheel holds, and that a machine that has only the wheel can use it."""

import ast
import configparser
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from condense_nerfstudio import __version__

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel built from a copy of what it is made of, so that the checkout stays clean."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "condense_nerfstudio",
        "method_configs",
        "tests",
        "benchmarks",
    ):
        if (ROOT / name).exists():
            subprocess.run(["cp", "-R", ROOT / name, source], check=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def contents(wheel):
    """Name -> text of every file of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}


def metadata(contents, name):
    return contents[f"condense_nerfstudio-{__version__}.dist-info/{name}"]


def files_below(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(contents):
    package = {f"condense_nerfstudio/{name}" for name in files_below(ROOT / "condense_nerfstudio")}
    methods = {f"condense_nerfstudio/method_configs/{name}" for name in files_below(ROOT / "method_configs")}
    assert {name for name in contents if ".dist-info/" not in name} == package | methods


def test_the_wheel_carries_the_licence(contents):
    assert "License-Expression: Apache-2.0" in metadata(contents, "METADATA")
    assert metadata(contents, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()


def test_the_wheel_keeps_numpy_1(contents):
    assert re.search(r"^Requires-Dist: numpy<2", metadata(contents, "METADATA"), re.MULTILINE)


def test_every_library_that_is_imported_is_declared(contents):
    # tinycudann is not on PyPI: docs/dependencies.md says how it is found.
    known = {*sys.stdlib_module_names, "condense_nerfstudio", "tinycudann"}
    declared = {
        normalised(name) for name in re.findall(r"^Requires-Dist: ([\w.-]+)", metadata(contents, "METADATA"), re.M)
    }
    distributions = packages_distributions()
    undeclared = {
        f"{name} imports {library}"
        for name, text in contents.items()
        if name.endswith(".py")
        for library in imported_libraries(text) - known
        if not declared & {normalised(name) for name in distributions.get(library, [])}
    }
    assert not undeclared


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_libraries(text):
    libraries = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            libraries |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            libraries.add(node.module.partition(".")[0])
    return libraries


def test_every_entry_point_names_something_in_the_wheel(contents):
    parser = configparser.ConfigParser(delimiters="=")
    parser.read_string(metadata(contents, "entry_points.txt"))
    assert dict(parser["nerfstudio.method_configs"]) == {
        "condense": "condense_nerfstudio.plugin:condense",
        "condense-lite": "condense_nerfstudio.plugin:condense_lite",
    }
    assert dict(parser["console_scripts"]) == {"condense": "condense_nerfstudio.cli.main:main"}
    for section in parser.sections():
        for target in parser[section].values():
            module, attribute = target.split(":")
            assert re.search(rf"^(def )?{attribute}\b", contents[module.replace(".", "/") + ".py"], re.MULTILINE)


def test_ns_train_offers_our_methods_where_only_the_wheel_is_installed(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(pip, check=True, timeout=300)
    code = """
import sys, condense_nerfstudio.plugin as plugin
assert plugin.__file__.startswith(sys.argv.pop(1)), plugin.__file__
from nerfstudio.scripts.train import entrypoint
entrypoint()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(site), "condense-lite", "--help"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--pipeline.model" in done.stdout
