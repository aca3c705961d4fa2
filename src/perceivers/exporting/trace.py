"""A part of a model as a graph, by `torch.export`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import config as jaxtyping_config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from perceivers.exporting.interface import Axis, Part, Port, Shape
from perceivers.nn.linear import Linear


def trace(part: Part, example: dict[str, Tensor], shapes: Mapping[str, Shape]) -> ExportedProgram:
    """Return the graph of a part.

    Args:
        part: The part, in evaluation mode.
        example: Its inputs; the sizes of open axes, from 2 upwards, do not matter.
        shapes: Which axes of the inputs are open.

    Raises:
        ValueError: The part computes what no graph can hold, or not for every size of the open axes.
    """
    axes = {size for shape in shapes.values() for size in shape if isinstance(size, Axis)}
    dims = {axis: Dim(axis.name) if axis.most is None else Dim(axis.name, max=axis.most) for axis in axes}
    dynamic = {
        name: {i: dims[size] for i, size in enumerate(shape) if isinstance(size, Axis)}
        for name, shape in shapes.items()
    }
    with torch.no_grad(), _shapes_unchecked():
        try:
            program = torch.export.export(part, (example,), dynamic_shapes=(dynamic,), strict=False)
        except Exception as error:
            # Whatever a model does that cannot be traced comes out as its own kind of error.
            raise ValueError(f"this model cannot be exported: {first_line(error)}") from error
    for node in program.graph.nodes:
        # Where the code lies on this machine is nobody's business.
        node.meta.pop("stack_trace", None)
    return program


def output_ports(program: ExportedProgram, inputs: Sequence[Port]) -> tuple[Port, ...]:
    """Return what a graph gives: names, number formats, and sizes in terms of the open axes of its inputs."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    axes: dict[str, Axis] = {}
    for name, port in zip(program.graph_signature.user_inputs, inputs, strict=True):
        for found, size in zip(values[name].shape, port.shape, strict=True):
            if isinstance(size, Axis):
                axes[str(found)] = size
    spec = program.call_spec.out_spec
    assert spec is not None
    found = spec.unflatten([values[name] for name in program.graph_signature.user_outputs])
    return tuple(
        Port(name, tuple(axes[str(size)] if str(size) in axes else int(size) for size in value.shape), value.dtype)
        for name, value in found.items()
    )


def first_line(error: BaseException) -> str:
    """Return what an error says, without what it says at length."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode with its weights unpacked, and leave it as it was."""
    modes = {module: module.training for module in model.modules()}
    linears = [module for module in model.modules() if isinstance(module, Linear)]
    packed = {linear: linear.weight.dtype for linear in linears if linear.is_packed}
    model.eval()
    for linear in linears:
        linear.unpack()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for linear, dtype in packed.items():
            linear.pack(dtype)


@contextmanager
def _shapes_unchecked() -> Iterator[None]:
    """Suspend checks of stated shapes where tests have installed them: sizes are symbols here, not numbers."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping_config.update("jaxtyping_disable", before)
