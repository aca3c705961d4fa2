"""Raw files to arrays and back; knows no model."""

from perceivers.processing.image import fit_image, read_image
from perceivers.processing.text import ByteTokenizer

__all__ = ["ByteTokenizer", "fit_image", "read_image"]
