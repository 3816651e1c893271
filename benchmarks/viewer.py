"""How long the viewer takes to answer in a real browser, from the key press or click to the answer on the page.

    python benchmarks/viewer.py --load-config outputs/.../config.yml --output benchmarks/results/viewer.json

Starts ns-viewer and drives headless Chromium (Debian: apt install chromium; pip install '.[dev]').
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from condense_nerfstudio.files import write_json

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PORT = 7457
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox")
PHRASES = ("a cat", "a motorcycle", "a rocket", "a dog", "a table", "grass", "a cup of coffee", "a boat", "a bird")
VIEW = {"x": 0, "y": 100, "width": 900, "height": 800}
"""The part of the page that shows the scene."""


class Visitor:
    """A browser on the viewer's page.

    Args:
        page: with the viewer open.
    """

    def __init__(self, page: Page) -> None:
        self.page = page

    def field(self, label: str) -> Locator:
        """The input of a control by its label."""
        row = "ancestor::div[contains(@class,'mantine-Flex-root')][1]"
        return self.page.locator(f"xpath=//label[text()='{label}']/{row}//input[not(@type='hidden')]").last

    def seconds_until(self, act: Callable[[], Any], done: Callable[[], bool]) -> float:
        """From an act to its consequence."""
        start = time.perf_counter()
        act()
        while not done():
            if time.perf_counter() - start > 120:
                raise TimeoutError("the viewer did not answer")
        return time.perf_counter() - start

    def shows(self, text: str) -> bool:
        """Whether a text is on the page."""
        return self.page.get_by_text(text).first.is_visible()

    def picture(self) -> bytes:
        """What the scene looks like now."""
        return self.page.screenshot(clip=VIEW)  # pyright: ignore[reportArgumentType]

    def phrase(self, phrase: str) -> float:
        """From typing a phrase to the picture that answers it."""
        line = self.field("Phrase 1")
        line.fill("")
        self.page.get_by_text(": output").first.wait_for(state="hidden")
        time.sleep(2.0)  # the picture without an answer
        before = self.picture()
        return self.seconds_until(lambda: line.fill(phrase), lambda: self.picture() != before)

    def press(self, button: str, answer: str) -> float:
        """From a button to a text."""
        act = self.page.get_by_role("button", name=button, exact=True).click
        return self.seconds_until(act, lambda: self.shows(answer))


def visit(page: Page) -> dict[str, Any]:
    """Measures everything on a page."""
    page.goto(f"http://127.0.0.1:{PORT}")
    page.get_by_text("Phrase 1").wait_for(timeout=60_000)
    visitor = Visitor(page)
    visitor.field("Threshold").fill("0.02")
    first = visitor.seconds_until(
        lambda: visitor.field("Phrase 1").fill("a fox"), lambda: visitor.shows("a fox: output")
    )
    phrases = [visitor.phrase(phrase) for phrase in PHRASES]
    for folder in ("Region", "Key points"):
        page.get_by_text(folder, exact=True).click()
    return {
        "first_question_with_loading_seconds": first,
        "phrase_to_picture_seconds": median(phrases),
        "phrase_to_picture_slowest_seconds": max(phrases),
        "region_seconds": visitor.press("Find the region", "Centroid"),
        "key_points_seconds": visitor.press("Find key points", "key points. With"),
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load-config", type=Path, required=True, help="config.yml of a trained demo scene")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/viewer.json"))
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    command = [str(Path(sys.executable).parent / "ns-viewer"), "--load-config", str(arguments.load_config)]
    with tempfile.NamedTemporaryFile("w+") as log, sync_playwright() as playwright:
        viewer = subprocess.Popen([*command, "--viewer.websocket-port", str(PORT)], stdout=log, stderr=log)
        try:
            while "disabled local writer" not in Path(log.name).read_text():
                if viewer.poll() is not None:
                    raise SystemExit(Path(log.name).read_text())
                time.sleep(0.2)
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(WEBGL))
            result = visit(browser.new_page(viewport={"width": 1300, "height": 1300}))
            browser.close()
        finally:
            viewer.terminate()
    write_json(arguments.output, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
