"""Times condense-lite against stock nerfacto on one CPU: training, rendering, quality by the clock, memory.

    python benchmarks/speed.py --data FOLDER_OF_CAPTURES/fox --output benchmarks/results/speed.json

Each side lives in a process of its own and they take turns, so that a busy moment of the machine hits both; every time
is a median and every claim a ratio. "Equal" means nerfacto's own sampling, grid sizes, losses and rays a batch on both
sides, with stock's torch implementation (tiny-cuda-nn needs CUDA).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contestant import Contestant, in_turns
from limits import stages

from condense_nerfstudio.files import write_json

LEARNS_EVERY = 2
"""Steps after which the proposal networks learn, at the start of their schedule."""


@contextmanager
def contestants(data: Path, *methods: tuple[str, dict[str, Any]]) -> Any:
    """Processes that each hold one method, by the name of its maker in stock.py and its options."""
    with tempfile.TemporaryDirectory() as output:
        processes = [
            Contestant(maker, options, data, Path(output) / str(i)) for i, (maker, options) in enumerate(methods)
        ]
        try:
            yield processes
        finally:
            for process in processes:
                process.leave()


def equal_settings(data: Path, rounds: int) -> dict[str, Any]:
    """Training and rendering at nerfacto's own settings, RGB only."""
    with contestants(data, ("nerfacto", {}), ("condense_as_nerfacto", {})) as (theirs, ours):
        their_step, our_step = in_turns([lambda: theirs.ask("train", 1), lambda: ours.ask("train", 10)], rounds)
        views = max(rounds // 4, 1)
        their_view, our_view = in_turns([lambda: theirs.ask("render"), lambda: ours.ask("render")], views)
        rays = ours.ask("rays_per_step")
        limits = ours.ask("limits")
        ours.ask("train", 2 * LEARNS_EVERY)
        profile = stages(ours.ask("operations", 10 * LEARNS_EVERY), ours.ask("sizes"), limits)
    return {
        "limits": limits,
        "stages": profile,
        "training": {
            "nerfacto_rays_per_second": rays / their_step,
            "ours_rays_per_second": rays / our_step,
            "ratio": their_step / our_step,
        },
        "rendering": {"nerfacto_seconds": their_view, "ours_seconds": our_view, "ratio": their_view / our_view},
    }


def cost_of_features(data: Path, rounds: int) -> dict[str, float]:
    """A step and a frame of condense-lite with both teachers, and with key points too, against one without."""
    kinds = {"feature_start": 0}, {"feature_start": 0, "keypoints": False}, {"features": False}
    with contestants(data, *(("condense_lite", kind) for kind in kinds)) as sides:
        all_step, step, rgb_step = in_turns([lambda side=side: side.ask("train", 10) for side in sides], rounds)
        size = (128, 128)
        all_frame, frame, rgb_frame = in_turns([lambda side=side: side.ask("render", *size) for side in sides], rounds)
    return {
        "rgb_milliseconds": 1000 * rgb_step,
        "with_features_milliseconds": 1000 * step,
        "ratio": step / rgb_step,
        "with_keypoints_milliseconds": 1000 * all_step,
        "ratio_with_keypoints": all_step / rgb_step,
        "rgb_frames_per_second_128": 1 / rgb_frame,
        "feature_frames_per_second_128": 1 / frame,
        "keypoint_frames_per_second_128": 1 / all_frame,
    }


def quality_by_the_clock(data: Path, seconds: tuple[int, ...] = (60, 180)) -> dict[str, Any]:
    """PSNR of the held-out views after so much training, each side at its best settings for that time.

    Stock's learning rates stay as they are: falling over the time, as ours do, they cost it nearly 2 dB.
    """
    result: dict[str, Any] = {}
    for limit in seconds:
        row = {}
        sides = {"nerfacto": ("small_nerfacto", {}), "condense-lite": ("condense_lite_for", {"seconds": limit})}
        for name, side in sides.items():
            with contestants(data, side) as (method,):
                method.ask("rays_per_step")  # answers once it is set up
                steps = method.ask("train_for", float(limit))
                row[name] = {"psnr": method.ask("psnr"), "steps": steps, **method.ask("memory")}
        row["gain_db"] = row["condense-lite"]["psnr"] - row["nerfacto"]["psnr"]
        result[f"{limit}_seconds"] = row
    return result


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "equal_settings": equal_settings,
    "features": cost_of_features,
    "quality": quality_by_the_clock,
}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the capture fox")
    parser.add_argument("--rounds", type=int, default=12, help="timed turns of each method")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run; others are kept")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/speed.json"))
    arguments = parser.parse_args()
    result = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for name in arguments.only:
        print(f"measuring {name} ...", file=sys.stderr)
        part = PARTS[name]
        result[name] = part(arguments.data) if part is quality_by_the_clock else part(arguments.data, arguments.rounds)
        write_json(arguments.output, result)
    print(json.dumps(result, indent=1))
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """The result as the rows of a Markdown table."""
    rows = []
    if "equal_settings" in result:
        training, view = result["equal_settings"]["training"], result["equal_settings"]["rendering"]
        theirs, ours = training["nerfacto_rays_per_second"], training["ours_rays_per_second"]
        rows.append(f"training, rays a second | {theirs:,.0f} | {ours:,.0f} | {training['ratio']:.1f}x")
        theirs, ours = view["nerfacto_seconds"], view["ours_seconds"]
        rows.append(f"one view, seconds | {theirs:.1f} | {ours:.2f} | {view['ratio']:.1f}x")
    for limit, row in result.get("quality", {}).items():
        theirs, ours = row["nerfacto"]["psnr"], row["condense-lite"]["psnr"]
        rows.append(f"PSNR after {limit.replace('_', ' ')} | {theirs:.1f} | {ours:.1f} | +{row['gain_db']:.1f} dB")
    if "features" in result:
        row = result["features"]
        without, full = row["rgb_milliseconds"], row["with_features_milliseconds"]
        rows.append(f"a step without and with features, ms | {without:.0f} | {full:.0f} | {row['ratio']:.2f}x")
        full, ratio = row["with_keypoints_milliseconds"], row["ratio_with_keypoints"]
        rows.append(f"a step with features and key points, ms | | {full:.0f} | {ratio:.2f}x")
        plain, frames = row["rgb_frames_per_second_128"], row["feature_frames_per_second_128"]
        rows.append(f"frames a second at 128x128, RGB and features | {plain:.1f} | {frames:.1f} |")
    for name, stage in result.get("equal_settings", {}).get("stages", {}).items():
        bound = f"{stage['bound']} | {stage['fraction_of_bound']:.2f}" if "bound" in stage else "|"
        rows.append(f"{name} | {stage['milliseconds']:.1f} ms | {bound}")
    return "\n".join(f"| {row} |" for row in rows)


if __name__ == "__main__":
    main()
