"""Tiling and blending as in the original, and flow files that are whole, exact and refused when broken."""

import io
import itertools
import json
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from golden_models import FULL_SIZE_GOLDENS
from perceivers.processing.flow import blend, blend_weights, pad_to, read_flow, tile_corners, write_flow

PAIRS = Path(__file__).resolve().parents[3] / "shared" / "data" / "optical_flow" / "warped_pairs"
OFFICIAL_TILE = (368, 496)
RNG = np.random.default_rng(0)
FLOW = (RNG.integers(-(2**15), 2**15, (7, 9, 2)) / 64).astype(np.float32)
VALID = RNG.random((7, 9)) < 0.7


# The original's grids, less what leaves the image or comes twice.
@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((436, 1024), [0, 68], [0, 476, 528]),
        ((368, 496), [0], [0]),
        ((375, 1242), [0, 7], [0, 476, 746]),
        ((716, 968), [0, 348], [0, 472]),
        ((100, 2000), [0], [0, 476, 952, 1428, 1504]),
    ],
)
def test_corners_of_known_sizes(size: tuple[int, int], rows: list[int], columns: list[int]) -> None:
    assert tile_corners(*size, OFFICIAL_TILE, 20) == list(itertools.product(rows, columns))


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("min_overlap", [0, 1, 4])
def test_tiles_cover_every_size_with_enough_overlap(even: bool, min_overlap: int) -> None:
    for side in range(1, 40):
        corners = [y for y, _ in tile_corners(side, 3, (5, 7), min_overlap, even=even)]
        assert corners[0] == 0
        assert corners[-1] == max(side - 5, 0)
        gaps = np.diff(corners)
        assert ((gaps > 0) & (gaps <= 5 - min_overlap)).all()
        assert not even or len(gaps) == 0 or gaps.max() - gaps.min() <= 1
        fewest = 1 + max(0, -(-(side - 5) // (5 - min_overlap)))
        assert len(corners) == fewest if even else len(corners) >= fewest


@pytest.mark.parametrize(
    ("height", "min_overlap", "message"),
    [(20, -1, r"min_overlap \(-1\)"), (20, 5, r"min_overlap \(5\)"), (0, 2, "0 x 20")],
)
def test_impossible_grids_are_refused(height: int, min_overlap: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tile_corners(height, 20, (5, 7), min_overlap)


def test_weights_are_the_distance_to_the_nearest_edge() -> None:
    assert blend_weights((4, 5)).tolist() == [[1, 1, 1, 1, 1], [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], [1, 1, 1, 1, 1]]


def test_blending_averages_by_weight() -> None:
    tiles = [np.full((2, 4, 2), value, np.float32) for value in (0, 10)]
    blended = blend(tiles, [(0, 0), (0, 2)], 2, 6)
    np.testing.assert_allclose(blended[0, :, 0], [0, 0, 5, 5, 10, 10])
    # Further inside, where sides are long enough to tell, the inner tile counts more.
    tiles = [np.full((9, 5, 1), value, np.float32) for value in (0, 12)]
    np.testing.assert_allclose(blend(tiles, [(0, 0), (0, 2)], 9, 7)[4, :, 0], [0, 0, 3, 6, 9, 12, 12], rtol=1e-6)


@pytest.mark.parametrize("size", [(18, 31), (3, 31), (18, 5), (2, 2)])
@pytest.mark.parametrize("even", [False, True])
def test_cutting_into_tiles_and_blending_gives_the_image_back(size: tuple[int, int], even: bool) -> None:
    image = RNG.random((*size, 2)).astype(np.float32)
    tile = (8, 12)
    padded = pad_to(image, tile)
    corners = tile_corners(*size, tile, 3, even=even)
    tiles = [padded[y : y + 8, x : x + 12] for y, x in corners]
    blended = blend(tiles, corners, *size)
    assert blended.dtype == np.float32
    np.testing.assert_allclose(blended, image, rtol=1e-6)


def test_padding_repeats_the_border_below_and_right() -> None:
    frames = RNG.integers(0, 256, (2, 3, 4, 1), dtype=np.uint8)
    padded = pad_to(frames, (5, 4))
    assert padded.shape == (2, 5, 4, 1)
    np.testing.assert_array_equal(padded[:, :3], frames)
    np.testing.assert_array_equal(padded[:, 4], frames[:, 2])
    np.testing.assert_array_equal(pad_to(frames, (1, 1)), frames)


@pytest.mark.parametrize(
    ("tiles", "corners", "message"),
    [
        ([np.zeros((2, 2, 2))], [(0, 0), (0, 1)], "2 arrays"),
        ([np.zeros((2, 2, 2)), np.zeros((2, 3, 2))], [(0, 0), (0, 1)], r"\(2, 3, 2\)"),
        ([np.zeros((2, 2))], [(0, 0)], r"\(2, 2\)"),
        ([np.zeros((2, 2, 2))], [(0, -1)], r"\(0, -1\)"),
        ([np.zeros((2, 2, 2))], [(3, 0)], r"\(3, 0\)"),
        ([np.zeros((2, 2, 2))], [(0, 0)], r"pixel \(0, 2\)"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(
    tiles: list[np.ndarray], corners: list[tuple[int, int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        blend(tiles, corners, 3, 3)


@pytest.mark.shared
def test_tiling_gives_the_originals_numbers() -> None:
    path = FULL_SIZE_GOLDENS / "primitives.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with np.load(path, allow_pickle=False) as archive:
        first, second, grid, expected = (archive[f"flow_tiles/{name}"] for name in ("img1", "img2", "grid", "out"))
        meta = json.loads(str(archive["meta"]))
    height, width = first.shape[:2]
    tile = tuple(meta["flow_tiles"]["train_size"])
    visited = [(int(y), int(x)) for y, x in grid]
    # The toy network of the golden file's meta entry.
    tiles = []
    for y, x in visited:
        one, two = (frame[y : y + tile[0], x : x + tile[1]] for frame in (first, second))
        tiles.append(np.stack([one[..., 0] * two[..., 1], 0.1 * np.cumsum(two[..., 2], axis=0)], axis=-1))
    np.testing.assert_allclose(blend(tiles, visited, height, width), expected[0], rtol=0, atol=1e-5)
    overlap = meta["flow_tiles"]["min_overlap"]
    assert tile_corners(height, width, tile, overlap) == sorted(set(visited))
    for name, official in meta["flow_grid_official"].items():
        height, width = (int(side) for side in name.split("x"))
        clamped = {(min(y, height - OFFICIAL_TILE[0]), min(x, width - OFFICIAL_TILE[1])) for y, x in official}
        assert tile_corners(height, width, OFFICIAL_TILE, 20) == sorted(clamped), name


@pytest.mark.parametrize("suffix", [".flo", ".png", ".npy", ".FLO"])
def test_files_give_back_what_was_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"flow{suffix}"
    path.write_text("what was there before")
    # What is not valid may hold anything.
    write_flow(path, np.where(VALID[..., None], FLOW, np.float32(np.nan)), VALID)
    field = read_flow(str(path))
    np.testing.assert_array_equal(field.valid, VALID)
    np.testing.assert_array_equal(field.flow, np.where(VALID[..., None], FLOW, 0))
    assert field.flow.dtype == np.float32
    assert field.occluded is None
    write_flow(path, FLOW.astype(np.float64))
    assert read_flow(path).valid.all()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".flo", ".png", ".npy"])
def test_flows_with_their_parts_first_in_memory_are_written(suffix: str, tmp_path: Path) -> None:
    flow = np.moveaxis(np.ascontiguousarray(np.moveaxis(FLOW, -1, 0)), 0, -1)
    write_flow(tmp_path / f"flow{suffix}", flow)
    np.testing.assert_array_equal(read_flow(tmp_path / f"flow{suffix}").flow, FLOW)


def test_flo_is_middleburys_layout(tmp_path: Path) -> None:
    data = struct.pack("<fii", 202021.25, 2, 1) + struct.pack("<4f", 1.5, -2.0, 1.7e9, 0.0)
    (tmp_path / "a.flo").write_bytes(data)
    field = read_flow(tmp_path / "a.flo")
    assert field.flow.tolist() == [[[1.5, -2.0], [0.0, 0.0]]]
    assert field.valid.tolist() == [[True, False]]
    write_flow(tmp_path / "b.flo", field.flow, field.valid)
    written = (tmp_path / "b.flo").read_bytes()
    assert written[:20] == data[:20]
    assert min(struct.unpack("<2f", written[20:])) > 1e9


def test_kitti_is_a_png_that_others_can_open(tmp_path: Path) -> None:
    write_flow(tmp_path / "a.png", FLOW, VALID)
    codes = np.where(VALID[..., None], FLOW * 64 + 2**15, 0).astype(np.uint16)
    with Image.open(tmp_path / "a.png") as image:
        # Pillow keeps the upper half of the 16 bits.
        np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[..., :2], codes >> 8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, body: bytes, form: tuple[int, ...] = (16, 2, 0, 0, 0), pieces: int = 1, lost: int = 0
) -> bytes:
    packed = zlib.compress(body)
    cuts = np.linspace(0, len(packed) - lost, pieces + 1).astype(int)
    data = b"".join(chunk(b"IDAT", packed[i:j]) for i, j in itertools.pairwise(cuts))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *form))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"tEXt", b"a\0b") + data + chunk(b"IEND", b"")


def filtered(rows: np.ndarray, filters: list[int]) -> bytes:
    """Filter rows of bytes as the PNG specification says, byte by byte."""
    body = bytearray()
    for y, kind in enumerate(filters):
        body.append(kind)
        for i in range(rows.shape[1]):
            a = int(rows[y, i - 6]) if i >= 6 else 0
            b = int(rows[y - 1, i]) if y else 0
            c = int(rows[y - 1, i - 6]) if y and i >= 6 else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            body.append((int(rows[y, i]) - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
    return bytes(body)


@pytest.mark.parametrize("size", [(6, 9), (9, 4), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("filters", [[0], [1], [2], [3], [4], [4, 1, 3, 2, 0]])
def test_every_filter_of_png_is_undone(size: tuple[int, int], filters: list[int], tmp_path: Path) -> None:
    # Values close to each other as well as far apart, so that Paeth takes all its ways.
    codes = RNG.choice([0, 1, 2, 255, 256, 30000, 65535], (*size, 3)).astype(np.uint16)
    rows = codes.astype(">u2").view(np.uint8).reshape(size[0], -1)
    kinds = list(itertools.islice(itertools.cycle(filters), size[0]))
    (tmp_path / "a.png").write_bytes(png(size[1], size[0], filtered(rows, kinds), pieces=3))
    field = read_flow(tmp_path / "a.png")
    valid = codes[..., 2] > 0
    np.testing.assert_array_equal(field.valid, valid)
    np.testing.assert_array_equal(field.flow[valid], (codes[valid][:, :2].astype(np.float64) - 2**15) / 64)


@pytest.mark.parametrize("value", [-512.02, 512.0, 600.0])
def test_kitti_refuses_what_it_cannot_hold(value: float, tmp_path: Path) -> None:
    flow = FLOW.copy()
    flow[2, 3] = (1, value)
    with pytest.raises(ValueError, match=rf"{value:g}\) at row 2, column 3.* -512 and 511\.98"):
        write_flow(tmp_path / "a.png", flow)
    assert not list(tmp_path.iterdir())
    flow[2, 3, 1] = 511.99
    write_flow(tmp_path / "a.png", flow)


@pytest.mark.parametrize("suffix", [".flo", ".png", ".npy"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 2e9])
def test_unknown_values_must_be_marked(suffix: str, value: float, tmp_path: Path) -> None:
    flow = FLOW.copy()
    flow[1, 2, 0] = value
    with pytest.raises(ValueError, match="row 1, column 2"):
        write_flow(tmp_path / f"a{suffix}", flow)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flow", "valid", "message"),
    [
        (FLOW[..., :1], None, r"\(7, 9, 1\)"),
        (FLOW[:0], None, "0 x 9"),
        (FLOW, VALID[1:], r"\(6, 9\)"),
        (FLOW, VALID.astype(np.uint8), "uint8"),
    ],
)
def test_arrays_that_are_no_flow_are_refused(
    flow: np.ndarray, valid: np.ndarray | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_flow(tmp_path / "a.flo", flow, valid)


def test_a_failing_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flow(tmp_path / "a.flo", FLOW)
    before = (tmp_path / "a.flo").read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_flow(tmp_path / "a.flo", FLOW + 1)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a.flo": before}


def test_names_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.txt.*\.flo.*\.npz"):
        read_flow(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"a\.npz.*\.flo"):
        write_flow(tmp_path / "a.npz", FLOW)
    with pytest.raises(ValueError, match=r"a\.flo.*does not exist"):
        read_flow(tmp_path / "a.flo")
    with pytest.raises(ValueError, match=r"absent.*does not exist"):
        write_flow(tmp_path / "absent" / "a.flo", FLOW)


def npy(shape: str, data: bytes = b"", dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


def flo(width: int, height: int, data: bytes = b"") -> bytes:
    return b"PIEH" + struct.pack("<ii", width, height) + data


@pytest.mark.parametrize(
    ("suffix", "data", "message"),
    [
        (".flo", b"", "begins with b''"),
        (".flo", b"HEIP" + bytes(16), "begins with b'HEIP'"),
        (".flo", b"PIEH\1\0", "width and height"),
        (".flo", flo(2, 2, bytes(31)), "43 bytes.*need 44"),
        (".flo", flo(-2, -2, bytes(32)), "-2 x -2"),
        (".flo", flo(2**31 - 1, 2**31 - 1), "2147483647 x 2147483647"),
        (".flo", flo(2**13, 2**13), "need 536870924"),
        (".png", b"\xff\xd8\xff" + bytes(30), "as a PNG"),
        (".png", png(2, 2, bytes(26))[:-1], "ends early"),
        (".png", png(2, 2, bytes(26)).replace(b"tEXta", b"tEXtb"), "checksum.*tEXt"),
        (".png", png(2, 2, bytes(26), lost=4), "must be 26 bytes"),
        (".png", png(2, 2, bytes(100_000)), "must be 26 bytes"),
        (".png", png(2, 2, b"\5" + bytes(25)), "filter 5"),
        (".png", png(2, 2, bytes(14), (8, 2, 0, 0, 0)), r"\(8, 2, 0, 0, 0\)"),
        (".png", png(2, 2, bytes(26), (16, 2, 0, 0, 1)), r"\(16, 2, 0, 0, 1\)"),
        (".png", png(2**13, 2**13, bytes(26)), "8192 x 8192"),
        (".png", png(2**31, 2**31, bytes(26)), "2147483648 x 2147483648"),
        (".png", b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "no PNG header"),
        (
            ".png",
            png(2, 2, b"").replace(chunk(b"IDAT", zlib.compress(b"")), chunk(b"IDAT", b"no zlib")),
            "header check",
        ),
        (".npy", b"", "magic"),
        (".npy", npy("(2, 2, 2)", bytes(31)), "32 bytes, not 31"),
        (".npy", npy("(2, 2, 2)", bytes(33)), "32 bytes, not 33"),
        (".npy", npy("(8192, 8192, 2)", bytes(8)), "536870912 bytes, not 8"),
        (".npy", npy("(9999999999, 9999999999, 2)"), "at most"),
        (".npy", npy("(-2, -2, 2)", bytes(32)), r"\(-2, -2, 2\)"),
        (".npy", npy("(2, 2, 2)", bytes(64), "|O"), "object"),
        (".npz", b"PK", "zip"),
        (".npz", npz(other=b""), "flow_x64"),
        (".npz", npz(flow_x64=npy("(2, 2, 3)", bytes(23), "<i2")), "24 bytes, not 23"),
        (".npz", npz(flow_x64=npy("(2, 2, 3)", bytes(24), "<i2"), occluded=npy("(3, 2)", bytes(6), "|b1")), "occluded"),
    ],
)
def test_broken_files_are_named_with_what_is_wrong(suffix: str, data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}' cannot be read: .*(?:{message})"):
        read_flow(path)


def files_of_flows() -> dict[str, bytes]:
    body = filtered(RNG.integers(0, 256, (4, 30)).astype(np.uint8), [1, 2, 3, 4])
    flow = np.arange(12).astype("<i2").tobytes()
    return {
        ".flo": flo(2, 3, FLOW[:2, :3].tobytes()),
        ".png": png(5, 4, body),
        ".npy": npy("(2, 3, 2)", FLOW[:2, :3].tobytes()),
        ".npz": npz(flow_x64=npy("(2, 2, 3)", flow, "<i2"), occluded=npy("(2, 3)", bytes(6), "|b1")),
    }


def damaged(data: bytes, noise: np.random.Generator) -> bytes:
    """Cut the file short, or change some of its bytes."""
    changed = bytearray(data)
    for position in noise.integers(0, len(data), 3):
        changed[position] = noise.integers(256)
    return data[: noise.integers(len(data))] if noise.random() < 0.3 else bytes(changed)


@pytest.mark.filterwarnings("ignore")  # Numpy warns of headers that only Python 2 would have written.
@pytest.mark.parametrize("suffix", [".flo", ".png", ".npy", ".npz"])
def test_damaged_files_are_read_or_refused_and_nothing_else(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    path, whole, refused = tmp_path / f"a{suffix}", files_of_flows()[suffix], 0
    for data in [whole, *(damaged(whole, noise) for _ in range(200))]:
        path.write_bytes(data)
        try:
            assert np.isfinite(read_flow(path).flow).all()
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert data is not whole
            refused += 1
    assert refused > 60


def test_npz_holds_64ths_and_what_is_hidden(tmp_path: Path) -> None:
    motion = RNG.integers(-2000, 2000, (2, 4, 5)).astype(np.int16)
    occluded = RNG.random((4, 5)) < 0.5
    np.savez_compressed(tmp_path / "a.npz", flow_x64=np.asfortranarray(motion), occluded=occluded, other=np.zeros(3))
    field = read_flow(tmp_path / "a.npz")
    np.testing.assert_array_equal(field.flow, np.moveaxis(motion, 0, -1) / 64)
    assert field.valid.all()
    assert field.occluded is not None
    np.testing.assert_array_equal(field.occluded, occluded)


@pytest.mark.shared
def test_a_flo_of_others_is_read(tmp_path: Path) -> None:
    if not PAIRS.is_dir():
        pytest.skip(f"needs {PAIRS}")
    field, same = (read_flow(PAIRS / "test" / f"000_flow{suffix}") for suffix in (".npz", ".flo"))
    np.testing.assert_array_equal(field.flow, same.flow)
    assert same.valid.all()
    write_flow(tmp_path / "a.flo", same.flow)
    assert (tmp_path / "a.flo").read_bytes() == (PAIRS / "test" / "000_flow.flo").read_bytes()
