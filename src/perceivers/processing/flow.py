"""Optical flow: tiles of a large image, files of the usual formats.

A flow is `float32` (H, W, 2): how far each pixel of the first frame moves, u to the right and v down, in pixels.
A validity mask is `bool` (H, W), `True` where the flow is known.
"""

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

from perceivers.processing.files import whole_file

# A slip or a hostile file must not fill the memory.
_LONGEST_SIDE = 2**15
_MOST_PIXELS = 2**26

# Middlebury's convention: larger values mean that the motion is not known.
_LARGEST_KNOWN = 1e9
_UNKNOWN = 1e10
_FLO_MAGIC = b"PIEH"  # 202021.25 as little-endian float32

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_FORM = (16, 2, 0, 0, 0)  # 16 bits, RGB, the only compression and filters there are, not interlaced
_PIXEL_BYTES = 6

# What the readers of numpy's headers and of zip archives raise on hostile bytes.
_BROKEN = (ValueError, LookupError, OverflowError, OSError, RuntimeError, SyntaxError, TypeError, EOFError)
_BROKEN_ARCHIVE = (tokenize.TokenError, zipfile.BadZipFile, zlib.error)


class FlowField(NamedTuple):
    """A flow that was read.

    Attributes:
        flow: (H, W, 2); zero where it is not known.
        valid: (H, W), `True` where the flow is known.
        occluded: (H, W), `True` where a pixel is hidden in the second frame; `None` where the file does not say.
    """

    flow: Float32[np.ndarray, "H W 2"]
    valid: Bool[np.ndarray, "H W"]
    occluded: Bool[np.ndarray, "H W"] | None = None


def tile_corners(
    height: int, width: int, tile: tuple[int, int], min_overlap: int, *, even: bool = False
) -> list[tuple[int, int]]:
    """Return the top left corner (y, x) of each tile that covers an image, row by row.

    As in the original, tiles follow each other in steps of `tile - min_overlap`, and the last one ends at the
    border. Unlike in the original, none leaves the image and none comes twice. An image smaller than a tile has
    its corner at 0; see `pad_to`.

    Args:
        height: Of the image.
        width: Of the image.
        tile: Height and width of a tile.
        min_overlap: Pixels that neighbours share at least; the original takes 20.
        even: Spread the tiles evenly; they are as many.

    Raises:
        ValueError: The image is empty, or `min_overlap` is negative or not smaller than a tile.
    """
    if min(height, width) < 1:
        raise ValueError(f"image of {height} x {width} pixels must be at least 1 x 1")
    if not 0 <= min_overlap < min(tile):
        raise ValueError(f"min_overlap ({min_overlap}) must lie between 0 and the sides of the tile {tile}, exclusive")
    rows = _starts(height, tile[0], min_overlap, even)
    columns = _starts(width, tile[1], min_overlap, even)
    return [(y, x) for y in rows for x in columns]


def _starts(side: int, length: int, min_overlap: int, even: bool) -> list[int]:
    last, step = max(side - length, 0), length - min_overlap
    if even:
        gaps = math.ceil(last / step)
        return [i * last // max(gaps, 1) for i in range(gaps + 1)]
    return sorted({min(start, last) for start in range(0, side, step)})


def blend_weights(tile: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """Return the weight of each pixel of a tile: its distance to the nearest edge, 1 at the edge."""
    rows, columns = (np.minimum(np.arange(side) + 1, side - np.arange(side)) for side in tile)
    return np.minimum.outer(rows, columns).astype(np.float32)


def blend(
    tiles: Sequence[np.ndarray] | np.ndarray, corners: Sequence[tuple[int, int]], height: int, width: int
) -> Float32[np.ndarray, "H W E"]:
    """Return the average of overlapping tiles, weighted by `blend_weights`.

    Args:
        tiles: Arrays (h, w, E) of one size; what reaches beyond the image (see `pad_to`) is cut off.
        corners: Where each tile lies, (y, x).
        height: Of the image.
        width: Of the image.

    Raises:
        ValueError: Tiles and corners do not match, a corner is outside, or a pixel has no tile.
    """
    shapes = {np.shape(tile) for tile in tiles}
    if len(tiles) != len(corners) or len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"tiles of shapes {sorted(shapes)} must be {len(corners)} arrays (h, w, E), one a corner")
    tile_height, tile_width, channels = shapes.pop()
    weights = blend_weights((tile_height, tile_width)).astype(np.float64)[..., None]
    total = np.zeros((height, width, channels))
    weight = np.zeros((height, width, 1))
    for tile, (y, x) in zip(tiles, corners, strict=True):
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"corner {(y, x)} must lie in the image of {height} x {width} pixels")
        inside = (slice(0, height - y), slice(0, width - x))
        total[y : y + tile_height, x : x + tile_width] += (tile * weights)[inside]
        weight[y : y + tile_height, x : x + tile_width] += weights[inside]
    if not weight.all():
        y, x = (int(index) for index in np.argwhere(weight[..., 0] == 0)[0])
        raise ValueError(f"no tile covers the pixel {(y, x)} of {height} x {width}")
    return (total / weight).astype(np.float32)


def pad_to(image: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """Repeat the last row and column of (..., H, W, C) until the image is as large as a tile.

    Corners stay where they are; `blend` cuts the answer back to the image's own size.
    """
    below, right = (max(side - have, 0) for side, have in zip(tile, image.shape[-3:-1], strict=True))
    return np.pad(image, [(0, 0)] * (image.ndim - 3) + [(0, below), (0, right), (0, 0)], mode="edge")


def as_flow(flow: np.ndarray, name: str) -> Float32[np.ndarray, "H W 2"]:
    """Return `flow` as `float32`.

    Raises:
        ValueError: It is not numbers of shape (H, W, 2), or its size is absurd.
    """
    array = np.asarray(flow)
    if array.ndim != 3 or array.shape[-1] != 2 or array.dtype.kind not in "fiu":
        raise ValueError(f"{name} of type {array.dtype} and shape {array.shape} must be numbers (H, W, 2)")
    _check_size(array.shape[0], array.shape[1], name)
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def as_mask(valid: np.ndarray | None, flow: np.ndarray, name: str = "valid") -> Bool[np.ndarray, "H W"]:
    """Return the mask for `flow` (H, W, 2), all `True` for `None`.

    Raises:
        ValueError: It is not `bool` (H, W).
    """
    mask = np.ones(flow.shape[:2], dtype=bool) if valid is None else np.asarray(valid)
    if mask.dtype != bool or mask.shape != flow.shape[:2]:
        raise ValueError(f"{name} of type {mask.dtype} and shape {mask.shape} must be bool {flow.shape[:2]}")
    return mask


def is_known(flow: np.ndarray) -> Bool[np.ndarray, "H W"]:
    """Return where a flow (H, W, 2) says something: both values are numbers up to 1e9."""
    return np.all(np.abs(flow) <= _LARGEST_KNOWN, axis=-1)


def read_flow(path: str | Path) -> FlowField:
    """Read a flow by the ending of the file's name.

    `.flo` is Middlebury's format, `.png` is KITTI's (16-bit RGB), `.npy` is an array (H, W, 2), NaN where it is not
    known, and `.npz` holds `flow_x64`, integers (2, H, W) of 64 times the motion, and maybe `occluded` (H, W).

    Raises:
        ValueError: The ending is unknown, or the file is absent, broken, or absurdly large.
    """
    path = Path(path)
    reader = _of_suffix(_READERS, path)
    try:
        return reader(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"flow file '{path}' does not exist") from error
    except (*_BROKEN, *_BROKEN_ARCHIVE) as error:
        raise ValueError(f"flow file '{path}' cannot be read: {str(error) or 'it ends early'}") from error


def write_flow(path: str | Path, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Write a flow by the ending of the file's name; the file appears whole or not at all.

    Args:
        path: Ends in `.flo`, `.png` or `.npy`; see `read_flow`. `.png` rounds to 1/64 pixel.
        flow: (H, W, 2).
        valid: (H, W), `True` where the flow is known; `None` says that all of it is.

    Raises:
        ValueError: The ending is unknown, the folder does not exist, or a value does not fit the format.
    """
    path = Path(path)
    writer = _of_suffix(_WRITERS, path)
    if not path.parent.is_dir():
        raise ValueError(f"folder '{path.parent}' of flow file '{path.name}' does not exist")
    flow = as_flow(flow, "flow")
    valid = as_mask(valid, flow)
    _check_values(flow, valid & ~is_known(flow), f"must be numbers from {-_LARGEST_KNOWN:g} to {_LARGEST_KNOWN:g}")
    data = writer(flow, valid)
    with whole_file(path) as partial:
        partial.write_bytes(data)


def _of_suffix(table: dict[str, Callable[..., Any]], path: Path) -> Callable[..., Any]:
    if path.suffix.lower() not in table:
        raise ValueError(f"flow file '{path}' must end in one of {list(table)}")
    return table[path.suffix.lower()]


def _check_size(height: int, width: int, name: str) -> None:
    if not (0 < height <= _LONGEST_SIDE and 0 < width <= _LONGEST_SIDE and height * width <= _MOST_PIXELS):
        rule = f"sides must lie between 1 and {_LONGEST_SIDE}, their product at most {_MOST_PIXELS}"
        raise ValueError(f"{name} is {height} x {width} pixels large; {rule}")


def _check_values(flow: np.ndarray, wrong: np.ndarray, rule: str) -> None:
    if wrong.any():
        y, x = (int(index) for index in np.argwhere(wrong)[0])
        raise ValueError(f"flow ({flow[y, x, 0]:g}, {flow[y, x, 1]:g}) at row {y}, column {x}: values {rule}")


def _field(flow: np.ndarray) -> FlowField:
    known = is_known(flow)
    return FlowField(np.where(known[..., None], flow, np.float32(0)), known)


def _from_flo(data: bytes) -> FlowField:
    if len(data) < 12 or data[:4] != _FLO_MAGIC:
        raise ValueError(f"it begins with {data[:4]!r}; a .flo file begins with {_FLO_MAGIC!r}, width and height")
    width, height = struct.unpack_from("<ii", data, 4)
    _check_size(height, width, "it")
    needed = 12 + 8 * height * width
    if len(data) != needed:
        raise ValueError(f"it has {len(data)} bytes; {height} x {width} pixels need {needed}")
    return _field(as_flow(np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2), "it"))


def _to_flo(flow: np.ndarray, valid: np.ndarray) -> bytes:
    values = np.where(valid[..., None], flow, _UNKNOWN).astype("<f4")
    return _FLO_MAGIC + struct.pack("<ii", flow.shape[1], flow.shape[0]) + values.tobytes()


def _from_npy(data: bytes) -> FlowField:
    return _field(as_flow(_read_array(io.BytesIO(data)), "it"))


def _to_npy(flow: np.ndarray, valid: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.where(valid[..., None], flow, np.float32(np.nan)), allow_pickle=False)
    return stream.getvalue()


def _from_npz(data: bytes) -> FlowField:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        arrays: dict[str, np.ndarray] = {}
        for name in {"flow_x64.npy", "occluded.npy"} & set(archive.namelist()):
            with archive.open(name) as stream:
                arrays[name.removesuffix(".npy")] = _read_array(stream)
    if "flow_x64" not in arrays or arrays["flow_x64"].ndim != 3:
        raise ValueError("it has no array flow_x64 (2, H, W)")
    flow = as_flow(np.moveaxis(arrays["flow_x64"], 0, -1), "flow_x64") / np.float32(64)
    occluded = as_mask(arrays["occluded"], flow, "occluded").copy() if "occluded" in arrays else None
    return _field(flow)._replace(occluded=occluded)


def _read_array(stream: IO[bytes] | io.BufferedIOBase) -> np.ndarray:
    """Read an array in numpy's format; what its header claims costs no memory before it is there."""
    version = np.lib.format.read_magic(stream)
    # Later versions are for headers longer than 64 KiB and for names of fields: no flow needs them.
    if version != (1, 0):
        raise ValueError(f"version {version} of numpy's format must be (1, 0)")
    shape, columns_first, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in "biuf" or min(shape, default=0) < 1 or math.prod(shape) > 2 * _MOST_PIXELS:
        raise ValueError(f"array of type {dtype} and shape {shape} must be numbers, at most {2 * _MOST_PIXELS} of them")
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size + 1)
    if len(data) != size:
        raise ValueError(f"array of type {dtype} and shape {shape} must have {size} bytes, not {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if columns_first else "C")


def _from_kitti(data: bytes) -> FlowField:
    codes = _read_png(data)
    valid = codes[..., 2] > 0
    flow = (codes[..., :2].astype(np.float32) - 2**15) / 64
    return FlowField(np.where(valid[..., None], flow, np.float32(0)), valid)


def _to_kitti(flow: np.ndarray, valid: np.ndarray) -> bytes:
    codes = np.rint(np.where(valid[..., None], flow, 0).astype(np.float64) * 64 + 2**15)
    wrong = np.any((codes < 0) | (codes >= 2**16), axis=-1)
    _check_values(flow, wrong, f"must lie between -512 and {(2**15 - 1) / 64} to fit into KITTI's .png")
    codes = np.where(valid[..., None], codes, 0)
    return _write_png(np.concatenate([codes, valid[..., None]], axis=-1).astype(np.uint16))


# Pillow keeps only 8 of 16 bits of colour, and KITTI's format needs all: the part of PNG that it uses follows.


def _write_png(pixels: UInt16[np.ndarray, "H W 3"]) -> bytes:
    height, width, _ = pixels.shape
    rows = pixels.astype(">u2", order="C").view(np.uint8).reshape(height, width * _PIXEL_BYTES)
    # Filter 2: each row minus the one above.
    filtered = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    body = np.concatenate([np.full((height, 1), 2, dtype=np.uint8), filtered], axis=1)
    header = struct.pack(">IIBBBBB", width, height, *_PNG_FORM)
    data = _PNG_MAGIC
    for kind, content in ((b"IHDR", header), (b"IDAT", zlib.compress(body.tobytes())), (b"IEND", b"")):
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data


def _read_png(data: bytes) -> UInt16[np.ndarray, "H W 3"]:
    chunks = list(_png_chunks(data))
    kind, header = chunks[0]
    if kind != b"IHDR" or len(header) != 13:
        raise ValueError("its first chunk is no PNG header")
    width, height, *form = struct.unpack(">IIBBBBB", header)
    if tuple(form) != _PNG_FORM:
        names = "bits, colour type, compression, filter, interlace"
        raise ValueError(f"its PNG form ({names}) is {tuple(form)}; it must be {_PNG_FORM}, 16-bit RGB")
    _check_size(height, width, "it")
    size = height * (1 + width * _PIXEL_BYTES)
    inflate = zlib.decompressobj()
    body = inflate.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"), size + 1)
    if len(body) != size or not inflate.eof:
        raise ValueError(f"its image data must be {size} bytes for {height} x {width} pixels; they are more or fewer")
    rows = np.frombuffer(body, dtype=np.uint8).reshape(height, -1)
    restored = _unfilter(rows[:, 0], rows[:, 1:].reshape(height, width, _PIXEL_BYTES))
    return np.ascontiguousarray(restored).view(">u2").astype(np.uint16)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each chunk."""
    if not data.startswith(_PNG_MAGIC):
        raise ValueError("it does not begin as a PNG file does")
    position, kind = len(_PNG_MAGIC), b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", data[position : position + 8].ljust(8, b"\xff"))
        content, end = data[position + 8 : position + 8 + length], position + 8 + length
        if len(data) < end + 4:
            raise ValueError("it ends early")
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(kind + content):
            raise ValueError(f"the checksum of its chunk {kind!r} is wrong")
        yield kind, content
        position = end + 4


def _unfilter(filters: UInt8[np.ndarray, " H"], pixels: UInt8[np.ndarray, "H W 6"]) -> UInt8[np.ndarray, "H W 6"]:
    """Undo PNG's filters 0 to 4: each pixel was written minus what its neighbours predict."""
    if filters.max() > 4:
        raise ValueError(f"its row filter {filters.max()} must be 0 to 4")
    height, width, _ = pixels.shape
    # Beyond the border all is zero: one row above, one column to the left.
    grid = np.zeros((height + 1, width + 1, _PIXEL_BYTES), dtype=np.uint8)
    grid[1:, 1:] = pixels
    flat = grid.reshape(-1, _PIXEL_BYTES)
    # A pixel needs those to its left and above, so all of an antidiagonal can be restored at once.
    for diagonal in range(height + width - 1):
        top, bottom = max(0, diagonal - width + 1), min(height - 1, diagonal)
        first = (top + 1) * (width + 1) + diagonal - top + 1
        count = (bottom - top) * width + 1
        left, above, corner = (
            flat[first - back : first - back + count : width].astype(np.int16) for back in (1, width + 1, width + 2)
        )
        distances = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
        # Of equally near ones the first counts, for argmin as for PNG.
        nearest = np.choose(np.argmin(distances, axis=0), (left, above, corner))
        predictions = (np.zeros_like(left), left, above, (left + above) // 2, nearest)
        flat[first : first + count : width] += np.choose(filters[top : bottom + 1, None], predictions).astype(np.uint8)
    return grid[1:, 1:]


_READERS = {".flo": _from_flo, ".png": _from_kitti, ".npy": _from_npy, ".npz": _from_npz}
_WRITERS = {".flo": _to_flo, ".png": _to_kitti, ".npy": _to_npy}
