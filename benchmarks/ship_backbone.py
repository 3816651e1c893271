"""Puts a backbone into the package, with a card that says what it is made of and how good it is.

python benchmarks/ship_backbone.py --backbone O/backbone.safetensors --results benchmarks/results/backbone.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from condense_nerfstudio.backbone.backbone_file import open_backbone, write_backbone

DATA = {
    "demo rooms": "24 rooms of `condense demo-scenes` with photographs from scikit-image's wheel (cat, astronaut, "
    "rocket, photographer, coins, galaxies, tissue)",
    "scanned rooms": "5 rooms of benchmarks/scanned_rooms.py: the YCB object and model set (Calli et al. 2015, "
    "CC BY 4.0); china.jpg and flower.jpg from scikit-learn (CC BY), grace_hopper.jpg from matplotlib (public domain), "
    "street photographs from OpenSfM's data/lund",
    "lund": "27 photographs of a street from OpenSfM's data/lund (BSD-2-Clause)",
}
LICENCE = "Apache-2.0, like the program; no data whose licence forbids it was learned from"
MOST = 10_000_000
"""Bytes of a backbone that ships."""


def main() -> None:
    """Writes condense_nerfstudio/backbone/weights/<size>.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="what benchmarks/backbone.py wrote")
    arguments = parser.parse_args()
    model, card = open_backbone(arguments.backbone)
    results = json.loads(arguments.results.read_text())
    metrics = {key: results[key] for key in ("means", "recall@1", "probe")}
    told = {**card.training, "data": DATA, "licence": LICENCE, "metrics": metrics}
    target = Path(__file__).parents[1] / f"condense_nerfstudio/backbone/weights/{card.size}.safetensors"
    write_backbone(model, replace(card, training=told), target)
    size = target.stat().st_size
    assert size <= MOST, f"{target} has {size} bytes"
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
