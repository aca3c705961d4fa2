"""Kinds of files: how a graph is written to one, and how one is run."""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from perceivers.exporting.interface import Axis, Port

Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]
# What is told of the model in a file stands under names that begin so.
PREFIX = "perceivers."
# A file of ONNX is one message of Protocol Buffers, which cannot be longer.
_MOST_BYTES = 2**31 - 1
# Loggers that tell what the exporters do without, which is nothing to us.
_CHATTY = ("torch.onnx._internal.exporter._registration", "onnxscript.optimizer._constant_folding")


class Format(ABC):
    """A kind of file: its `name` among `FORMATS`, its `ending`, and the `title` by which people know it."""

    name: str
    ending: str
    title: str

    @abstractmethod
    def write(
        self,
        program: ExportedProgram,
        path: Path,
        ports: tuple[Sequence[Port], Sequence[Port]],
        facts: Mapping[str, str],
    ) -> None:
        """Write a graph.

        Args:
            program: The graph, a function from one mapping to another.
            path: The file.
            ports: Its inputs and its outputs, in order.
            facts: What the file tells of the model, text by name.
        """

    @abstractmethod
    def open(self, path: Path) -> Run:
        """Return what a file computes, by the means of those who will use it."""


class Onnx(Format):
    """ONNX, for onnxruntime and many others."""

    name = "onnx"
    ending = ".onnx"
    title = "ONNX"

    def write(
        self,
        program: ExportedProgram,
        path: Path,
        ports: tuple[Sequence[Port], Sequence[Port]],
        facts: Mapping[str, str],
    ) -> None:
        """Write a graph.

        Raises:
            ValueError: The model is too large for a file of ONNX.
        """
        import onnx  # noqa: F401  (the exporter's own complaint about its absence names no extra)

        size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
        if size > _MOST_BYTES:
            raise ValueError(f"the weights take {size:,} bytes, a file of ONNX at most {_MOST_BYTES:,}; export to .pt2")
        inputs, outputs = ([port.name for port in some] for some in ports)
        with _quiet():
            exported = torch.onnx.export(
                program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False, external_data=False
            )
        assert exported is not None
        model = exported.model
        _name_axes(model, ports)
        for node in model.graph:
            # Lines of the code that made it, and where it lies on this machine.
            node.metadata_props.clear()
        model.metadata_props.update({f"{PREFIX}{name}": text for name, text in facts.items()})
        model.producer_name, model.producer_version = "perceivers", facts["version"]
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
    title = "torch.export"

    def write(
        self,
        program: ExportedProgram,
        path: Path,
        ports: tuple[Sequence[Port], Sequence[Port]],
        facts: Mapping[str, str],
    ) -> None:
        """Write a graph."""
        # Otherwise they, however large, would lie in the file.
        program.example_inputs = None
        with _quiet():
            torch.export.save(program, path, extra_files={f"{PREFIX}{name}": text for name, text in facts.items()})

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
    """
    if name is not None and name not in FORMATS:
        raise ValueError(f"format '{name}' not found; choices = {sorted(FORMATS)}")
    endings = {kind.ending: kind for kind in FORMATS.values()}
    found = endings.get(path.suffix)
    if found is None or (name is not None and found is not FORMATS[name]):
        wanted = sorted(endings) if name is None else FORMATS[name].ending
        raise ValueError(f"'{path}' must end in {' or '.join([wanted] if isinstance(wanted, str) else wanted)}")
    return found


def _name_axes(model: Any, ports: tuple[Sequence[Port], Sequence[Port]]) -> None:
    """Give the open axes of inputs and outputs their names in place of the tracer's symbols."""
    names: dict[str, str] = {}
    for values, some in zip((model.graph.inputs, model.graph.outputs), ports, strict=True):
        for value, port in zip(values, some, strict=True):
            for found, size in zip(value.shape, port.shape, strict=True):
                if isinstance(size, Axis):
                    names[str(found)] = size.name
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
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
