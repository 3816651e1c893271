import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.dinov2_weights import load_original_weights
from condense_nerfstudio.teachers.registry import load_teacher

from .tiny_models import save_tiny_dinov2

VARIANTS = {"mlp": {}, "swiglu": {"swiglu": True}, "registers": {"registers": 2}}

ORIGINAL_NAMES = [
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"mlp\.weights_in", "mlp.w12"),
    (r"mlp\.weights_out", "mlp.w3"),
]


def to_original_names(published: dict[str, Tensor]) -> dict[str, Tensor]:
    original = {}
    for name, tensor in published.items():
        if ".attention.attention." in name:
            if ".query." in name:
                parts = [published[name.replace("query", part)] for part in ("query", "key", "value")]
                original[name.replace("encoder.layer", "blocks").replace("attention.attention.query", "attn.qkv")] = (
                    torch.cat(parts)
                )
            continue
        for pattern, replacement in ORIGINAL_NAMES:
            name = re.sub(pattern, replacement, name)
        original[name] = tensor
    return original


def original_forward(weights: dict[str, Tensor], pixels: Tensor, num_blocks: int = 3) -> Tensor:
    """The original network's x_norm_patchtokens at its own image size, written from its definition."""

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)

    def attention(x: Tensor, name: str) -> Tensor:
        q, k, v = linear(x, f"{name}.qkv").view(1, x.shape[1], 3, -1, 64).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2) / 8).softmax(-1)
        return linear((scores @ v).transpose(1, 2).flatten(2), f"{name}.proj")

    def mlp(x: Tensor, name: str) -> Tensor:
        if f"{name}.w12.weight" in weights:
            gate, value = linear(x, f"{name}.w12").chunk(2, dim=-1)
            return linear(functional.silu(gate) * value, f"{name}.w3")
        return linear(functional.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")

    x = functional.conv2d(pixels, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=14)
    x = torch.cat([weights["cls_token"], x.flatten(2).transpose(1, 2)], 1) + weights["pos_embed"]
    registers = weights.get("register_tokens", x[:, :0])
    x = torch.cat([x[:, :1], registers, x[:, 1:]], 1)
    for i in range(num_blocks):
        block = f"blocks.{i}"
        x = x + weights[f"{block}.ls1.gamma"] * attention(norm(x, f"{block}.norm1"), f"{block}.attn")
        x = x + weights[f"{block}.ls2.gamma"] * mlp(norm(x, f"{block}.norm2"), f"{block}.mlp")
    return norm(x, "norm")[:, 1 + registers.shape[1] :]


@pytest.fixture(params=VARIANTS)
def folder(request, tmp_path: Path) -> Path:
    return save_tiny_dinov2(tmp_path / "model", **VARIANTS[request.param])


@pytest.fixture
def original(folder) -> dict[str, Tensor]:
    return to_original_names(load_file(folder / "model.safetensors"))


def test_file_computes_what_the_original_network_computes(original, tmp_path):
    torch.save(original, tmp_path / "original.pth")
    network = load_original_weights(tmp_path / "original.pth").eval()
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = network(pixel_values=pixels).last_hidden_state[:, -16:]
    torch.testing.assert_close(tokens, original_forward(original, pixels), atol=1e-3, rtol=1e-4)


def test_file_and_folder_give_the_same_features(original, folder, tmp_path):
    torch.save(original, tmp_path / "original.pth")
    image = torch.rand(60, 90, 3, generator=torch.Generator().manual_seed(1))
    from_file, from_folder = (
        load_teacher(TeacherConfig("dinov2", model=str(model), resolution=84)).encode_image(image)
        for model in (tmp_path / "original.pth", folder)
    )
    torch.testing.assert_close(from_file, from_folder)


def test_surplus_and_missing_weights_are_refused(original, tmp_path):
    from condense_nerfstudio.errors import UserError

    file = tmp_path / "original.pth"
    for broken in (
        {**original, "head.weight": torch.zeros(1)},
        {name: tensor for name, tensor in original.items() if name != "blocks.1.norm2.weight"},
    ):
        torch.save(broken, file)
        with pytest.raises(UserError, match=r"original\.pth.*visual\.model"):
            load_original_weights(file)
