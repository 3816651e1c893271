"""The viewer in a real browser: headless Chromium on nerfstudio's page."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import viser.transforms as vtf
from PIL import Image

from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import Place, TextHit

from ..commands import BIN, free_port
from ..keypoints.scenes import make_scene
from .conftest import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium with WebGL in software."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(WEBGL))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the tests are kept to be looked at."""
    folder = Path(os.environ.get("CONDENSE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def visit(browser: Browser, port: int) -> Page:
    """Opens the viewer and waits for the panel."""
    page = browser.new_page(viewport={"width": 1300, "height": 1300})
    page.set_default_timeout(30_000)
    page.goto(f"http://127.0.0.1:{port}")
    page.get_by_text("Phrase 1").wait_for()
    return page


def field(page: Page, label: str) -> Locator:
    """The input of a control by its label."""
    row = "ancestor::div[contains(@class,'mantine-Flex-root')][1]"
    return page.locator(f"xpath=//label[text()='{label}']/{row}//input[not(@type='hidden')]").last


def open_folder(page: Page, label: str, content: str) -> None:
    """Opens a folder of the panel and waits for something in it."""
    page.get_by_text(label, exact=True).click()
    page.get_by_text(content, exact=True).wait_for()


def tick(page: Page, label: str) -> None:
    """Ticks a box, or takes the tick away."""
    page.get_by_text(label, exact=True).locator("visible=true").last.click()


def drag_to_start(page: Page, label: str) -> None:
    """Drags a slider to its smallest value."""
    thumb = page.locator(
        f"xpath=//label[text()='{label}']/ancestor::div[contains(@class,'mantine-Flex-root')][1]//*[@role='slider']"
    )
    box = thumb.last.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for _ in range(10):
        box["x"] -= 20
        page.mouse.move(box["x"], box["y"] + box["height"] / 2)
    page.mouse.up()


def press(page: Page, label: str) -> None:
    """Clicks a button by its label."""
    page.get_by_role("button", name=label, exact=True).click()


def picture(page: Page) -> np.ndarray:
    """What the page shows left of the panel, in 0..255."""
    shot = Image.open(io.BytesIO(page.screenshot(clip={"x": 0, "y": 100, "width": 900, "height": 1100})))
    return np.asarray(shot.convert("RGB")).astype(int)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Waits for something to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def look_from(stage: Stage, number: int) -> None:
    """Puts a browser's camera where a held-out photograph was taken."""
    pose = stage.camera.camera_to_worlds[0].numpy()
    client = stage.viewer.viser_server.get_clients()[number]
    turned = vtf.SO3.from_matrix(pose[:, :3]) @ vtf.SO3.from_x_radians(np.pi)
    with client.atomic():
        client.camera.wxyz = turned.wxyz
        client.camera.position = 10.0 * pose[:, 3]


@pytest.fixture
def shown(stage: Stage, browser: Browser) -> Iterator[Page]:
    """A page that looks at the scene from a held-out photograph, without frustums."""
    stage.viewer.init_scene(stage.pipeline.datamanager.train_dataset, "completed")
    page = visit(browser, stage.viewer.viser_server.get_port())
    stage.viewer.set_camera_visibility(False)
    look_from(stage, max(stage.viewer.viser_server.get_clients()))
    assert until(lambda: picture(page).std() > 20)
    yield page
    page.close()


def test_ns_viewer_answers_a_phrase(longer: Path, work: Path, browser: Browser, screenshots: Path) -> None:
    port, log = free_port(), work / "browser.log"
    command = [BIN / "ns-viewer", "--load-config", longer, "--viewer.websocket-port", str(port)]
    with log.open("w") as file:
        viewer = subprocess.Popen(command, cwd=work, stdout=file, stderr=file)
    try:
        assert until(lambda: "disabled local writer" in log.read_text() or viewer.poll() is not None, 120)
        page = visit(browser, port)
        assert field(page, "Phrase 1").input_value() == "a cat"  # the training's own
        field(page, "Phrase 2").fill("a rocket")
        page.get_by_text("a rocket: output").wait_for()
        field(page, "Output type").click()
        page.get_by_role("option", name="relevancy_1").click()
        assert until(lambda: field(page, "Output type").input_value() == "relevancy_1")
        page.screenshot(path=screenshots / "ns_viewer.png")
        page.close()
        assert "127.0.0.1" in log.read_text() and "without a password" not in log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        viewer.terminate()
        viewer.wait(30)


def test_a_phrase_changes_the_picture_within_moments(stage: Stage, shown: Page, screenshots: Path) -> None:
    stage.panel.ask.threshold.value = 0.02  # the scene is hardly trained
    field(shown, "Phrase 1").fill("")
    assert until(lambda: not stage.panel.session.lens.phrases)
    time.sleep(1.0)
    before = picture(shown)
    field(shown, "Phrase 1").fill("a cat")
    assert until(lambda: np.abs(picture(shown) - before).mean() > 10)
    shown.screenshot(path=screenshots / "phrase.png")
    field(shown, "Overlay on RGB").click()
    shown.get_by_role("option", name="nothing").click()
    assert until(lambda: np.abs(picture(shown) - before).mean() < 10)
    stage.panel.colors.overlay.value = "answers"


def test_a_click_is_answered(stage: Stage, shown: Page, screenshots: Path) -> None:
    open_folder(shown, "Click", "Click to ask")
    tick(shown, "Click to ask")
    assert until(lambda: stage.viewer.viser_server.scene._scene_pointer_cb is not None)
    for column, row in product(range(100, 900, 150), range(300, 1200, 150)):  # a hardly trained scene has few surfaces
        shown.mouse.click(column, row)
        stage.idle()
        if stage.panel.click._spots:
            break
    assert stage.panel.click._spots
    shown.get_by_text("Position: ").wait_for()
    shown.screenshot(path=screenshots / "click.png")
    press(shown, "Forget the points")
    assert until(lambda: not stage.panel.click._spots)


def test_key_points_are_found_shown_and_hidden(stage: Stage, shown: Page, screenshots: Path) -> None:
    stage.panel.colors.overlay.value = "nothing"
    open_folder(shown, "Key points", "Find key points")
    without = picture(shown)
    press(shown, "Find key points")
    shown.get_by_text("key points. With").wait_for()

    def changed() -> int:
        return int((np.abs(picture(shown) - without).max(axis=2) > 60).sum())

    assert until(lambda: changed() > 100)
    many = changed()
    shown.screenshot(path=screenshots / "key_points.png")
    drag_to_start(shown, "Best")
    assert until(lambda: stage.panel.points.count.value < 20)
    assert until(lambda: changed() < many / 2)
    tick(shown, "Show")
    assert until(lambda: not stage.panel.points.shown.value)


def test_a_repository_is_asked_and_its_scene_is_shown(
    stage: Stage, shown: Page, tmp_path: Path, screenshots: Path
) -> None:
    Store(tmp_path / "repo", create=True).add([make_scene(200, id="cave")])
    open_folder(shown, "Repository", "Open")
    field(shown, "Path").fill(str(tmp_path / "repo"))
    press(shown, "Open")
    shown.get_by_text("1 scene.").wait_for()
    stage.panel.repository.slots[0].fill(TextHit("cave", 0.5, (Place("a cat", 0.5, (0.0, 0.0, 0.0), 3),)), "an answer")
    without = picture(shown)
    press(shown, "Show 1")
    shown.get_by_role("button", name="Hide", exact=True).wait_for()
    assert until(lambda: int((np.abs(picture(shown) - without).max(axis=2) > 60).sum()) > 500)
    shown.screenshot(path=screenshots / "repository.png")
    press(shown, "Hide")
    assert until(lambda: stage.panel.repository._opened._node is None)


def test_colours_are_refitted_to_what_the_browser_sees(stage: Stage, shown: Page) -> None:
    press(shown, "Refit colours to this view")
    shown.get_by_role("button", name="Restore colours").wait_for()
    assert set(stage.panel.session.lens.projections) == {"efficientnet", "conse"}
    press(shown, "Restore colours")
    assert until(lambda: not stage.panel.session.lens.projections)


def test_work_is_cancelled_by_its_button(stage: Stage, shown: Page) -> None:
    field(shown, "Phrase 1").fill("a cat")
    assert until(lambda: bool(stage.panel.session.lens.phrases))
    open_folder(shown, "Region", "Find the region")
    stage.panel.place._cloud = None
    with stage.lock:  # as if a training step took long
        press(shown, "Find the region")
        shown.get_by_text("Searching the surface").wait_for()
        press(shown, "Cancel")
        time.sleep(0.5)
    assert stage.panel.session.work.wait(60.0)
    assert stage.panel.place._found is None
    shown.get_by_role("button", name="Cancel").wait_for(state="hidden")


def test_two_browsers_see_the_same_answers_and_one_may_leave_in_the_middle(
    stage: Stage, shown: Page, browser: Browser
) -> None:
    other = visit(browser, stage.viewer.viser_server.get_port())
    numbers = sorted(stage.viewer.viser_server.get_clients())
    assert len(numbers) == 2
    look_from(stage, numbers[-1])
    field(other, "Phrase 1").fill("a rocket")
    shown.get_by_text("a rocket: output").wait_for()
    field(other, "Output type").click()
    other.get_by_role("option", name="relevancy_0").click()
    field(other, "Phrase 1").fill("a cat")
    assert until(lambda: stage.panel.ask.lines[0].value == "a cat")
    other.close()  # while its pictures and its question are under way
    shown.get_by_text("a cat: output").wait_for()
    assert until(lambda: len(stage.viewer.viser_server.get_clients()) == 1)
    before = picture(shown)
    field(shown, "Output type").click()
    shown.get_by_role("option", name="depth", exact=True).click()
    assert until(lambda: np.abs(picture(shown) - before).mean() > 5)
    machines = list(stage.viewer.render_statemachines.values())
    assert len(machines) == 1 and machines[0].is_alive()
