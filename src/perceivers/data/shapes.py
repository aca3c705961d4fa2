"""A data set of solids as clouds of points, made when it is asked for: `shapes`.

Each cloud lies on the surface of a solid of one of ten kinds, stretched by up to a half along each of its axes, turned
any way, seen from one side only and blurred; without noise, views and stretching a few numbers would tell them apart.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from datasets import Array2D, ClassLabel, Dataset, DatasetDict, Features
from jaxtyping import Float

from perceivers.processing.points import Mesh, sample_surface

SHAPES_SEED = 0
_NUM_POINTS, _NUM_TRAIN, _NUM_TEST = 256, 2000, 500
_NOISE, _MOST_HIDDEN, _STRETCH = 0.03, 0.4, 1.5
# More are drawn than are kept, of which the far ones are hidden.
_SPARE = 2

Points = Float[np.ndarray, "P 3"]
Draw = Callable[[np.random.Generator, int], Points]


def shapes() -> DatasetDict:
    """Return 2,000 clouds to train on and 500 others, 256 points each, ten kinds of solids in equal shares."""
    names = sorted(SOLIDS)
    form = Array2D(shape=(_NUM_POINTS, 3), dtype="float32")
    features = Features({"points": form, "label": ClassLabel(names=names)})

    def part(count: int, number: int) -> Dataset:
        generator = np.random.default_rng([SHAPES_SEED, number])
        labels = [i % len(names) for i in range(count)]
        clouds = [draw_cloud(names[label], generator) for label in labels]
        rows: dict[str, Any] = {"points": clouds, "label": labels}
        return Dataset.from_dict(rows, features=features)

    return DatasetDict({"train": part(_NUM_TRAIN, 0), "test": part(_NUM_TEST, 1)})


def draw_cloud(name: str, generator: np.random.Generator) -> Float[np.ndarray, "P 3"]:
    """Draw one cloud of a kind of solid, `float32` (256, 3)."""
    points = SOLIDS[name](generator, _SPARE * _NUM_POINTS)
    points = points * _STRETCH ** generator.uniform(-1, 1, 3)
    # A random turn: the orthogonal part of a random matrix, without reflection.
    turn, upper = np.linalg.qr(generator.normal(size=(3, 3)))
    turn = turn * np.sign(np.diag(upper))
    points = points @ (turn * np.sign(np.linalg.det(turn)))
    # What lies farthest in one direction is hidden, as if seen from the other side.
    farness = points @ _on_sphere(generator, 1)[0]
    hidden = generator.uniform(0, _MOST_HIDDEN)
    points = points[farness <= np.quantile(farness, 1 - hidden)]
    points = points[generator.choice(len(points), _NUM_POINTS, replace=False)]
    points = points - points.mean(axis=0)
    points = points / np.linalg.norm(points, axis=1).max() + _NOISE * generator.normal(size=points.shape)
    return points.astype(np.float32)


def _on_sphere(generator: np.random.Generator, count: int) -> Points:
    points = generator.normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _around(radius: np.ndarray, angle: np.ndarray, height: np.ndarray) -> Points:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def _ellipsoid(generator: np.random.Generator, count: int) -> Points:
    return _on_sphere(generator, count)


def _box(generator: np.random.Generator, count: int) -> Points:
    points = generator.uniform(-1, 1, (count, 3))
    points[np.arange(count), generator.integers(3, size=count)] = generator.choice([-1.0, 1.0], count)
    return points


def _cylinder(generator: np.random.Generator, count: int) -> Points:
    """Lid, floor and side, by their areas."""
    part = generator.choice(3, count, p=[1 / 6, 1 / 6, 2 / 3])
    radius = np.where(part == 2, 1.0, np.sqrt(generator.random(count)))
    height = np.select([part == 0, part == 1], [-1.0, 1.0], generator.uniform(-1, 1, count))
    return _around(radius, generator.uniform(0, 2 * np.pi, count), height)


def _cone(generator: np.random.Generator, count: int) -> Points:
    """Floor and side of a cone of radius 1 and height 2."""
    side = generator.random(count) < np.sqrt(5) / (1 + np.sqrt(5))
    radius = np.sqrt(generator.random(count))
    return _around(radius, generator.uniform(0, 2 * np.pi, count), np.where(side, 1 - 2 * radius, -1.0))


def _capsule(generator: np.random.Generator, count: int) -> Points:
    """A cylinder of height 2 between two half spheres."""
    points = _on_sphere(generator, count)
    side = generator.random(count) < 0.5
    round_side = _around(np.ones(count), generator.uniform(0, 2 * np.pi, count), generator.uniform(-1, 1, count))
    return np.where(side[:, None], round_side, points + np.sign(points) * [0, 0, 1])


def _torus(generator: np.random.Generator, count: int) -> Points:
    """A tube of radius 0.35 around a circle of radius 1; its outside has more area than its inside."""
    tube = generator.uniform(0, 2 * np.pi, 4 * count)
    tube = tube[generator.random(4 * count) * 1.35 < 1 + 0.35 * np.cos(tube)][:count]
    return _around(1 + 0.35 * np.cos(tube), generator.uniform(0, 2 * np.pi, len(tube)), 0.35 * np.sin(tube))


def _triangles(generator: np.random.Generator, count: int, corners: Float[np.ndarray, "T 3 3"]) -> Points:
    mesh = Mesh(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3))
    return sample_surface(mesh, count, generator).astype(np.float64)


def _pyramid(generator: np.random.Generator, count: int) -> Points:
    base = np.array([[-1.0, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1]])
    top = np.array([0.0, 0, 1])
    sides = [[base[i], base[(i + 1) % 4], top] for i in range(4)]
    return _triangles(generator, count, np.array([*sides, base[[0, 1, 2]], base[[0, 2, 3]]]))


def _prism(generator: np.random.Generator, count: int) -> Points:
    """A prism over a triangle of equal sides."""
    angles = 2 * np.pi * np.arange(3) / 3
    low, high = (_around(np.ones(3), angles, np.full(3, height)) for height in (-1.0, 1.0))
    sides = [
        face for i, j in ((0, 1), (1, 2), (2, 0)) for face in ([low[i], low[j], high[i]], [low[j], high[j], high[i]])
    ]
    return _triangles(generator, count, np.array([*sides, low, high]))


def _bowl(generator: np.random.Generator, count: int) -> Points:
    points = _on_sphere(generator, count)
    points[:, 2] = -np.abs(points[:, 2])
    return points


def _spring(generator: np.random.Generator, count: int) -> Points:
    """A wire that goes around two and a half times."""
    along = generator.random(count)
    return _around(np.ones(count), 5 * np.pi * along, 2 * along - 1) + 0.05 * generator.normal(size=(count, 3))


SOLIDS: dict[str, Draw] = {
    "bowl": _bowl,
    "box": _box,
    "capsule": _capsule,
    "cone": _cone,
    "cylinder": _cylinder,
    "ellipsoid": _ellipsoid,
    "prism": _prism,
    "pyramid": _pyramid,
    "spring": _spring,
    "torus": _torus,
}
