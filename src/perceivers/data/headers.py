"""Sizes of frames and flows, read from the first bytes of their files."""

import io
import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

# The likeliest first: where a pair of frames has its flow in several formats, the first is taken.
FLOW_SUFFIXES = (".flo", ".npz", ".npy", ".png")

Size = tuple[int, int]


def frame_size(path: str | Path | io.BytesIO) -> Size:
    """Return height and width of an image file or of its bytes, as it is seen: turned if its EXIF says so.

    Raises:
        ValueError: The file is absent or no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            # To look for EXIF behind its pixels, Pillow would decode a PNG as a whole.
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            # Orientations 5 to 8 lie on their side.
            return (width, height) if exif.get(0x0112, 1) >= 5 else (height, width)
    except FileNotFoundError as error:
        raise ValueError(f"the image file {path} does not exist") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the image {path} cannot be read ({error})") from error


def flow_size(path: str | Path) -> Size:
    """Return height and width of a flow file; `read_flow` of `perceivers.processing.flow` says which there are.

    Raises:
        ValueError: The file is absent, of another kind, or its header is broken.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FLOW_SUFFIXES:
        raise ValueError(f"a flow file must end in one of {list(FLOW_SUFFIXES)}, got {path}")
    try:
        with path.open("rb") as file:
            if suffix == ".flo":
                return _flo_size(file, path.stat().st_size)
            if suffix == ".png":
                return _png_size(file)
            if suffix == ".npy":
                return _array_shape(file, axes=(0, 1))
            with zipfile.ZipFile(file) as archive, archive.open("flow_x64.npy") as member:
                return _array_shape(member, axes=(1, 2))
    except FileNotFoundError as error:
        raise ValueError(f"the flow file {path} does not exist") from error
    except (ValueError, KeyError, OSError, RuntimeError, SyntaxError, struct.error, zipfile.BadZipFile) as error:
        raise ValueError(f"the flow file {path} cannot be read ({error})") from error


def _flo_size(file: IO[bytes], num_bytes: int) -> Size:
    magic, width, height = struct.unpack("<4sii", file.read(12))
    if magic != b"PIEH":
        raise ValueError(f"it begins with {magic!r}, not with b'PIEH'")
    if num_bytes != 12 + 8 * height * width:
        raise ValueError(f"it has {num_bytes} bytes; {height} x {width} pixels need {12 + 8 * height * width}")
    return height, width


def _png_size(file: IO[bytes]) -> Size:
    magic, width, height, bits, colour = struct.unpack(">16sIIBB", file.read(26))
    if magic[:8] != b"\x89PNG\r\n\x1a\n" or (bits, colour) != (16, 2):
        raise ValueError("it must be a PNG of 16-bit RGB, as KITTI's are")
    return height, width


def _array_shape(file: IO[bytes] | io.BufferedIOBase, axes: tuple[int, int]) -> Size:
    """Return height and width from the header of an array, whose third axis holds the two parts of the motion."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of numpy's format must be (1, 0)")
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 3 or shape[({0, 1, 2} - set(axes)).pop()] != 2:
        raise ValueError(f"its array has shape {shape}; it must have two values a pixel")
    return shape[axes[0]], shape[axes[1]]
