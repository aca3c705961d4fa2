"""From a model to a checked file."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from perceivers.config import to_json
from perceivers.exporting.check import Check, compare
from perceivers.exporting.examples import BATCH, LENGTH, Examples
from perceivers.exporting.formats import Format, Graph, format_of
from perceivers.exporting.interface import PARTS, Axis, Part, Port, Shape
from perceivers.exporting.trace import at_rest, output_ports, trace
from perceivers.model import PerceiverIO
from perceivers.processing.files import whole_file

# How long the open axes are while the model is traced, and in the two checks: the batch, and indices of one kind.
_TRACED = (3, 5)
_CHECKED = ((1, 7), (2, 1))


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written.

    Args:
        path: The file.
        format: Its kind, "onnx" or "torch".
        part: The part of the model that it holds.
        inputs: What it takes.
        outputs: What it gives.
        num_bytes: Its size.
        seconds: How long it took, checks included.
        checks: How it compared with the model; empty when it was not checked.
    """

    path: Path
    format: str
    part: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    num_bytes: int
    seconds: float
    checks: tuple[Check, ...]


def export(
    model: PerceiverIO,
    path: str | Path,
    *,
    format: Literal["onnx", "torch"] | None = None,
    part: Literal["whole", "encode", "decode"] = "whole",
    where: bool | None = None,
    fixed: Mapping[str, int] | None = None,
    task: Mapping[str, Any] | None = None,
    check: bool = True,
    overwrite: bool = False,
) -> Report:
    """Write a model to a file that runs without this library, when it computes what the model does.

    The file takes and gives tensors by name: the entries of the batch (`image`, `input_ids` and `keep_mask`, ...) and
    `where`, the indices of the wanted outputs (`where.video`, ... with several modalities), to `outputs`
    (`outputs.video`, ...). Axes whose size callers choose are `batch`, `length` (of texts) and `queries`. A file of
    ONNX takes them as onnxruntime does, a program of PyTorch as one mapping.

    Args:
        model: The model, in float32 on the CPU. It is exported as in evaluation, and left as it was.
        path: The file; `.onnx` or `.pt2`.
        format: "onnx" or "torch"; `None` goes by the ending.
        part: All of it; from the batch to the `latents` ("encode"); or from these to outputs ("decode"). What the
            queries are made of stands beside the latents: `keep_mask` of a text, `tokens` of the flow model.
        where: Whether indices of outputs are inputs. Otherwise the file gives all outputs, in the form of the
            modality. `None`: where there is more than one output.
        fixed: Axes to close, with their size, e.g. `{"batch": 1}`.
        task: Name, label names and settings of the task, to stand in the file; see `Loaded.task`.
        check: Run the file beside the model, on two inputs of other sizes than it was made with.
        overwrite: Replace the file that is there.

    Raises:
        ValueError: The place is taken, an argument says nothing about this model, the model cannot be exported, or
            the file does not compute what the model does.
        ImportError: A package is missing that writes files of this kind, or runs them.
    """
    start = time.perf_counter()
    path = Path(path)
    kind = format_of(path, format)
    check_target(path, overwrite=overwrite)
    if part not in PARTS:
        raise ValueError(f"part '{part}' not found; choices = {list(PARTS)}")
    _check_weights(model)
    with at_rest(model), torch.no_grad():
        examples = Examples(model)
        asked = where if where is not None else sum(examples.output_counts().values()) > 1
        exported = PARTS[part](examples, asked).eval()
        fixed = _checked_sizes(exported, fixed or {})
        example = exported.example({**_sizes(exported, *_TRACED), **fixed})
        shapes = {name: _closed(exported.shape(name, value), fixed) for name, value in example.items()}
        program = trace(exported, example, shapes)
        inputs = tuple(Port(name, shapes[name], value.dtype) for name, value in example.items())
        graph = Graph(
            program=program,
            inputs=inputs,
            outputs=output_ports(program, inputs),
            facts=_facts(model, part, task),
        )
        with whole_file(path) as partial:
            kind.write(graph, partial)
            checks = tuple(_checks(exported, kind, partial, fixed)) if check else ()
    return Report(
        path=path,
        format=kind.name,
        part=part,
        inputs=graph.inputs,
        outputs=graph.outputs,
        num_bytes=path.stat().st_size,
        seconds=time.perf_counter() - start,
        checks=checks,
    )


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a place that is taken.

    Raises:
        ValueError: Something is there that may not be replaced.
    """
    if path.is_dir():
        raise ValueError(f"'{path}' is a folder; name a file")
    if path.exists() and not overwrite:
        raise ValueError(f"'{path}' exists; overwrite it, or name another file")
    if not path.parent.is_dir():
        raise ValueError(f"folder '{path.parent}' of file '{path.name}' does not exist")


def _check_weights(model: PerceiverIO) -> None:
    latents = model.encoder.latents
    if latents.dtype != torch.float32 or latents.device.type != "cpu":
        raise ValueError(
            f"the model is in {str(latents.dtype).removeprefix('torch.')} on {latents.device}; files are made of "
            f"models in float32 on the CPU: model.float().cpu()"
        )


def _sizes(part: Part, batch: int, queries: int, length_divisor: int = 2) -> dict[str, int]:
    """Return a size for each axis that a part may have open."""
    sizes = {BATCH: batch}
    most = part.examples.max_length
    if most is not None:
        sizes[LENGTH] = max(2, most // length_divisor)
    for i, axis in enumerate(part.queries_axes()):
        # Each of them another one, so that none is taken for another.
        sizes[axis] = queries + i
    return sizes


def _checked_sizes(part: Part, fixed: Mapping[str, int]) -> dict[str, int]:
    """Return sizes of axes to close, when there are such axes and such sizes."""
    axes = _sizes(part, *_TRACED)
    for name, size in fixed.items():
        if name not in axes:
            raise ValueError(f"fixed names the axis '{name}'; open axes = {list(axes)}")
        most = part.examples.max_length if name == LENGTH else None
        if size < 1 or (most is not None and size > most):
            limit = "" if most is None else f" and at most {most}"
            raise ValueError(f"fixed.{name} ({size}) must be at least 1{limit}")
    return dict(fixed)


def _closed(shape: Shape, fixed: Mapping[str, int]) -> Shape:
    return tuple(fixed.get(size.name, size) if isinstance(size, Axis) else size for size in shape)


def _checks(part: Part, kind: Format, path: Path, fixed: Mapping[str, int]) -> Iterator[Check]:
    run = kind.open(path)
    for (batch, queries), divisor in zip(_CHECKED, (1, 3), strict=True):
        yield compare(part, run, {**_sizes(part, batch, queries, divisor), **fixed})


def _facts(model: PerceiverIO, part: str, task: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what the file tells of its model."""
    facts = {"version": version("perceivers"), "part": part, "config": json.dumps(to_json(model.config))}
    if task is not None:
        settings = {key: value for key, value in task.items() if key not in ("name", "labels")}
        facts |= {"task": str(task["name"]), "settings": json.dumps(settings)}
        if "labels" in task:
            facts["labels"] = json.dumps(task["labels"], ensure_ascii=False)
    return facts
