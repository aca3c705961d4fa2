"""The page in a real browser: each tab is used once, by hand and mouse, and what a person sees is looked at."""

import os
import re
import shutil
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import perceivers

pytestmark = pytest.mark.browser
# Answers come within a second; a machine with other work may take its time.
PATIENCE = 60_000
SOUND = "sounds/7_jackson_4.wav"


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, over and over: a spoken digit, at a rate that browsers take."""
    path = tmp_path_factory.mktemp("microphone") / "seven.wav"
    with wave.open(str(perceivers.sample(SOUND)), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        samples = struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(b"".join(struct.pack("<h", sample) * 6 for sample in samples))
    return path


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "these tests need Chromium: apt-get install chromium"
    switches = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    # Chromium's own sandbox does not work for root.
    switches += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=switches)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page as it opens; afterwards, it has asked nothing of other servers and complained of nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    asked: set[str] = set()
    complaints: list[str] = []
    page.on("request", lambda request: asked.add(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(address)
    yield page
    context.close()
    assert not [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert not complaints


@pytest.fixture
def keep(page: Page, request: pytest.FixtureRequest) -> Any:
    """Keeps a picture of the page, where `--screenshots` wants one."""
    folder: Path | None = request.config.getoption("--screenshots")

    def picture(name: str) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            page.mouse.move(0, 0)
            page.wait_for_timeout(700)
            page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=88, full_page=True)

    return picture


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def give(page: Page, name: str | Path, place: int = 0) -> None:
    """Choose a file in the dialog of the tab's first or second place for one."""
    path = name if isinstance(name, Path) else perceivers.sample(name)
    page.locator("[role=tabpanel]:visible input[type=file]").nth(place).set_input_files(path)


def ask(page: Page, model: str) -> None:
    """Press the button, and see who answered and how fast."""
    page.locator("button.ask:visible").click()
    card = page.locator(".prose.card:visible")
    expect(card).to_contain_text(re.compile(rf"{model} \(in the package\) · .* answered in [0-9.]+ m?s on cpu"))


def see_gaze(page: Page) -> None:
    """See the picture of attention."""
    picture = page.locator(".gaze:visible img")
    expect(picture).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=picture.element_handle())


def best(page: Page) -> str:
    """Return the first of the candidates."""
    names = page.locator(".bars:visible").first.locator(".name")
    expect(names.first).to_be_visible()
    return names.first.inner_text()


def test_words(page: Page, keep: Any) -> None:
    open_tab(page, "Words")
    page.get_by_label("Text", exact=True).fill("a single man in possession of a [MASK:4] fortune")
    ask(page, "text-mini")
    assert best(page) == "good"
    expect(page.locator(".text mark")).to_have_text("good")
    assert page.locator(".bar:visible").count() == 5
    see_gaze(page)
    keep("words")


def test_an_example_is_one_click(page: Page) -> None:
    open_tab(page, "Words")
    page.get_by_text("Elizabeth had the satisfaction").click()
    expect(page.get_by_label("Word to hide")).to_have_value("pains")
    ask(page, "text-mini")
    expect(page.locator(".text mark")).to_have_count(1)


def test_an_image(page: Page, keep: Any) -> None:
    open_tab(page, "Image")
    give(page, "images/River_1828.jpg")
    ask(page, "image-mini")
    assert best(page) == "River"
    see_gaze(page)
    keep("image")


def test_motion(page: Page, keep: Any) -> None:
    open_tab(page, "Motion")
    give(page, "flow/photo1.jpg")
    give(page, "flow/photo2.jpg", place=1)
    ask(page, "flow-mini")
    expect(page.get_by_text(re.compile(r"mean motion [0-9.]+ pixels"))).to_be_visible()
    see_gaze(page)
    slide(page)
    keep("motion")
    for name in ("Arrows", "Warped back"):
        page.get_by_role("tab", name=name, exact=True).click()
        expect(page.locator(".slider-wrap:visible img").first).to_be_visible()


def slide(page: Page) -> None:
    """Drag the slider, and see more of the overlay."""
    handle = page.locator(".slider-wrap:visible .inner, [role=slider]:visible").first
    before = handle.bounding_box()
    assert before is not None
    x, y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y, steps=5)
    page.mouse.up()
    after = handle.bounding_box()
    assert after is not None
    assert after["x"] == pytest.approx(before["x"] - 120, abs=15)


def test_a_clip_plays_with_its_sound(page: Page, keep: Any) -> None:
    open_tab(page, "Clip")
    give(page, "clips/square_0.mp4")
    ask(page, "video-mini")
    assert best(page) == "square"
    player = page.locator(".player:visible video")
    expect(player).to_be_visible()
    # What Chromium has decoded of the sound while playing.
    page.wait_for_function(
        "video => video.currentTime > 0 && video.webkitAudioDecodedByteCount > 0", arg=player.element_handle()
    )
    assert player.evaluate("video => [video.videoWidth, video.videoHeight]") == [64, 32]
    assert player.evaluate("video => video.duration") == pytest.approx(1.0, abs=0.2)
    see_gaze(page)
    keep("clip")


def test_a_recorded_sound(page: Page, keep: Any) -> None:
    open_tab(page, "Sound")
    page.get_by_label("Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(900)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text(re.compile("0:0[0-9]")).first).to_be_visible()
    ask(page, "audio-mini")
    assert best(page) in set("0123456789")
    see_gaze(page)
    keep("sound")


def test_a_bad_file_is_told(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    open_tab(page, "Image")
    give(page, tmp_path / "notes.jpg")
    page.locator("button.ask:visible").click()
    expect(page.get_by_text("'notes.jpg' is not an image that can be read")).to_be_visible()
    assert not page.locator(".card:visible strong").count()


def test_nothing_given_is_told(page: Page) -> None:
    open_tab(page, "Clip")
    page.locator("button.ask:visible").click()
    expect(page.get_by_text("there is no clip yet: give one, or take one of the examples")).to_be_visible()


def test_on_dark_paper(page: Page, address: str, keep: Any) -> None:
    """Names and shares stand out from the bars' ground."""
    page.goto(f"{address}?__theme=dark")
    open_tab(page, "Image")
    give(page, "images/Forest_832.jpg")
    ask(page, "image-mini")
    assert best(page) == "Forest"
    ink = page.locator(".bar .name").first.evaluate("element => getComputedStyle(element).color")
    paper = page.locator(".bar").first.evaluate("element => getComputedStyle(element).backgroundColor")
    shades = [np.mean([float(part) for part in re.findall(r"[0-9.]+", colour)[:3]]) for colour in (ink, paper)]
    assert shades[0] - shades[1] > 120
    see_gaze(page)
    keep("dark")
