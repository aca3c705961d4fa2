"""Files of points and meshes, points on surfaces, and pictures."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceivers.processing.heat_pictures import heat_on_points
from perceivers.processing.point_pictures import draw_points
from perceivers.processing.points import Mesh, aligned, points_problem, read_points, sample_surface

CLOUD = np.array([[0.0, 0.5, 1.0, 7.0], [-1.0, 0.25, 2.0, 8.0], [3.0, 4.0, -5.0, 9.0]], np.float32)
ROWS = "\n".join(" ".join(map(str, row)) for row in CLOUD.tolist())
PLY = (
    "ply\nformat {} 1.0\ncomment made by hand\nelement vertex 3\n{}"
    "element face 1\nproperty list uchar int v\nend_header\n"
)
# Written in an order of their own: the coordinates come first all the same.
PROPERTIES = "property uchar red\nproperty double x\nproperty float y\nproperty float z\n"


def ply_rows(order: str) -> bytes:
    return b"".join(struct.pack(f"{order}Bdff", int(row[3]), *row[:3].tolist()) for row in CLOUD)


def write(path: Path) -> None:
    """Write the cloud in the form that the name asks for."""
    contents: dict[str, Any] = {
        "a.xyz": ROWS.encode(),
        "a.txt": ("# x,y,z,w\n" + ROWS.replace(" ", ",")).encode(),
        "a.pts": f"3\n{ROWS}\n".encode(),
        "ascii.ply": (
            PLY.format("ascii", PROPERTIES)
            + "\n".join(f"{int(r[3])} {r[0]} {r[1]} {r[2]}" for r in CLOUD)
            + "\n3 0 1 2\n"
        ).encode(),
        "little.PLY": PLY.format("binary_little_endian", PROPERTIES).encode() + ply_rows("<"),
        "big.ply": PLY.format("binary_big_endian", PROPERTIES).encode() + ply_rows(">"),
    }
    if path.suffix == ".npy":
        np.save(path, CLOUD.astype(np.float64))
    elif path.suffix == ".npz":
        np.savez(
            path,
            **{"points" if path.stem == "named" else "x": CLOUD},
            **({"other": CLOUD} if path.stem == "named" else {}),
        )
    else:
        path.write_bytes(contents[path.name])


@pytest.mark.parametrize(
    "name",
    ["a.npy", "a.npz", "named.npz", "a.xyz", "a.txt", "a.pts", "ascii.ply", "little.PLY", "big.ply"],
)
def test_every_kind_of_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    found = read_points(str(tmp_path / name), 10)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, CLOUD)
    assert points_problem(str(tmp_path / name)) is None


def test_of_large_clouds_some_points_are_drawn_always_the_same() -> None:
    cloud = np.random.default_rng(0).normal(size=(1000, 3))
    found = read_points(cloud, 100)
    assert found.shape == (100, 3)
    np.testing.assert_array_equal(found, read_points(cloud, 100))
    assert (found != read_points(cloud, 100, seed=1)).any()
    known = {tuple(row) for row in cloud.astype(np.float32)}
    assert len({tuple(row) for row in found} & known) == 100


@pytest.mark.parametrize("head", ["OFF\n5 2 0\n", "OFF5 2 0\n", "OFF # made by hand\n\n5 2 0\n"])
def test_points_of_a_mesh_lie_evenly_on_its_surface(tmp_path: Path, head: str) -> None:
    """A square of area 4 and a triangle of area 1 that stands on its edge."""
    vertices = "0 0 0\n2 0 0\n2 2 0\n0 2 0\n0 0 1\n"
    path = tmp_path / "mesh.off"
    path.write_text(f"{head}{vertices}4 0 1 2 3 255 0 0\n3 0 1 4\n".replace("3 255 0 0", "3"))
    found = read_points(path, 20000)
    assert found.shape == (20000, 3)
    flat = found[:, 2] == 0
    assert flat.mean() == pytest.approx(0.8, abs=0.01)
    np.testing.assert_allclose(found[flat].mean(axis=0), [1, 1, 0], atol=0.03)
    standing = found[~flat]
    assert (standing[:, 1] == 0).all()
    assert (standing[:, 0] / 2 + standing[:, 2] <= 1 + 1e-6).all()
    np.testing.assert_allclose(standing.mean(axis=0), [2 / 3, 0, 1 / 3], atol=0.03)


def test_a_mesh_without_faces_is_a_cloud(tmp_path: Path) -> None:
    (tmp_path / "a.off").write_text("OFF\n2 0 0\n0 0 0\n1 2 3\n")
    np.testing.assert_array_equal(read_points(tmp_path / "a.off", 9), [[0, 0, 0], [1, 2, 3]])


def test_a_mesh_without_area() -> None:
    mesh = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="a mesh of 1 faces has no area"):
        sample_surface(mesh, 5, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.stl", b"", r"must end in one of \['.npy'"),
        ("a.off", b"3 1 0", "does not begin with OFF"),
        ("a.off", b"OFF 3 1 0\n0 0 0 1 1", "ends within its 3 vertices"),
        ("a.off", b"OFF 3 2 0\n0 0 0 1 1 1 2 0 0\n3 0 1 2", "ends within its 2 faces"),
        ("a.off", b"OFF 3 1 0\n0 0 0 1 1 1 2 0 0\n3 0 1 3", "must have corners from 0 to 2"),
        ("a.off", b"OFF 3 1 0\n0 0 nan 1 1 1 2 0 0\n3 0 1 2", "no finite numbers"),
        ("a.xyz", b"1 2\n3 4", r"shape \(2, 2\) must be \(P, 3\) or wider"),
        ("a.xyz", b"1 2 3\n3 4", "cannot be read"),
        ("a.txt", b"", "must be"),
        ("a.npy", b"words", "cannot be read"),
        ("a.npz", b"words", "cannot be read"),
        ("a.ply", b"words", "no header of a PLY file"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement face 1\nend_header\n", "first element must be vertex"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1", "must have x, y and z"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_points(tmp_path / name, 5)
    assert name in (points_problem(str(tmp_path / name)) or "")


def test_aligned_clouds_lie_the_same_way_however_they_were_turned() -> None:
    generator = np.random.default_rng(0)
    # Longer along one axis than along another, with longer tails to one side.
    points = (generator.exponential(1, (200, 3)) * [3.0, 1.0, 2.0] + 5).astype(np.float32)
    found = aligned(points)
    around = found - found.mean(axis=0)
    np.testing.assert_allclose(found.mean(axis=0), points.mean(axis=0), rtol=1e-5)
    spread = around.T @ around / len(around)
    np.testing.assert_allclose(spread, np.diag(np.diag(spread)), atol=1e-3)
    assert list(np.diag(spread)) == sorted(np.diag(spread))
    assert (around[:, 1:] ** 3).mean(axis=0).min() > 0
    for _ in range(3):
        turn = np.linalg.qr(generator.normal(size=(3, 3)))[0]
        turn *= np.linalg.det(turn)
        other = aligned((points @ turn).astype(np.float32))
        np.testing.assert_allclose(other - other.mean(axis=0), around, atol=1e-3)
    # A mirrored cloud stays mirrored.
    mirrored = aligned(points * np.array([-1, 1, 1], np.float32))
    np.testing.assert_allclose((mirrored - mirrored.mean(axis=0)) * [-1, 1, 1], around, atol=1e-3)
    # One point has no axes.
    assert aligned(points[:1]).tolist() == points[:1].tolist()


def test_what_is_no_points() -> None:
    with pytest.raises(ValueError, match=r"point file 'absent.npy' does not exist"):
        read_points("absent.npy", 5)
    with pytest.raises(ValueError, match="not an array of numbers"):
        read_points([[1.0], [2.0, 3.0]], 5)
    with pytest.raises(ValueError, match=r"num_points \(0\) must be at least 1"):
        read_points(CLOUD, 0)
    assert points_problem(None) == points_problem("") == "the points are missing"


def ink(picture: np.ndarray, view: int) -> np.ndarray:
    """Return where there is ink in one of the three views, (200, 200)."""
    left = 208 * view
    inner = picture[20:216, left + 2 : left + 198].astype(int)
    return 255 * 3 - inner.sum(axis=2)


def test_pictures_show_three_sides_and_depth() -> None:
    """A point to the right and far, and one to the left, up and near; as seen from the front, where y goes away."""
    cloud = np.array([[1.0, 1.0, 0.0], [-1.0, -1.0, 2.0]])
    picture = np.asarray(draw_points(cloud))
    front, side, top = (ink(picture, view) for view in range(3))
    for view in (front, side, top):
        assert view.any()
    near, far = front[:98, :98], front[98:, 98:]
    assert near.max() > far.max() > 0
    assert not front[:98, 98:].any()
    # From the side the near one is to the left, and so it is from above, where it lies below.
    assert side[:98, :98].any()
    assert top[98:, :98].any()
    assert top[98:, :98].max() > top[:98, 98:].max()
    assert draw_points(np.zeros((1, 3))).size == (616, 218)


def test_weights_on_points() -> None:
    cloud = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    picture = np.asarray(heat_on_points(cloud, np.array([0.0, 1.0]))).astype(int)
    left, right = picture[18:218, 2:98], picture[18:218, 102:198]
    assert (left[..., 0] - left[..., 2]).max() > 60
    assert np.abs(right[..., 0] - right[..., 2]).max() < 20
    with pytest.raises(ValueError, match=r"points of shape \(2, 3\) must be \(P, 3\) with P the 3 weights"):
        heat_on_points(cloud, np.ones(3))
