"""Kinds of files: how a graph is written to one, and how one is run."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from perceivers.exporting.interface import Axis, Port
from perceivers.exporting.trace import first_line

Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]
# What is told of the model in a file stands under names that begin so.
PREFIX = "perceivers."
# A file of ONNX is one message of Protocol Buffers, which cannot be longer.
_MOST_BYTES = 2**31 - 1
# Loggers that tell what the exporters do without, which is nothing to us.
_CHATTY = ("torch.onnx._internal.exporter._registration", "onnxscript.optimizer._constant_folding")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A part of a model, ready to be written: a function from one mapping of tensors to another.

    Args:
        program: The function.
        inputs: What it takes, in order.
        outputs: What it gives, in order.
        facts: What a file tells of the model, text by name.
    """

    program: ExportedProgram
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    facts: Mapping[str, str]


class Format(ABC):
    """A kind of file: its `name` among `FORMATS`, its `ending`, and the `packages` that write and run it."""

    name: str
    ending: str
    packages: tuple[str, ...] = ()

    @abstractmethod
    def write(self, graph: Graph, path: Path) -> None:
        """Write a graph to a file."""

    @abstractmethod
    def open(self, path: Path) -> Run:
        """Return what a file computes, by the means of those who will use it."""


class Onnx(Format):
    """ONNX, for onnxruntime and many others."""

    name = "onnx"
    ending = ".onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, graph: Graph, path: Path) -> None:
        """Write a graph to a file.

        Raises:
            ValueError: The model is too large for a file of ONNX, or does what ONNX has no word for.
        """
        # Positions are no weights, and lie in the file all the same.
        held = (*graph.program.state_dict.values(), *graph.program.constants.values())
        size = sum(tensor.nbytes for tensor in held if isinstance(tensor, Tensor))
        if size > _MOST_BYTES:
            raise ValueError(f"the weights take {size:,} bytes, a file of ONNX at most {_MOST_BYTES:,}; export to .pt2")
        exported = _to_onnx(graph)
        model = exported.model
        _name_axes(model, graph)
        for node in model.graph:
            # Lines of the code that made it, and where it lies on this machine.
            node.metadata_props.clear()
        model.metadata_props.update({f"{PREFIX}{name}": text for name, text in graph.facts.items()})
        model.producer_name, model.producer_version = "perceivers", graph.facts["version"]
        with _quiet():
            exported.save(path, external_data=False)

    def open(self, path: Path) -> Run:
        """Return what onnxruntime computes from a file."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            values = session.run(names, {name: value.numpy() for name, value in inputs.items()})
            return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}

        return run


class Program(Format):
    """A program of `torch.export`, for PyTorch without this library."""

    name = "torch"
    ending = ".pt2"

    def write(self, graph: Graph, path: Path) -> None:
        """Write a graph to a file."""
        # Otherwise they, however large, would lie in the file.
        graph.program.example_inputs = None
        with _quiet():
            facts = {f"{PREFIX}{name}": text for name, text in graph.facts.items()}
            torch.export.save(graph.program, path, extra_files=facts)

    def open(self, path: Path) -> Run:
        """Return what a program computes."""
        with _quiet():
            module = torch.export.load(path).module()

        def run(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
            with torch.no_grad():
                return module(inputs)

        return run


FORMATS: dict[str, Format] = {kind.name: kind for kind in (Onnx(), Program())}


def format_of(path: Path, name: str | None) -> Format:
    """Return the format called `name`, or the one that the ending of `path` says.

    Raises:
        ValueError: There is no such format, or the ending is another one's.
        ImportError: A package is missing that the format needs.
    """
    if name is not None and name not in FORMATS:
        raise ValueError(f"format '{name}' not found; choices = {sorted(FORMATS)}")
    endings = {kind.ending: kind for kind in FORMATS.values()}
    found = endings.get(path.suffix)
    if found is None or (name is not None and found is not FORMATS[name]):
        wanted = sorted(endings) if name is None else FORMATS[name].ending
        raise ValueError(f"'{path}' must end in {' or '.join([wanted] if isinstance(wanted, str) else wanted)}")
    for package in found.packages:
        import_module(package)
    return found


def _to_onnx(graph: Graph) -> torch.onnx.ONNXProgram:
    inputs, outputs = ([port.name for port in ports] for ports in (graph.inputs, graph.outputs))
    try:
        with _quiet():
            exported = torch.onnx.export(
                graph.program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False, external_data=False
            )
    except torch.onnx.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ValueError(f"this model cannot be written as ONNX, but perhaps to .pt2: {first_line(cause)}") from error
    assert exported is not None
    return exported


def _name_axes(model: Any, graph: Graph) -> None:
    """Give the open axes of inputs and outputs their names in place of the tracer's symbols."""
    names: dict[str, str] = {}
    values = [*model.graph.inputs, *model.graph.outputs]
    for value, port in zip(values, (*graph.inputs, *graph.outputs), strict=True):
        for found, size in zip(value.shape, port.shape, strict=True):
            if isinstance(size, Axis):
                names[str(found)] = size.name
    for value in (*model.graph.inputs, *(value for node in model.graph for value in node.outputs)):
        for axis, size in enumerate(value.shape or ()):
            if str(size) in names:
                value.shape[axis] = names[str(size)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what the exporters say about their own insides."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
