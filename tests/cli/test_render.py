"""What `condense render` refuses before it loads anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from condense_nerfstudio.cli.render import Render
from condense_nerfstudio.errors import UserError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threshold": 1.5}, "--threshold is 1.5: give a number from 0 to 1"),
        ({"threshold": float("nan")}, "--threshold is nan"),
        ({"points": True}, "--points needs phrases"),
        ({"negatives": ("a dog",)}, "--negatives needs phrases"),
        ({"text": ("",)}, "A phrase is empty"),
        ({"text": ("  ",)}, "A phrase is empty"),
        ({"text": ("a" * 10_000,)}, "has 10000 characters"),
        ({"text": ("a cat",) * 100}, "100 phrases are too many"),
        ({"text": ("a\x00cat",)}, "control characters"),
        ({"text": ("a\ncat",)}, "control characters"),
    ],
)
def test_options_out_of_range_are_one_sentence(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Render(tmp_path / "config.yml", tmp_path / "pictures", **options).run()
    assert not list(tmp_path.iterdir())
