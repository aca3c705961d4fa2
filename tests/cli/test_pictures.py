"""The report's pictures: they draw what they are given, and leave matplotlib's global state alone."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from perceivers.cli.pictures import (
    DARK,
    LIGHT,
    Gaze,
    Judged,
    Palette,
    attention_maps,
    confusion_matrix,
    gallery,
    learning_curve,
    pick_latents,
)


def settings() -> dict[str, object]:
    # Asking for the backend would choose one.
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}


def draw_all(palette: Palette) -> list[bytes]:
    noise = np.random.default_rng(0)
    image = noise.integers(0, 256, (8, 8)).astype(np.uint8)
    maps = noise.random((5, 4, 4))
    history = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_accuracy": 0.5}]
    judged = [Judged(image=image, target="3", prediction=str(i), confidence=0.5) for i in range(8)]
    gaze = Gaze(image=image, label="3", maps=maps / maps.sum(axis=(1, 2), keepdims=True))
    return [
        learning_curve(history, 0.9, palette),
        confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), ("a", "b"), palette),
        gallery(judged, "digits", palette),
        attention_maps([gaze, gaze], palette),
    ]


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_pictures_stand_on_the_palettes_paper(palette: Palette) -> None:
    before = settings()
    pictures = draw_all(palette)
    assert settings() == before
    for data in pictures:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        corner = "#{:02x}{:02x}{:02x}".format(*picture.getpixel((0, 0)))
        assert corner == palette.paper


def test_a_picture_drawn_twice_is_the_same_file() -> None:
    matrix = np.array([0, 1, 1]), np.array([0, 0, 1]), ("a", "b"), LIGHT
    assert confusion_matrix(*matrix) == confusion_matrix(*matrix)


def test_errors_have_a_colour_of_their_own() -> None:
    def shows_errors(predictions: list[int]) -> bool:
        data = confusion_matrix(np.array([0, 1]), np.array(predictions), ("a", "b"), LIGHT)
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return bool((pixels == np.frombuffer(bytes.fromhex(LIGHT.bad[1:]), np.uint8)).all(axis=-1).any())

    assert shows_errors([1, 1])
    assert not shows_errors([0, 1])


def test_latents_are_chosen_that_look_at_different_places() -> None:
    maps = np.zeros((5, 2, 2))
    maps[[0, 1, 2], 0, 0] = (0.5, 0.6, 0.5)
    maps[3, 1, 1] = 0.4
    maps[4, 1, 0] = 0.3
    assert pick_latents(maps, 3) == [1, 3, 4]
    assert sorted(pick_latents(maps, 9)) == [0, 1, 2, 3, 4]
