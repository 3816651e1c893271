"""Tests that the plugin brings its methods to nerfstudio and can never break nerfstudio's own commands."""

import ctypes.util
import importlib.metadata
import json
import subprocess
import sys
import types
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from nerfstudio.plugins import registry
from nerfstudio.plugins.types import MethodSpecification

from condense_nerfstudio import plugin
from condense_nerfstudio.errors import UserError

GROUP = "nerfstudio.method_configs"
INSTALLED = any(point.module == "condense_nerfstudio.plugin" for point in importlib.metadata.entry_points(group=GROUP))
needs_installation = pytest.mark.skipif(not INSTALLED, reason="condense_nerfstudio is not installed: make setup")
needs_libraries_of_open3d = pytest.mark.skipif(
    sys.platform == "linux" and not ctypes.util.find_library("usb-1.0"),
    reason="nerfstudio's exporter imports open3d, which needs the system library libusb-1.0",
)

NS_TRAIN_HELP_WHERE_MUCH_IS_MISSING = """
import json, sys

missing = ["tinycudann", "transformers", "numba", "lancedb", "ocnn", "open3d", "trimesh", "kornia", "skimage"]
attempts = []


class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in missing:
            return None
        frame = sys._getframe(1)
        while "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        attempts.append([frame.f_globals["__name__"], name])
        # What tinycudann raises where there is no GPU, word for word: nerfstudio looks for it.
        raise OSError("Unknown compute capability.") if name == "tinycudann" else ImportError(f"no {name}")


def no_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        attempts.append(["network", str(arguments)])
        raise OSError("no network")


sys.meta_path.insert(0, Missing)
sys.addaudithook(no_network)
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.scripts.train import entrypoint

sys.argv = ["ns-train", "nerfacto", "--help"]
try:
    entrypoint()
except SystemExit as left:
    print()
    print(json.dumps({"status": left.code, "methods": list(all_methods), "attempts": attempts}))
"""


@pytest.fixture
def discover(monkeypatch):
    """nerfstudio's discover_methods, with the entry points of this plugin only and made-up method modules.

    Takes what the look-up of `method` in each of the two modules does.
    """
    points = [EntryPoint(name, f"{plugin.__name__}:{name}", GROUP) for name in ("condense", "condense_lite")]
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(points))
    monkeypatch.delenv("NERFSTUDIO_METHOD_CONFIGS", raising=False)

    def discover(**look_ups):
        for name, look_up in look_ups.items():
            module = types.ModuleType(f"condense_nerfstudio.method_configs.{name}")
            monkeypatch.setattr(module, "__getattr__", look_up, raising=False)
            monkeypatch.setitem(sys.modules, module.__name__, module)
            monkeypatch.setattr(plugin, name, plugin.load_method(name.replace("_", "-")))
        return registry.discover_methods()

    return discover


def working(method_name):
    """The look-up in a method module that is fine."""
    config = types.SimpleNamespace(method_name=method_name)
    specification = MethodSpecification(config=config, description=f"The method {method_name}.")  # pyright: ignore[reportArgumentType]
    return {"method": specification}.__getitem__


def failing(error):
    """The look-up in a method module that fails."""

    def fail(*_):
        raise error

    return fail


def test_both_methods_reach_nerfstudio(discover, capsys):
    methods, descriptions = discover(condense=working("condense"), condense_lite=working("condense-lite"))
    assert set(methods) == {"condense", "condense-lite"}
    assert descriptions["condense-lite"] == "The method condense-lite."
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'numba'"),
        OSError("libcuda.so.1: cannot open shared object file"),
        UserError("Folder [/red] does not exist: correct --data."),
        RuntimeError("a first line\n\n  and a second one " + "that goes on " * 100),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_method_that_fails_is_left_out_with_one_warning(discover, capsys, error):
    methods, _ = discover(condense=failing(error), condense_lite=working("condense-lite"))
    assert list(methods) == ["condense-lite"]
    warning = " ".join(capsys.readouterr().out.split())
    assert warning.count("Warning") == 1
    assert "entry point condense (" in warning
    assert f"{type(error).__name__}: {' '.join(str(error).split())[:40]}" in warning
    assert len(warning) < 350


def test_failing_to_mend_checkpoint_loading_is_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(plugin, "allow_numpy_scalars", failing(TypeError("[/no] list")))
    plugin.mend_checkpoint_loading()
    assert capsys.readouterr().out == "Warning: condense left checkpoint loading as it is (TypeError: [/no] list)\n"


@needs_installation
def test_ns_train_needs_neither_the_heavy_libraries_nor_the_network():
    command = [sys.executable, "-c", NS_TRAIN_HELP_WHERE_MUCH_IS_MISSING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["status"] == 0
    assert "Warning: Could not" not in done.stdout
    assert {"nerfacto", "condense", "condense-lite"} <= set(report["methods"])
    assert report["attempts"] == [["nerfstudio.utils.external", "tinycudann"]], "all but this one are ours"


@needs_installation
@needs_libraries_of_open3d
def test_the_stock_ns_export_starts():
    command = [sys.executable, "-c", "from nerfstudio.scripts.exporter import entrypoint; entrypoint()", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "gaussian-splat" in done.stdout
    assert "Warning: Could not" not in done.stdout
