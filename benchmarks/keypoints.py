"""Key points of two halves of each capture: are they found again, and do they locate photographs and align scenes?

    python benchmarks/keypoints.py --data ../shared/data --output benchmarks/results/keypoints.json

Every capture is split into its even and its odd photographs. condense-lite is trained on each half (all of its
photographs, none held out), each is condensed into 512 key points, and the photographs of the other half, which neither
the field nor the key points have seen, are located. Trainings are kept in --work and not repeated. The measures are
explained in docs/key_points.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from halves import Half, demo_capture, halve
from keypoint_measures import alignment, localisation, repeatability, sample_sizes

from condense_nerfstudio.files import write_json

DEMO_SEEDS = {"demo_7": 7, "demo_31": 31, "demo_57": 57}
CAPTURES = (*DEMO_SEEDS, "fountain_p11", "fox", "7scenes_rgbd")
NUM_KEYPOINTS = 512


def train(half: Path, work: Path) -> Path:
    """Trains condense-lite on a half, unless that was done; returns the config.yml."""
    config = work / "trainings" / half.name / "condense-lite/run/config.yml"
    if (config.parent / "nerfstudio_models").is_dir() and any((config.parent / "nerfstudio_models").iterdir()):
        return config
    command = [
        str(Path(sys.executable).parent / "ns-train"), "condense-lite", "--data", str(half), "--vis", "tensorboard",
        "--output-dir", str(work / "trainings"), "--experiment-name", half.name, "--timestamp", "run",
        "--steps-per-save", "100000", "nerfstudio-data", "--eval-mode", "all",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=sys.stderr)
    return config


def measure(capture: str, data: Path, work: Path) -> dict[str, Any]:
    """All measures of one capture, in this process."""
    folder = demo_capture(work, DEMO_SEEDS[capture]) if capture in DEMO_SEEDS else data / capture
    halves = [Half(part, train(part, work), NUM_KEYPOINTS, work / "cache") for part in halve(folder, work, capture)]
    return {
        "photographs": [len(half.photographs) for half in halves],
        "keypoints": [len(half.scene.points) for half in halves],
        "seconds_to_load": [half.seconds_to_load for half in halves],
        "seconds_to_condense": [half.seconds_to_condense for half in halves],
        "bytes": sample_sizes(halves),
        "repeatability": repeatability(*halves),
        "localisation": localisation(*halves),
        "alignment": alignment(*halves),
    }


def summary(result: dict[str, Any]) -> str:
    """One line for people."""
    again, found, laid = result["repeatability"], result["localisation"], result["alignment"]
    return (
        f"repeatability {again['key points']['common']:.2f} (random {again['random surface points']['common']:.2f}), "
        f"{found['median_degrees']:.2f} degrees, {found['median_percent']:.2f} %, located {found['located']:.2f}, "
        f"aligned to {laid['degrees']:.2f} degrees and {laid['scale_percent']:.2f} %, "
        f"{median(result['seconds_to_condense']):.1f} s"
    )


def main() -> None:
    """Measures every capture in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the real captures")
    parser.add_argument("--captures", nargs="+", default=list(CAPTURES), choices=CAPTURES)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "condense_keypoints")
    parser.add_argument("--output", type=Path, help="file for the results; what it holds of other captures stays")
    parser.add_argument("--only", choices=CAPTURES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        start = time.perf_counter()
        result = measure(arguments.only, arguments.data, arguments.work)
        result["seconds"] = time.perf_counter() - start
        write_json(arguments.work / f"{arguments.only}.json", result)
        return
    arguments.work.mkdir(parents=True, exist_ok=True)
    results = json.loads(arguments.output.read_text()) if arguments.output and arguments.output.exists() else {}
    for capture in arguments.captures:
        own = ["--data", str(arguments.data), "--work", str(arguments.work), "--only", capture]
        subprocess.run([sys.executable, __file__, *own], check=True)
        results[capture] = json.loads((arguments.work / f"{capture}.json").read_text())
        print(f"{capture}: {summary(results[capture])}", flush=True)
        if arguments.output:
            write_json(arguments.output, results)


if __name__ == "__main__":
    main()
