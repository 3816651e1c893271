"""Times the hash grid's cpu backend against eager PyTorch: our reference and nerfstudio's own fallback.

Prints one JSON object, with medians in milliseconds and the ratios to the cpu backend, and writes it to --output. The
three take turns, so that a busy moment of the machine hits all of them.

    python benchmarks/hashgrid.py --output benchmarks/results/hashgrid.json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from nerfstudio.field_components.encodings import HashEncoding
from torch import Tensor, nn

from condense_nerfstudio.files import write_json
from condense_nerfstudio.hashgrid import HashGrid

LEVELS, FEATURES, LOG2_TABLE, COARSEST, FINEST = 16, 2, 17, 16, 2048


def build_encodings() -> dict[str, nn.Module]:
    sizes = (LEVELS, FEATURES, LOG2_TABLE, COARSEST, FINEST)
    return {
        "cpu": HashGrid(*sizes, backend="cpu"),
        "torch": HashGrid(*sizes, backend="torch"),
        "nerfstudio": HashEncoding(LEVELS, COARSEST, FINEST, LOG2_TABLE, FEATURES, implementation="torch"),
    }


def forward(encoding: nn.Module, positions: Tensor, weights: Tensor) -> None:
    with torch.no_grad():
        encoding(positions)


def forward_backward(encoding: nn.Module, positions: Tensor, weights: Tensor) -> None:
    encoding.zero_grad()
    encoding(positions).backward(weights)


def measure(work: Callable[..., None], encodings: dict[str, nn.Module], points: int, repeats: int) -> dict:
    """Medians over the repeats, and the ratio of each encoding's to the cpu backend's."""
    positions = torch.rand(points, 3)
    weights = torch.randn(points, LEVELS * FEATURES)
    seconds: dict[str, list[float]] = {name: [] for name in encodings}
    for repeat in range(repeats + 1):
        for name, encoding in encodings.items():
            start = time.perf_counter()
            work(encoding, positions, weights)
            if repeat:  # the first time compiles and warms up
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "milliseconds": {name: round(1000 * median, 1) for name, median in medians.items()},
        "speedup": {name: round(median / medians["cpu"], 1) for name, median in medians.items() if name != "cpu"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=131072, help="positions a call")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each encoding, after one untimed call")
    default_output = Path(__file__).parent / "results" / "hashgrid.json"
    parser.add_argument("--output", type=Path, default=default_output, help="file to write the JSON object to")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    encodings = build_encodings()
    report = {
        "points": arguments.points,
        "num_levels": LEVELS,
        "features_per_level": FEATURES,
        "log2_hashmap_size": LOG2_TABLE,
        "base_resolution": COARSEST,
        "max_resolution": FINEST,
        "threads": {"numba": numba.get_num_threads(), "torch": torch.get_num_threads()},
    }
    for work in (forward, forward_backward):
        print(f"timing {work.__name__} ...", file=sys.stderr)
        report[work.__name__] = measure(work, encodings, arguments.points, arguments.repeats)
    write_json(arguments.output, report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
