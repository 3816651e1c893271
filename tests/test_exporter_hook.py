"""ns-export gets one more command, and is otherwise as it was."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Union, get_args

import pytest
import tyro

from condense_nerfstudio import exporter_hook
from condense_nerfstudio.exporter_hook import EXPORTER, ExportCondenseKeypoints, extend_exporter, with_keypoints

pytestmark = pytest.mark.skipif(
    sys.platform == "linux" and not ctypes.util.find_library("usb-1.0"),
    reason="nerfstudio's exporter imports open3d, which needs the system library libusb-1.0",
)

STOCK = ("pointcloud", "tsdf", "poisson", "marching-cubes", "cameras", "gaussian-splat")

HELP = """
import importlib.metadata, sys
if {stock}:
    entry_points = importlib.metadata.entry_points
    importlib.metadata.entry_points = lambda **which: entry_points(group="nothing has this name")
from nerfstudio.scripts.exporter import entrypoint
for command in {commands}:
    sys.argv = ["ns-export", command, "--help"]
    try:
        entrypoint()
    except SystemExit as left:
        print("left with", left.code)
"""


def printed(stock: bool) -> str:
    """The help of every stock command, in a process of its own, with our entry points or without any."""
    script = HELP.format(stock=stock, commands=STOCK)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout


def test_the_help_of_stock_commands_is_the_same_with_and_without_the_plugin() -> None:
    with_plugin, without = printed(stock=False), printed(stock=True)
    assert with_plugin == without
    assert with_plugin.count("left with 0") == len(STOCK)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """nerfstudio's exporter as it is without the plugin, put back afterwards."""
    import nerfstudio.scripts.exporter as module

    plain = ModuleType(EXPORTER)
    plain.__dict__.update({name: value for name, value in vars(module).items() if name != "Commands"})
    union, *metadata = get_args(module.__dict__["Commands"])
    members = tuple(member for member in get_args(union) if get_args(member)[0] is not ExportCondenseKeypoints)
    plain.__dict__["Commands"] = Annotated[(Union[members], *metadata)]  # noqa: UP007
    monkeypatch.setitem(sys.modules, EXPORTER, plain)
    return plain


def test_the_command_is_parsed_beside_the_stock_ones(exporter: ModuleType) -> None:
    extend_exporter()
    assert exporter.entrypoint is vars(exporter)["entrypoint"]
    ours = ["condense-keypoints", "--load-config", "c.yml", "--output-dir", "o", "--num-keypoints", "9"]
    command = tyro.cli(exporter.Commands, args=ours)
    assert command == ExportCondenseKeypoints(Path("c.yml"), Path("o"), num_keypoints=9)
    stock = ["cameras", "--load-config", "c.yml", "--output-dir", "o"]
    assert type(tyro.cli(exporter.Commands, args=stock)).__name__ == "ExportCameraPoses"


def test_fetching_the_entry_point_twice_adds_one_command(exporter: ModuleType) -> None:
    extend_exporter()
    extend_exporter()
    commands = [exporter.entrypoint and exporter.Commands for _ in range(2)]
    members = get_args(get_args(commands[1])[0])
    assert sum(get_args(member)[0] is ExportCondenseKeypoints for member in members) == 1
    assert len(members) == len(STOCK) + 1


@pytest.mark.parametrize("commands", [None, int, "gone"])
def test_an_exporter_of_another_shape_stays_as_it_is_with_one_warning(
    exporter: ModuleType, capsys: pytest.CaptureFixture[str], commands: object
) -> None:
    if commands == "gone":
        del vars(exporter)["Commands"]
    else:
        vars(exporter)["Commands"] = commands
    extend_exporter()
    assert exporter.entrypoint is vars(exporter)["entrypoint"]
    assert "use condense keypoints" in " ".join(capsys.readouterr().out.split())


def test_nothing_happens_where_another_command_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, EXPORTER, raising=False)
    extend_exporter()
    assert EXPORTER not in sys.modules


def test_only_annotated_unions_are_extended() -> None:
    with pytest.raises(TypeError):
        with_keypoints(Union[int, str])  # noqa: UP007


def test_a_mistake_is_one_sentence_and_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        exporter_hook.ExportCondenseKeypoints(tmp_path / "nowhere.yml", tmp_path / "out").main()
    assert left.value.code == 1
    assert capsys.readouterr().err.startswith("condense: Config ") and not (tmp_path / "out").exists()
