"""The plan of a model: it runs once on the meta device, where tensors have shapes and no memory."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from perceivers.adapters import Batch
from perceivers.adapters.base import grid_size
from perceivers.adapters.flow import FlowInputConfig
from perceivers.config import override
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.planning.machine import Machine, estimate
from perceivers.planning.sources import find_config
from perceivers.planning.trace import AttentionPath, Cost, Tracer, attention_as
from perceivers.processing.flow import tile_corners

DType = Literal["float32", "bfloat16"]
DTYPES: dict[DType, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

STAGES = ("inputs", "read", "process", "queries", "decode", "outputs", "backward")

# More outputs than this are asked for in chunks, as the tasks do.
_MOST_AT_ONCE = 65536
_CHUNK_SIZE = 32768
# What neighbouring tiles of an image share in optical flow.
_TILE_OVERLAP = 20
# AdamW and LAMB keep two numbers a parameter, in float32; Muon one for most.
_OPTIMIZER_NUMBERS = 2


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the model.

    Args:
        name: inputs, read, process, queries, decode, outputs, or, in training, backward.
        shape: What it gives, without the batch; empty for backward.
        flops: Floating-point operations.
        activation_bytes: The most that is alive at any moment of it, whatever stage made it.
        seconds: Expected time; `None` when this machine was not measured.
    """

    name: str
    shape: tuple[int, ...]
    flops: int
    activation_bytes: int
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a model costs for one batch.

    Args:
        name: What was asked for.
        batch_size: Examples of the batch.
        dtype: Number format.
        training: Whether a backward pass follows.
        num_outputs: Outputs asked for, of each example.
        chunk_size: Outputs asked for at a time; `None` for all at once.
        num_tiles: Tiles that an image of optical flow is cut into; they run one after the other.
        parameters: Number of parameters.
        flops: Floating-point operations of matrix products and convolutions, a multiplication with its addition
            counting 2; elementwise operations are not counted. Of all tiles.
        parameter_bytes: Memory of parameters and buffers.
        activation_bytes: Peak of everything else that is alive in the forward (and backward) pass, inputs and
            outputs included, with attention as a CPU computes it.
        plain_activation_bytes: The same with the matrix of attention weights in memory.
        gradient_bytes: Gradients of the parameters; 0 without training.
        optimizer_bytes: State of AdamW or LAMB, and no less than Muon's; 0 without training.
        peak_bytes: All of it at the moment at which it is most.
        seconds: Expected time of all tiles; `None` when this machine was not measured.
        machine: What was measured for it.
        stages: The steps, in order.
    """

    name: str
    batch_size: int
    dtype: str
    training: bool
    num_outputs: int
    chunk_size: int | None
    num_tiles: int
    parameters: int
    flops: int
    parameter_bytes: int
    activation_bytes: int
    plain_activation_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    peak_bytes: int
    seconds: float | None
    machine: Machine | None
    stages: tuple[Stage, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What is to be traced; see `plan`."""

    config: PerceiverConfig
    batch_size: int = 1
    image_size: tuple[int, int] | None = None
    length: int | None = None
    num_outputs: int | None = None
    chunk_size: int | None = None
    training: bool = False
    dtype: torch.dtype = torch.float32


@dataclass
class _Run:
    """What one run on the meta device has shown."""

    tracer: Tracer
    parameters: int
    parameter_bytes: int
    gradient_bytes: int
    num_outputs: int = 0
    chunk_size: int | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def plan(
    model: str | Path,
    *,
    batch_size: int = 1,
    image_size: tuple[int, int] | None = None,
    length: int | None = None,
    num_outputs: int | None = None,
    chunk_size: int | None = None,
    training: bool = False,
    dtype: DType = "float32",
    overrides: Mapping[str, Any] | None = None,
    measure: bool = True,
) -> Plan:
    """Return what a model costs, without weights.

    Args:
        model: Name in the zoo, repository of a released model, or a folder with a model's `config.json`, saved
            here or in the layout of `transformers`.
        batch_size: Examples of a batch.
        image_size: Height and width of images or frames in pixels; `None` takes what the model is laid out for.
            For optical flow, of the whole frames, which are cut into tiles of that size.
        length: Bytes of a text; `None` takes the longest.
        num_outputs: Ask for so many outputs of each example; `None` asks for all.
        chunk_size: Ask for so many at a time; `None` chooses, by chunks where there are very many.
        training: Count forward, backward, gradients and the optimiser's state too.
        dtype: "float32" or "bfloat16", of weights and activations.
        overrides: Config fields to change, by dotted path, e.g. `{"encoder.num_latents": 64}`.
        measure: Measure this machine, a second or two, and say how long it will take.

    Raises:
        ValueError: There is no such model, or a value does not fit it.
    """
    for name, value in (("batch_size", batch_size), ("num_outputs", num_outputs), ("length", length)):
        if value is not None and value < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")
    if dtype not in DTYPES:
        raise ValueError(f"dtype '{dtype}' not found; choices = {list(DTYPES)}")
    config = override(find_config(model), dict(overrides or {}))
    num_tiles = 1
    if image_size is not None and isinstance(config.inputs, FlowInputConfig):
        num_tiles = len(tile_corners(*image_size, config.inputs.image_size, _TILE_OVERLAP))
        image_size = None
    request = _Request(
        config=config,
        batch_size=batch_size,
        image_size=image_size,
        length=length,
        num_outputs=num_outputs,
        chunk_size=chunk_size,
        training=training,
        dtype=DTYPES[dtype],
    )
    plain, fused = _run(request, "plain"), _run(request, "fused")
    found = _assemble(str(model), request, plain, fused, num_tiles)
    return _timed(found, fused.tracer.costs, request.dtype) if measure else found


@dataclass(frozen=True, kw_only=True)
class Count:
    """The cheap part of a plan.

    Args:
        parameters: Number of parameters.
        flops: As in `Plan`, for one example.
        output_shape: What comes out, without the batch.
    """

    parameters: int
    flops: int
    output_shape: tuple[int, ...]


def count(config: PerceiverConfig, *, num_outputs: int | None = None) -> Count:
    """Return the parameters and operations of a model, with one run on the meta device.

    Args:
        config: The model.
        num_outputs: As in `plan`.

    Raises:
        ValueError: A part of the model makes tensors on another device than that of its inputs.
    """
    # Both paths multiply the same matrices; the fused one has fewer operations to go through.
    run = _run(_Request(config=config, num_outputs=num_outputs), "fused")
    flops = sum(cost.flops for cost in run.tracer.costs.values())
    return Count(parameters=run.parameters, flops=flops, output_shape=run.shapes["outputs"])


def _assemble(name: str, request: _Request, plain: _Run, fused: _Run, num_tiles: int) -> Plan:
    """Put two runs together: operations are those of the plain path, memory is that of this machine's."""
    optimizer_bytes = _OPTIMIZER_NUMBERS * 4 * fused.parameters if request.training else 0
    return Plan(
        name=name,
        batch_size=request.batch_size,
        dtype=str(request.dtype).removeprefix("torch."),
        training=request.training,
        num_outputs=fused.num_outputs,
        chunk_size=fused.chunk_size,
        num_tiles=num_tiles,
        parameters=fused.parameters,
        flops=num_tiles * sum(cost.flops for cost in plain.tracer.costs.values()),
        parameter_bytes=fused.parameter_bytes,
        activation_bytes=fused.tracer.peak_bytes,
        plain_activation_bytes=plain.tracer.peak_bytes,
        gradient_bytes=fused.gradient_bytes,
        optimizer_bytes=optimizer_bytes,
        peak_bytes=fused.parameter_bytes + optimizer_bytes + fused.tracer.peak_with_apart_bytes,
        seconds=None,
        machine=None,
        stages=tuple(
            Stage(
                name=stage,
                shape=fused.shapes.get(stage, ()),
                flops=num_tiles * plain.tracer.costs[stage].flops,
                activation_bytes=fused.tracer.costs[stage].peak_bytes,
            )
            for stage in STAGES
            if stage in fused.tracer.costs
        ),
    )


def _timed(found: Plan, costs: Mapping[str, Cost], dtype: torch.dtype) -> Plan:
    machine, seconds = estimate(costs, dtype)
    stages = tuple(replace(stage, seconds=found.num_tiles * seconds[stage.name]) for stage in found.stages)
    return replace(found, machine=machine, seconds=found.num_tiles * sum(seconds.values()), stages=stages)


def _run(request: _Request, path: AttentionPath) -> _Run:
    with torch.device("meta"):
        model = PerceiverIO(request.config).to(request.dtype).train(request.training)
        batch = _batch(model, request)
    known = [*model.parameters(), *model.buffers()]
    run = _Run(
        tracer=Tracer(known),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        parameter_bytes=sum(tensor.untyped_storage().nbytes() for tensor in known),
        gradient_bytes=0,
    )
    for tensor in tree_leaves(batch):
        if isinstance(tensor, Tensor):
            run.tracer.watch(tensor)
    if request.training:
        run.gradient_bytes = sum(parameter.untyped_storage().nbytes() for parameter in model.parameters())
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(
                lambda parameter: parameter.grad is not None and run.tracer.set_apart(parameter.grad)
            )
    with nullcontext() if request.training else torch.no_grad(), attention_as(path), _stages(model, run), run.tracer:
        try:
            _forward(model, batch, request, run)
        except RuntimeError as error:
            if "meta" not in str(error):
                raise
            # What does run elsewhere is no fault of the model's but for its use here.
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"the model makes tensors on a device of its own and cannot be counted: {reason}"
            ) from error
    return run


def _forward(model: PerceiverIO, batch: Batch, request: _Request, run: _Run) -> None:
    """Run the model as its user would, telling the tracer where it is."""
    tracer = run.tracer
    tracer.stage = "read"
    latents = model.read(batch)
    tracer.stage = "process"
    latents = model.process(latents)
    run.shapes["read"] = run.shapes["process"] = tuple(latents.values.shape[1:])
    tracer.stage = "outputs"
    total = grid_size(model.queries.output_grid(latents.tokens))
    where = None
    if request.num_outputs is not None:
        if request.num_outputs > total:
            raise ValueError(f"num_outputs ({request.num_outputs}) must lie between 1 and {total}")
        where = next(iter(model.queries.split(latents.tokens, None, request.num_outputs)))
    run.num_outputs = request.num_outputs or total
    run.chunk_size = request.chunk_size
    if run.chunk_size is None and run.num_outputs > _MOST_AT_ONCE and not request.training:
        run.chunk_size = _CHUNK_SIZE
    outputs = model.decode(latents, where=where, chunk_size=run.chunk_size)
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    if len(leaves) == 1:
        run.shapes["outputs"] = tuple(leaves[0].shape[1:])
    else:
        run.shapes["outputs"] = (sum(math.prod(leaf.shape[1:]) for leaf in leaves),)
    if request.training:
        loss = torch.stack([leaf.float().mean() for leaf in leaves]).sum()
        tracer.stage = "backward"
        loss.backward()


def _batch(model: PerceiverIO, request: _Request) -> dict[str, Any]:
    """Return an example batch of the wanted sizes."""
    batch = {
        name: value.to(request.dtype) if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in model.inputs.example_batch(request.batch_size).items()
    }
    if request.image_size is not None:
        pictures = [name for name in ("image", "video") if name in batch]
        if not pictures:
            raise ValueError(f"image_size changes images; the model reads {sorted(batch)}")
        for name in pictures:
            *before, _, _, channels = batch[name].shape
            batch[name] = batch[name].new_empty(*before, *request.image_size, channels)
    if request.length is not None:
        if "input_ids" not in batch:
            raise ValueError(f"length changes texts; the model reads {sorted(batch)}")
        for name in ("input_ids", "keep_mask"):
            batch[name] = batch[name].new_empty(request.batch_size, request.length)
    return batch


@contextmanager
def _stages(model: PerceiverIO, run: _Run) -> Iterator[None]:
    """Tell the tracer when the model is in one of its parts, and note the shapes of what they give."""
    hooks = []
    parts: dict[str, nn.Module] = {
        "inputs": model.inputs,
        "queries": model.queries,
        "decode": model.decoder,
        "outputs": model.outputs,
    }
    for name, part in parts.items():

        def enter(module: nn.Module, args: Any, name: str = name) -> None:
            outer.append(run.tracer.stage)
            run.tracer.stage = name

        def leave(module: nn.Module, args: Any, result: Any, name: str = name) -> None:
            run.tracer.stage = outer.pop()
            if name != "outputs":
                rows = result if isinstance(result, Tensor) else result.values
                before = run.shapes.get(name, (0,))[0]  # of the chunks before
                run.shapes[name] = (before + rows.shape[1], rows.shape[2])

        hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    outer: list[str] = []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
