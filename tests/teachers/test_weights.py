import time
from pathlib import Path

import pytest
import torch
from torch import nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.registry import load_teacher
from condense_nerfstudio.teachers.weights import load_pretrained, weights_revision


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Every connection is refused, and nothing is in the Hugging Face cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*args, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("name", "model"), [("dinov2", "facebook/dinov2-base"), ("clip", "openai/clip-vit-base-patch16")]
)
def test_without_network_the_message_says_what_to_do_at_once(no_network, name, model):
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        load_teacher(TeacherConfig(name))
    message = str(caught.value)
    assert model in message and "condense-lite" in message and "\n" not in message
    assert f"--pipeline.datamanager.{'language' if name == 'clip' else 'visual'}.model FOLDER" in message
    assert time.monotonic() - start < 15  # of which nearly all imports transformers; the hub's own retries take 23


def test_incomplete_folder_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(UserError) as caught:
        load_teacher(TeacherConfig("dinov2", model=str(tmp_path)))
    assert str(tmp_path) in str(caught.value) and "--pipeline.datamanager.visual.model" in str(caught.value)


def test_local_files_come_before_the_network(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    assert load_pretrained(lambda model, local_files_only: (model, local_files_only), "a/b", "clip", "language") == (
        "a/b",
        True,
    )


def test_network_is_used_when_nothing_is_local(monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, model, timeout: asked.append((model, timeout)))

    def load(model: str, local_files_only: bool) -> str:
        if local_files_only:
            raise OSError("not here")
        return model

    assert load_pretrained(load, "a/b", "clip", "language") == "a/b"
    assert asked == [("a/b", 5.0)]


def test_revision_tells_weights_and_recipes_apart():
    torch.manual_seed(0)
    linear = nn.Linear(3, 2)
    module = nn.Sequential(linear, nn.BatchNorm1d(2))
    revision = weights_revision([module], "layer 1")
    assert revision == weights_revision([module], "layer 1") and len(revision) == 16
    assert revision != weights_revision([module], "layer 2")
    with torch.no_grad():
        linear.weight[0, 0] += 1e-6
    assert revision != weights_revision([module], "layer 1")


def test_broken_weights_file_is_a_user_error(tmp_path: Path):
    file = tmp_path / "weights.pth"
    for content in (b"", b"no weights at all"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"weights\.pth"):
            load_teacher(TeacherConfig("dinov2", model=str(file)))
    torch.save({"cls_token": torch.zeros(1, 1, 64)}, file)
    with pytest.raises(UserError, match=r"weights\.pth.*patch_embed"):
        load_teacher(TeacherConfig("dinov2", model=str(file)))
