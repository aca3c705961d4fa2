"""Clouds of points: files of points or of meshes to arrays; knows no model.

A cloud is `float32` (P, 3 + K): coordinates, then whatever else the file has of each point.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

POINT_SUFFIXES = (".npy", ".npz", ".ply", ".off", ".xyz", ".txt", ".pts")
_PLY_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles.

    Args:
        vertices: (V, 3).
        faces: Numbers of the corners of each triangle, (T, 3).
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "T 3"]


def read_points(value: Any, num_points: int, seed: int = 0) -> Float32[np.ndarray, "P C"]:
    """Return the points of a cloud, or points on the surface of a mesh.

    Args:
        value: A file of points (npy, npz, ply, xyz, txt, pts) or of a mesh (off), or an array (P, 3 + K).
        num_points: Of a larger cloud so many are drawn; a mesh gives exactly so many, evenly over its area.
        seed: Of what is drawn.

    Raises:
        ValueError: The file is absent or broken, or there are no points of finite coordinates.
    """
    if num_points < 1:
        raise ValueError(f"num_points ({num_points}) must be at least 1")
    cloud = _read(value)
    generator = np.random.default_rng(seed)
    if isinstance(cloud, Mesh):
        return sample_surface(cloud, num_points, generator)
    if len(cloud) <= num_points:
        return cloud
    return cloud[np.sort(generator.choice(len(cloud), num_points, replace=False))]


def aligned(points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, "P 3"]:
    """Turn a cloud about its middle so that its main axes lie along x, y and z, the shortest first.

    The longer tail of y and of z goes up. Clouds are turned only, never mirrored, so that the side of x follows.
    """
    middle = points.mean(axis=0)
    around = (points - middle).astype(np.float64)
    _, axes = np.linalg.eigh(around.T @ around)
    tails = ((around @ axes) ** 3).mean(axis=0)
    axes = axes * np.where(tails < 0, -1.0, 1.0)
    axes[:, 0] *= np.sign(np.linalg.det(axes))
    return (around @ axes + middle).astype(np.float32)


def points_problem(value: Any) -> str | None:
    """Return what is wrong with points that a data set has, or `None`."""
    if value is None or (isinstance(value, str) and not value):
        return "the points are missing"
    try:
        _read(value)
    except ValueError as error:
        return str(error)
    return None


def sample_surface(mesh: Mesh, num_points: int, generator: np.random.Generator) -> Float32[np.ndarray, "P 3"]:
    """Draw points evenly over the area of a mesh.

    Raises:
        ValueError: The mesh has no area.
    """
    corners = mesh.vertices[mesh.faces]  # (T, 3, 3)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = np.linalg.norm(np.cross(first, second), axis=1)
    if not areas.sum():
        raise ValueError(f"a mesh of {len(areas)} faces has no area to draw points from")
    chosen = generator.choice(len(areas), num_points, p=areas / areas.sum())
    u, v = generator.random((2, num_points, 1))
    # The far half of the parallelogram is folded back onto the triangle.
    folded = u + v > 1
    u, v = np.where(folded, 1 - u, u), np.where(folded, 1 - v, v)
    return (corners[chosen, 0] + u * first[chosen] + v * second[chosen]).astype(np.float32)


def _read(value: Any) -> Float32[np.ndarray, "P C"] | Mesh:
    if not isinstance(value, str | Path):
        return _checked(value, "points")
    path = Path(value)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise ValueError(f"point file '{path}' must end in one of {list(POINT_SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"point file '{path}' does not exist")
    try:
        found = _READERS[suffix](path.read_bytes())
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"point file '{path}' cannot be read ({error})") from error
    if isinstance(found, Mesh):
        _checked(found.vertices, f"point file '{path}'")
        return found
    return _checked(found, f"point file '{path}'")


def _checked(value: Any, name: str) -> Float32[np.ndarray, "P C"]:
    try:
        points = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: not an array of numbers ({error})") from error
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
        raise ValueError(f"{name}: shape {points.shape} must be (P, 3) or wider, with at least one point")
    if not np.isfinite(points).all():
        raise ValueError(f"{name}: there are values that are no finite numbers")
    return points


def _read_npy(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def _read_npz(data: bytes) -> np.ndarray:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        names = list(arrays)
        if "points" not in names and len(names) != 1:
            raise ValueError(f"it must have an array 'points', or one array; it has {names}")
        return arrays["points" if "points" in names else names[0]]


def _read_text(data: bytes) -> np.ndarray:
    lines = data.decode("ascii").replace(",", " ").replace(";", " ").splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.lstrip().startswith(("#", "//"))]
    # XYZ and PTS files may begin with how many points follow.
    if rows and len(rows[0]) == 1 and int(rows[0][0]) == len(rows) - 1:
        rows = rows[1:]
    return np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)


def _read_off(data: bytes) -> Mesh | np.ndarray:
    lines = (line.split("#")[0] for line in data.decode("ascii").splitlines())
    words = " ".join(lines).split()
    if not words or not words[0].startswith("OFF"):
        raise ValueError("it does not begin with OFF")
    # Some files of ModelNet have the counts on the line of the name, without a space between.
    words = ([words[0][3:]] if words[0] != "OFF" else []) + words[1:]
    num_vertices, num_faces = int(words[0]), int(words[1])
    end = 3 + 3 * num_vertices
    if len(words) < end:
        raise ValueError(f"it ends within its {num_vertices} vertices")
    vertices = np.array(words[3:end], dtype=np.float64).reshape(-1, 3)
    if not num_faces:
        return vertices
    faces: list[tuple[int, int, int]] = []
    place = end
    for _ in range(num_faces):
        if place >= len(words) or place + int(words[place]) >= len(words):
            raise ValueError(f"it ends within its {num_faces} faces")
        count = int(words[place])
        corners = [int(word) for word in words[place + 1 : place + 1 + count]]
        # A polygon is a fan of triangles.
        faces += [(corners[0], corners[i], corners[i + 1]) for i in range(1, count - 1)]
        place += 1 + count
    return _mesh(vertices, faces)


def _mesh(vertices: np.ndarray, faces: list[tuple[int, int, int]]) -> Mesh:
    array = np.array(faces, dtype=np.int64).reshape(-1, 3)
    if not len(array) or array.min() < 0 or array.max() >= len(vertices):
        raise ValueError(f"its faces must have corners from 0 to {len(vertices) - 1}")
    return Mesh(vertices, array)


def _read_ply(data: bytes) -> np.ndarray:
    """Return the vertices; their coordinates first, then their other numbers in the order of the file."""
    head, mark, body = data.partition(b"end_header")
    lines = [line.split() for line in head.decode("ascii").splitlines()]
    if not mark or not lines or lines[0] != ["ply"]:
        raise ValueError("it has no header of a PLY file")
    body = body[body.index(b"\n") + 1 :]
    form = next(line[1] for line in lines if line[:1] == ["format"])
    elements = [line for line in lines if line[:1] == ["element"]]
    if not elements or elements[0][1] != "vertex":
        raise ValueError("its first element must be vertex")
    start = lines.index(elements[0])
    stop = lines.index(elements[1]) if len(elements) > 1 else len(lines)
    fields = [(line[2], line[1]) for line in lines[start:stop] if line[:1] == ["property"]]
    names = [name for name, _ in fields]
    count = int(elements[0][2])
    if not {"x", "y", "z"} <= set(names):
        raise ValueError(f"its vertices must have x, y and z; they have {names}")
    if form == "ascii":
        numbers = body.decode("ascii").split()[: count * len(names)]
        table = np.array(numbers, dtype=np.float64).reshape(count, len(names))
    else:
        order = {"binary_little_endian": "<", "binary_big_endian": ">"}[form]
        kind = np.dtype([(name, order + _PLY_TYPES[word]) for name, word in fields])
        rows = np.frombuffer(body, dtype=kind, count=count)
        table = np.stack([rows[name].astype(np.float64) for name in names], axis=1)
    axes = [names.index(axis) for axis in ("x", "y", "z")]
    return table[:, axes + [i for i in range(len(names)) if i not in axes]]


_READERS = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".ply": _read_ply,
    ".off": _read_off,
    **dict.fromkeys((".xyz", ".txt", ".pts"), _read_text),
}
