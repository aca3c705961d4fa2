"""The page, asked as programs ask it: answers, messages for bad input, and many users at once."""

import re
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import perceivers
from perceivers.processing.flow import read_flow
from perceivers.processing.video_writing import video_writer
from perceivers.web import TABS, Limits, build_app
from perceivers.zoo import bundled_models
from web_pages import shown

GAP = "a single man in possession of a [MASK:4] fortune"
Ask = Callable[..., Any]
# Files that nobody can answer.
NAMES = ("notes.jpg", "notes.mp4", "notes.wav", "large.png", "small.png", "long.wav", "long.mp4")


def sample(name: str) -> Any:
    return handle_file(str(perceivers.sample(name)))


def opened(path: str) -> np.ndarray:
    """Return a picture that the page shows."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def labels(shown: str) -> list[str]:
    """Return the candidates in the HTML of their bars."""
    return re.findall(r'class="name">(.*?)<', shown)


def test_words(ask: Ask) -> None:
    expected = perceivers.pipeline("fill-mask", "mini")(GAP)
    filled, shown, card = ask("fill-mask", GAP, "")
    assert labels(shown) == [entry["token_str"] for entry in expected]
    assert f"{expected[0]['score']:.1%}" in shown
    assert filled == (
        f'<div class="text">a single man in possession of a <mark>{expected[0]["token_str"]}</mark> fortune</div>'
    )
    assert re.fullmatch(r"\*\*text-mini \(in the package\)\*\* · 1.0 million .* \*\*[0-9.]+ m?s\*\* on cpu", card)
    assert opened(ask("fill-mask-attention", GAP, "")).shape[1] > 100


def test_a_word_that_is_hidden_twice_and_markup(ask: Ask) -> None:
    """A text may look like HTML: it is shown as it is."""
    filled, shown, _ = ask("fill-mask", "<b>the</b> ship & the sea", "the")
    assert filled.startswith('<div class="text">&lt;b&gt;<mark>')
    assert "&lt;/b&gt; ship &amp; <mark>" in filled
    assert "<h4>gap 1</h4>" in shown
    assert "<h4>gap 2</h4>" in shown


def test_images(ask: Ask) -> None:
    name = "images/River_1828.jpg"
    expected = perceivers.pipeline("image-classification", "mini")(perceivers.sample(name))
    shown, _ = ask("image-classification", sample(name))
    assert labels(shown) == [entry["label"] for entry in expected]
    assert opened(ask("image-classification-attention", sample(name))).shape[1] > 100


def test_motion(ask: Ask) -> None:
    frames = [f"flow/film{i}.jpg" for i in (1, 2)]
    expected = perceivers.pipeline("optical-flow", "mini")(*map(perceivers.sample, frames))
    *sliders, told, files, _ = ask("optical-flow", *map(sample, frames))
    assert len(sliders) == 3
    first, colours = map(opened, sliders[0])
    assert np.array_equal(first, expected.frames[0])
    assert np.array_equal(colours, np.asarray(expected.picture()))
    assert f"mean motion **{expected.summary()['mean_motion']:.1f}** pixels" in told
    assert [Path(path).suffix for path in files] == [".flo", ".npy"]
    np.testing.assert_allclose(read_flow(files[0]).flow, expected.flow, atol=1e-4)


def test_clips(ask: Ask) -> None:
    name = "clips/square_0.mp4"
    expected = perceivers.pipeline("video-autoencoding", "mini")(perceivers.sample(name))
    player, told, shown, spectrogram, _ = ask("video-autoencoding", sample(name))
    path = player["video"] if isinstance(player, dict) else player
    with av.open(path) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        frames = list(container.decode(video=0))
    assert len(frames) == len(expected.video)
    assert (frames[0].width, frames[0].height) == (64, 32)
    assert told.startswith(f"frames **{expected.video_psnr:.1f} dB**, sound **{expected.audio_psnr:.1f} dB**")
    assert labels(shown)[0] == "square"
    assert opened(spectrogram).shape[1] > 100


def test_sounds(ask: Ask) -> None:
    name = "sounds/7_jackson_4.wav"
    shown, _ = ask("audio-classification", sample(name))
    assert labels(shown)[0] == "7"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with `NAMES`."""
    (tmp_path / "notes.jpg").write_text("not an image")
    (tmp_path / "notes.mp4").write_text("not a video")
    (tmp_path / "notes.wav").write_text("not a sound")
    Image.new("1", (6001, 5000)).save(tmp_path / "large.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "small.png")
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(8000 * 9))
    with video_writer(tmp_path / "long.mp4", 2.0, None) as writer:
        writer.write(np.zeros((20, 16, 16, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("fill-mask", ("", ""), "the text is empty: type some, or take one of the examples"),
        ("fill-mask", ("no gap", ""), r"\[MASK\]"),
        ("fill-mask", ("no such word", "whale"), "whale"),
        ("fill-mask", ("[MASK]" * 4000, ""), "the text has 24,000 characters; at most 20,000 are read here"),
        ("image-classification", (None,), "there is no image yet: give one"),
        ("image-classification", ("notes.jpg",), "^'notes.jpg' is not an image that can be read$"),
        ("image-classification", ("large.png",), "the image has 6,001 x 5,000 pixels; at most 30,000,000 are read"),
        ("optical-flow", ("small.png", None), "there is no second frame yet"),
        ("optical-flow", ("small.png", "notes.jpg"), "'notes.jpg' is not an image that can be read"),
        ("video-autoencoding", ("notes.mp4",), "^file 'notes.mp4' cannot be read as video or sound"),
        ("video-autoencoding", ("long.mp4",), r"the clip lasts 10\.0 s; at most 8 s are read here"),
        ("audio-classification", ("notes.wav",), "'notes.wav' cannot be read"),
        ("audio-classification", ("long.wav",), r"the sound lasts 9\.0 s; at most 8 s are read here"),
    ],
)
def test_what_cannot_be_answered_is_told_in_words(
    ask: Ask, files: Path, name: str, given: tuple[str | None, ...], message: str
) -> None:
    values = [handle_file(str(files / value)) if value in NAMES else value for value in given]
    with pytest.raises(AppError, match=message) as caught:
        ask(name, *values)
    assert str(files) not in str(caught.value)
    assert "gradio" not in str(caught.value)


def test_frames_of_two_sizes(ask: Ask, files: Path) -> None:
    with pytest.raises(AppError, match="size"):
        ask("optical-flow", handle_file(str(files / "small.png")), sample("flow/film1.jpg"))


def test_files_of_the_machine_are_not_read(address: str) -> None:
    """Only uploaded files and the examples may be named."""
    secret = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    with closing(Client(address, verbose=False, analytics_enabled=False)) as client, pytest.raises(AppError):
        client.predict(secret, api_name="/audio-classification")


def test_too_large_a_file_is_not_taken(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(bytes(2_000_001))
    with pytest.raises(Exception, match=r"(?i)size|413"):
        ask("audio-classification", handle_file(str(tmp_path / "noise.wav")))


def test_twenty_users_at_once(address: str) -> None:
    """Each asks a model, all at the same moment; each has the answer that it would have had alone."""
    names = ("images/River_1828.jpg", "images/Forest_832.jpg", "sounds/7_jackson_4.wav", "sounds/0_lucas_1.wav")
    tasks = {"images": "image-classification", "sounds": "audio-classification"}
    alone = {task: perceivers.pipeline(task, "mini") for task in tasks.values()}
    expected = {name: alone[tasks[name.split("/")[0]]](perceivers.sample(name))[0]["label"] for name in names}
    ready = threading.Barrier(20)

    def user(number: int) -> tuple[str, str]:
        name = names[number % len(names)]
        with closing(Client(address, verbose=False, analytics_enabled=False)) as client:
            ready.wait(timeout=120)
            if number % 5 == 4:
                return GAP, labels(client.predict(GAP, "", api_name="/fill-mask")[1])[0]
            shown, _ = client.predict(sample(name), api_name=f"/{tasks[name.split('/')[0]]}")
            return name, labels(shown)[0]

    expected[GAP] = perceivers.pipeline("fill-mask", "mini")(GAP)[0]["token_str"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(user, range(20)))
    assert len(answers) == 20
    assert all(answer == expected[asked] for asked, answer in answers)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    with (
        shown("--model", "text-mini", "--timeout", "0.0001", ending=signal.SIGTERM) as address,
        closing(Client(address, verbose=False, analytics_enabled=False)) as client,
        pytest.raises(AppError, match=r"the answer took longer than 0\.0001 s and was given up"),
    ):
        client.predict(GAP, "", api_name="/fill-mask")


def test_who_finds_the_queue_full_is_told() -> None:
    with (
        shown("--model", "text-mini", "--queue", "1") as address,
        closing(Client(address, verbose=False, analytics_enabled=False)) as client,
    ):
        asked = [client.submit(GAP, "", api_name="/fill-mask") for _ in range(12)]
        told = [job.exception(timeout=120) for job in asked]
    refused = [str(error) for error in told if error is not None]
    assert 0 < len(refused) < 12
    assert all("queue" in message.lower() for message in refused), refused


def test_tabs_stand_in_their_order_and_several_of_a_task_have_names() -> None:
    names = ["audio-mini", "text-mini", "image-mini", "text-mini"]
    page = build_app([perceivers.pipeline(model=name) for name in names], Limits())
    titles = [block.label for block in page.blocks.values() if block.get_block_name() == "tabitem"]
    assert titles == ["Words: text-mini", "Words: text-mini", "Image", "Sound"]
    questions = {entry.api_name for entry in page.fns.values()}
    assert {"fill-mask", "fill-mask-2", "fill-mask-2-attention", "audio-classification-attention"} <= questions


def test_every_task_with_a_shipped_model_has_a_tab() -> None:
    assert {spec.task for spec in bundled_models()} <= set(TABS)


def test_a_task_without_a_tab_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = perceivers.pipeline(model="text-mini")
    monkeypatch.setattr(pipe.task, "name", "divination")
    with pytest.raises(ValueError, match=r"is for divination, which has no tab; tasks that have = \['audio-"):
        build_app([pipe], Limits())
    with pytest.raises(ValueError, match="no model to show; name at least one"):
        build_app([], Limits())


def test_a_port_that_is_taken(address: str) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "perceivers.cli", "app", "--model", "text-mini", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 is taken; choose another one" in done.stderr
    assert "Traceback" not in done.stderr
