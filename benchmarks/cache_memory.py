"""Memory of the feature cache: does it grow with the number of images?

Prints one JSON object and writes it to benchmarks/results/cache_memory.json. Every count runs in a process of its own,
which reports its anonymous memory (RssAnon, Linux) after loading the teacher, its peak while features are computed, and
what is left while all maps are held and read. Growths are from the first count to the last, above the loaded teacher;
if maps stayed in anonymous memory, they would equal that of the features. Needs the lite extra.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = (50, 200)
SIZE = (320, 240)
RESOLUTION = 320
LAYER = 0
"""Its maps are large (0.6 MB an image), so that keeping them in memory would stand out from the allocator's noise."""


def anonymous_megabytes() -> float:
    kilobytes = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert kilobytes is not None
    return int(kilobytes[1]) / 1024


class PeakWatch:
    """Samples the process's anonymous memory every few milliseconds inside a `with` block."""

    def __enter__(self) -> PeakWatch:
        self.peak = anonymous_megabytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, anonymous_megabytes())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def measure(count: int) -> dict[str, float]:
    """Caches the features of `count` images of noise, then reads all of them."""
    import torch

    from condense_nerfstudio.teachers.cache import cached_feature_maps
    from condense_nerfstudio.teachers.config import TeacherConfig
    from condense_nerfstudio.teachers.registry import load_teacher

    torch.set_num_threads(1)  # threads that wait for each other on a busy machine take most of the time
    teacher = load_teacher(TeacherConfig("efficientnet", layer=LAYER, resolution=RESOLUTION))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        images = [Path(folder) / f"{index}.png" for index in range(count)]
        for path in images:
            Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(path)
        # The first pass through the network allocates its buffers, whatever the number of images.
        teacher.encode_image(torch.rand(SIZE[1], SIZE[0], 3))
        loaded = anonymous_megabytes()
        start = time.perf_counter()
        with PeakWatch() as watch:
            maps = cached_feature_maps(images, teacher, Path(folder) / "cache")
        seconds = time.perf_counter() - start
        total = sum(float(feature_map.astype(np.float32).sum()) for feature_map in maps)
        assert np.isfinite(total)
        return {
            "images": count,
            "features_mb": sum(feature_map.nbytes for feature_map in maps) / 2**20,
            "loaded_mb": loaded,
            "peak_mb": watch.peak,
            "held_mb": anonymous_megabytes(),
            "seconds": seconds,
        }


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
        return
    runs = []
    for count in COUNTS:
        command = [sys.executable, __file__, str(count)]
        runs.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    result = {
        "teacher": f"efficientnet, layer {LAYER}, {RESOLUTION} pixels",
        "image_size": SIZE,
        "runs": runs,
        "features_growth_mb": runs[-1]["features_mb"] - runs[0]["features_mb"],
        "peak_growth_mb": (runs[-1]["peak_mb"] - runs[-1]["loaded_mb"]) - (runs[0]["peak_mb"] - runs[0]["loaded_mb"]),
        "held_growth_mb": (runs[-1]["held_mb"] - runs[-1]["loaded_mb"]) - (runs[0]["held_mb"] - runs[0]["loaded_mb"]),
    }
    text = json.dumps(result, indent=2)
    file = Path(__file__).parent / "results" / "cache_memory.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
