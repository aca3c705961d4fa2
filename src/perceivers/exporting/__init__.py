"""Models as files that run without this library: ONNX, and programs of `torch.export`."""

from perceivers.exporting.check import TOLERANCE, Check
from perceivers.exporting.export import Report, check_target, export
from perceivers.exporting.formats import FORMATS, format_of
from perceivers.exporting.interface import PARTS, Axis, Port

__all__ = ["FORMATS", "PARTS", "TOLERANCE", "Axis", "Check", "Port", "Report", "check_target", "export", "format_of"]
