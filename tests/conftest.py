"""Set-up of all tests: no network, shapes checked, and small captures to train on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from jaxtyping import install_import_hook

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
