"""Tiny random models in Hugging Face folders, which every code path of the real ones can load."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def save_tiny_dinov2(folder: Path, swiglu: bool = False, registers: int = 0) -> Path:
    """Three blocks of 128 channels, patches of 14 pixels; returns the folder."""
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    shape = {
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        "use_swiglu_ffn": swiglu,
        "initializer_range": 0.2,
    }
    torch.manual_seed(0)
    if registers:
        model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**shape, num_register_tokens=registers))
    else:
        model = Dinov2Model(Dinov2Config(**shape))
    with torch.no_grad():
        for parameter in model.parameters():  # transformers starts biases at 0 and scales at 1: let each one matter
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


def save_tiny_clip(folder: Path) -> Path:
    """Two blocks of 32 channels in both towers, a joint space of 24, patches of 16 pixels, a byte-level tokenizer."""
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    vocabulary = _save_byte_tokenizer(folder)
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "vocab_size": len(vocabulary),
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    }
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(folder, local_files_only=True)  # the folder must be complete
    return folder


def _save_byte_tokenizer(folder: Path) -> dict[str, int]:
    """Writes CLIP's tokenizer files with single bytes, inside and at the end of words, and no merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}), encoding="utf-8")
    return vocabulary
