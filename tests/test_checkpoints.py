"""Tests that nerfstudio's checkpoints load in torch's safe mode."""

import pickle

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from condense_nerfstudio.checkpoints import allow_numpy_scalars

NUMBERS = [np.float64(5e-4), np.float32(0.5), np.float16(2.0), np.int64(-7), np.int32(3), np.uint8(255), np.bool_(True)]


@pytest.fixture(autouse=True)
def untouched_safe_globals():
    """Starts from torch's own list of safe globals, whatever was loaded before, and puts the old list back."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


@pytest.fixture
def nerfstudio_checkpoint(tmp_path):
    """A file with the keys of nerfstudio's Trainer.save_checkpoint, after a scheduler has set a numpy learning rate."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    optimizer.param_groups[0]["lr"] = np.float64(5e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: np.exp(-0.1 * step))
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    path = tmp_path / "step-000000001.ckpt"
    torch.save(
        {
            "step": 1,
            "pipeline": layer.state_dict(),
            "optimizers": {"fields": optimizer.state_dict()},
            "schedulers": {"fields": scheduler.state_dict()},
            "scalers": torch.amp.GradScaler("cpu", enabled=False).state_dict(),
        },
        path,
    )
    return path


def test_torch_refuses_nerfstudios_checkpoints_by_itself(nerfstudio_checkpoint):
    with pytest.raises(pickle.UnpicklingError, match=r"numpy\.core\.multiarray\.scalar"):
        torch.load(nerfstudio_checkpoint, map_location="cpu", weights_only=True)


def test_nerfstudios_checkpoints_load_once_numpy_scalars_are_allowed(nerfstudio_checkpoint):
    allow_numpy_scalars()
    state = torch.load(nerfstudio_checkpoint, map_location="cpu", weights_only=True)
    assert state["optimizers"]["fields"]["param_groups"][0]["lr"] == pytest.approx(5e-4 * np.exp(-0.1))


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_every_kind_of_number_comes_back_with_its_type(number, tmp_path):
    allow_numpy_scalars()
    torch.save({"number": number}, tmp_path / "number.ckpt")
    loaded = torch.load(tmp_path / "number.ckpt", weights_only=True)["number"]
    assert loaded == number
    assert type(loaded) is type(number)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_files_of_numpy_1_and_of_numpy_2_load(core, tmp_path):
    allow_numpy_scalars()
    torch.save({"lr": np.float64(0.25)}, tmp_path / "here.ckpt", _use_new_zipfile_serialization=False)
    here = np.float64(0).__reduce__()[0].__module__
    there = f"numpy.{core}.multiarray"
    (tmp_path / "there.ckpt").write_bytes((tmp_path / "here.ckpt").read_bytes().replace(here.encode(), there.encode()))
    assert torch.load(tmp_path / "there.ckpt", weights_only=True)["lr"] == 0.25


def test_other_globals_are_still_refused(tmp_path):
    allow_numpy_scalars()
    torch.save({"step": np.ones(2)}, tmp_path / "array.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "array.ckpt", weights_only=True)


def test_allowing_twice_is_allowing_once():
    allow_numpy_scalars()
    once = set(torch.serialization.get_safe_globals())
    allow_numpy_scalars()
    assert set(torch.serialization.get_safe_globals()) == once


def test_torch_without_a_list_of_safe_globals_is_left_alone(monkeypatch):
    with monkeypatch.context() as older_torch:
        older_torch.delattr(torch.serialization, "add_safe_globals")
        allow_numpy_scalars()
    assert not torch.serialization.get_safe_globals()


def test_torch_before_2_7_gets_no_pairs(monkeypatch):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.6.0"))
    allow_numpy_scalars()
    assert not any(isinstance(entry, tuple) for entry in torch.serialization.get_safe_globals())
