"""Made-up scenes: their flow and what they hide are exact, and they are the same everywhere."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perceivers.data import DataConfig, DataError, load_data
from perceivers.data.flow_scenes import FlowScenes, View, compose, flow_scene
from perceivers.data.moving_layers import Layer, Motion, Outline, draw_motion, draw_outline
from perceivers.data.photometry import develop, smeared
from perceivers.data.textures import Texture, draw_texture, read_photos
from perceivers.processing.flow_pictures import warp

PLAIN = FlowScenes(size=(48, 64), change=0.0, blurred=0.0, foggy=0.0)
ENDS = (np.floor, np.ceil)
STILL = np.zeros((2, 3))
STILL[:, 1] = 1


def smooth_texture(seed: int = 0) -> Texture:
    """Return a surface without sharp edges, of which bilinear interpolation loses next to nothing."""
    line = np.linspace(0, 2 * np.pi, 200)
    waves = [0.5 + 0.4 * np.sin((i + 1) * line + seed) * np.cos((i + 2) * line[:, None]) for i in range(3)]
    return Texture(np.stack(waves, axis=-1).astype(np.float32), np.eye(2, dtype=np.float32), np.full(2, 50, np.float32))


def matrix_of(angle: float, zoom: float, shift: tuple[float, float], centre: tuple[float, float]) -> np.ndarray:
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = np.asarray(centre) - turn @ np.asarray(centre) + shift
    return matrix


def targets(flow: np.ndarray) -> np.ndarray:
    """Return rows and columns of where pixels go, (2, H, W)."""
    return np.indices(flow.shape[:2]) + np.moveaxis(flow[..., ::-1], -1, 0)


def digest(config: FlowScenes, count: int = 6) -> str:
    found = hashlib.sha256()
    for index in range(count):
        for part in flow_scene(5, index, config):
            found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def test_what_a_scene_is() -> None:
    scene = flow_scene(0, 3)
    assert (scene.frames.shape, scene.frames.dtype) == ((2, 96, 128, 3), np.uint8)
    assert (scene.flow.shape, scene.flow.dtype) == ((96, 128, 2), np.float32)
    assert (scene.occluded.shape, scene.occluded.dtype) == ((96, 128), bool)
    assert np.isfinite(scene.flow).all()
    assert (flow_scene(0, 4).flow != scene.flow).any()
    assert (flow_scene(1, 3).flow != scene.flow).any()


def test_scenes_are_the_same_in_another_process() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_flow_scenes import digest; "
        "from perceivers.data.flow_scenes import FlowScenes; print(digest(FlowScenes(size=(24, 40))))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert out.stdout.strip() == digest(FlowScenes(size=(24, 40)))


def test_the_flow_of_a_rigid_background_is_its_closed_form() -> None:
    motion = Motion(matrix_of(0.1, 1.05, (3, -2), (30, 20)), STILL)
    scene = compose([Layer(smooth_texture(), motion)], np.random.default_rng(0), PLAIN)
    y, x = np.indices((48, 64)).astype(float)
    cosine, sine = 1.05 * np.cos(0.1), 1.05 * np.sin(0.1)
    u = cosine * (x - 30) - sine * (y - 20) + 30 + 3 - x
    v = sine * (x - 30) + cosine * (y - 20) + 20 - 2 - y
    np.testing.assert_allclose(scene.flow, np.stack([u, v], axis=-1), atol=1e-4)
    outside = (x + u < 0) | (x + u > 63) | (y + v < 0) | (y + v > 47)
    assert (scene.occluded != outside).mean() < 0.002


def test_motions_are_undone_exactly() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        motion = draw_motion(random, np.array([40.0, 30.0]), 100.0, 10.0, 1.0, 2.0)
        x, y = random.uniform(0, 80, (2, 50))
        there = motion.forward(x, y)
        assert max(np.abs(there[0] - x).max(), np.abs(there[1] - y).max()) > 0.5
        np.testing.assert_allclose(motion.backward(*there), (x, y), atol=1e-9)


def test_the_second_frame_fetched_by_the_flow_is_the_first_where_nothing_is_hidden() -> None:
    covered: list[bool] = []
    for seed in range(6):
        random = np.random.default_rng(seed)
        drawn = replace(PLAIN, most_objects=5).layers(random)
        layers = [
            replace(
                layer,
                texture=smooth_texture(i),
                outlines=tuple(replace(outline, softness=1e-3) for outline in layer.outlines),
            )
            for i, layer in enumerate(drawn)
        ]
        scene = compose(layers, random, PLAIN)
        fetched, outside = warp(scene.frames[1], scene.flow)
        error = np.abs(fetched.astype(int) - scene.frames[0]).max(axis=-1)
        # Between pixels of two layers interpolation mixes them: all four around a place must be of the layer.
        first, second = (View.of(layers, PLAIN.size, moved=moved).owner for moved in (False, True))
        y, x = (np.clip(place, 0, end - 1) for place, end in zip(targets(scene.flow), PLAIN.size, strict=True))
        around = [second[row(y).astype(int), column(x).astype(int)] for row in ENDS for column in ENDS]
        inner = ~outside & np.all([owner == first for owner in around], axis=0)
        assert inner.mean() > 0.5
        assert error[inner].max() <= 3
        assert not scene.occluded[inner].any()
        covered += scene.occluded[~outside & np.all([owner != first for owner in around], axis=0)].tolist()
    # Where none of the four is of the layer it is hidden, but for slivers thinner than a pixel.
    assert len(covered) > 100
    assert np.mean(covered) > 0.9


def square(centre: tuple[float, float], half: float, motion: np.ndarray) -> Layer:
    angles = np.arange(1024) * (2 * np.pi / 1024)
    radii = half / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    return Layer(smooth_texture(2), Motion(motion, STILL), (Outline(centre, radii.astype(np.float32), 0.01),))


def test_what_lies_behind_a_nearer_layer_in_the_second_frame_is_occluded() -> None:
    ground = Layer(smooth_texture(), Motion(np.eye(3), STILL))
    moving = square((20.25, 20.25), 5, matrix_of(0, 1, (8, 0), (0, 0)))
    scene = compose([ground, moving], np.random.default_rng(0), PLAIN)
    moved = np.zeros((48, 64), bool)
    moved[16:26, 16:26] = True
    np.testing.assert_array_equal(scene.flow[..., 0] == 8, moved)
    hidden = np.zeros((48, 64), bool)
    # The square now lies from column 24 to 33; what of it lay at 24 and 25 in the first frame was the square itself.
    hidden[16:26, 26:34] = True
    np.testing.assert_array_equal(scene.occluded, hidden)
    # A nearer square that follows hides part of the farther one, and not the other way round.
    nearer = square((40.25, 20.25), 5, matrix_of(0, 1, (-6, 0), (0, 0)))
    scene = compose([ground, moving, nearer], np.random.default_rng(0), PLAIN)
    assert scene.occluded[16:26, 22:26].all()
    assert not scene.occluded[16:26, 36:46].any()


def test_holes_show_what_is_behind() -> None:
    ring = square((30.25, 20.25), 10, matrix_of(0, 1, (4, 0), (0, 0)))
    hole = square((30.25, 20.25), 4, np.eye(3)).outlines[0]
    ring = replace(ring, outlines=(*ring.outlines, hole))
    scene = compose([Layer(smooth_texture(), Motion(np.eye(3), STILL)), ring], np.random.default_rng(0), PLAIN)
    assert not scene.flow[18:23, 28:33].any()
    assert (scene.flow[18:23, 22:25, 0] == 4).all()


def test_outlines_lie_within_their_circle_and_their_box() -> None:
    random = np.random.default_rng(2)
    y, x = np.indices((80, 80), dtype=np.float32)
    for _ in range(40):
        outline = draw_outline(random, np.array([40.0, 38.0]), 20.0)
        assert outline.radii.min() > 0
        assert outline.radii.max() <= 20 * 1.0001
        motion = draw_motion(random, np.array([40.0, 38.0]), 40.0, 8.0, 1.0, 1.0)
        layer = Layer(draw_texture(random, 40.0, ()), motion, (outline,))
        for moved in (False, True):
            cover = layer.cover(*(motion.backward(x, y) if moved else (x, y)))
            inside = np.zeros_like(cover, dtype=bool)
            inside[layer.box((80, 80), moved=moved)] = True
            assert not cover[~inside].any()
            assert cover[inside].max() == 1


def test_surfaces_are_cut_out_of_photographs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder of photographs"):
        FlowScenes(photos=str(tmp_path))
    for i, size in enumerate(((300, 200), (1600, 90))):
        Image.new("RGB", size, (200, 30 + i, 10)).save(tmp_path / f"{i}.png")
    photos = read_photos(str(tmp_path))
    assert [photo.shape for photo in photos] == [(200, 300, 3), (43, 768, 3)]
    random = np.random.default_rng(0)
    of_photos = 0
    for _ in range(60):
        colours = draw_texture(random, 30.0, photos).pixels.reshape(-1, 3) * 255
        of_photos += bool(np.abs(colours - [200, 30.5, 10]).max() < 1)
    assert 30 <= of_photos <= 50


def test_light_changes_frames_and_leaves_motion_alone() -> None:
    plain, lit = (flow_scene(2, 7, replace(PLAIN, change=change)) for change in (0.0, 1.0))
    np.testing.assert_array_equal(plain.flow, lit.flow)
    np.testing.assert_array_equal(plain.occluded, lit.occluded)
    assert np.abs(plain.frames.astype(int) - lit.frames).mean() > 2
    random, grey = np.random.default_rng(0), np.full((2, 20, 30, 3), 0.5, np.float32)
    np.testing.assert_array_equal(develop(random, grey, 0.0, foggy=False), np.full((2, 20, 30, 3), 128))
    fog = develop(random, np.zeros((2, 20, 30, 3), np.float32), 0.0, foggy=True)
    assert fog.mean() > 10
    np.testing.assert_array_equal(fog[0], fog[1])


def test_an_open_shutter_smears_along_the_motion_only() -> None:
    lines = np.zeros((20, 30, 3), np.float32)
    lines[:, 15] = 1
    along = np.zeros((20, 30, 2), np.float32)
    along[..., 1] = 6
    np.testing.assert_allclose(smeared(lines, along), lines, atol=1e-6)
    across = np.roll(along, 1, axis=-1)
    smear = smeared(lines, across)[10, :, 0]
    assert smear.max() < 0.5
    assert smear.sum() == pytest.approx(1, abs=0.1)
    assert smear[:11].max() == smear[20:].max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [4, 128]}, r"size \(4, 128\) must be at least 8 x 8"),
        ({"motion": -0.1}, r"motion \(-0.1\) must not be negative"),
        ({"most_objects": -1}, r"most_objects \(-1\) must not be negative"),
        ({"blurred": 1.5}, r"blurred \(1.5\) must lie between 0 and 1"),
        ({"photos": "absent"}, "'absent' must be a folder of photographs"),
        ({"num_test": 0}, r"num_test \(0\) must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_data(DataConfig(source="flow-scenes", options=options), ("frame1", "frame2", "flow"))


def test_motion_grows_with_the_option_and_varies_between_scenes() -> None:
    config = FlowScenes(size=(24, 32), motion=0.2)
    far, near = (
        [np.linalg.norm(flow_scene(0, i, replace(config, motion=motion)).flow, axis=-1).mean() for i in range(40)]
        for motion in (0.2, 0.02)
    )
    assert np.mean(far) > 3 * np.mean(near)
    assert max(far) > 5 * min(far)
