"""From a config and tensors under our names to a model: everything is checked before anything is allocated."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from perceivers.adapters.label import LabelOutputConfig
from perceivers.config import override, to_json
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.pretrained.keys import check_names, check_shapes

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_HEAD = "outputs.linear."


def assemble(
    config: PerceiverConfig, tensors: Mapping[str, Tensor], source: str, *, num_labels: int | None = None
) -> PerceiverIO:
    """Return the model of `config` with these weights, in evaluation mode and in the weights' own precision.

    Weights of several precisions give a model of the one that holds them all.

    Args:
        config: The model that the tensors are of.
        tensors: All of its tensors by our names; one that is shared, once, under its first name.
        source: Where they come from, for error messages.
        num_labels: Leave out the head that scores labels, and give the model a new one for so many labels, with
            fresh weights from torch's global generator, which nothing else here touches.

    Raises:
        ValueError: Names, shapes or types do not fit (all are listed), values are not finite, or the model has
            no head of that kind.
    """
    blank = meta_model(config, len(tensors), source)
    expected = own_tensors(blank)
    check_names(list(expected), list(tensors), source)
    check_shapes(expected, tensors, source)
    dtype = _check_values(expected, tensors, source)
    if num_labels is not None:
        config = with_labels(config, num_labels, source)
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_HEAD)}
    with torch.random.fork_rng(devices=[]):
        model = PerceiverIO(config)
    if num_labels is not None:
        model.outputs = config.outputs.build(model.decoder.num_channels, model.inputs)
    model.to(dtype)
    with torch.no_grad():
        for name, tensor in own_tensors(model).items():
            if name in tensors:
                tensor.copy_(tensors[name])
    return model.eval()


def meta_model(config: PerceiverConfig, num_tensors: int, source: str) -> PerceiverIO:
    """Return the model without memory for its weights.

    Args:
        config: The model.
        num_tensors: How many tensors its checkpoint holds.
        source: Where they come from, for error messages.

    Raises:
        ValueError: The config has more layers than there are tensors, or describes no model.
    """
    for path, count in _counts(to_json(config), ""):
        # Each would have tensors of its own; a small file could otherwise keep a machine busy for years.
        if count > num_tensors:
            raise ValueError(f"{source} does not fit the model: {path} = {count}, and there are {num_tensors} tensors")
    try:
        with torch.device("meta"):
            return PerceiverIO(config)
    except (ValueError, RuntimeError, TypeError, ArithmeticError, MemoryError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise ValueError(f"{source}: no model can be made from the config: {reason}") from error


# Fields that say how often a config's module repeats something that has weights of its own.
_REPEATS = {"num_layers_per_block", "num_cross_attends", "num_stages", "num_extra_layers"}


def _counts(node: Any, path: str) -> Iterator[tuple[str, int]]:
    if not isinstance(node, dict):
        return
    repeats = _REPEATS | ({"num_blocks"} if node.get("share_blocks") is False else set())
    for key, value in node.items():
        here = f"{path}.{key}" if path else key
        if key in repeats and isinstance(value, int):
            yield here, value
        yield from _counts(value, here)


def with_labels(config: PerceiverConfig, num_labels: int, source: str) -> PerceiverConfig:
    """Return `config` with another number of labels.

    Raises:
        ValueError: Its outputs are no labels, or the number is not positive.
    """
    if not isinstance(config.outputs, LabelOutputConfig):
        raise ValueError(f"num_labels makes a new head for labels; {source} has '{config.outputs.kind}' outputs")
    if num_labels < 1:
        raise ValueError(f"num_labels ({num_labels}) must be at least 1")
    return override(config, {"outputs.num_classes": num_labels})


def _check_values(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str) -> torch.dtype:
    """Return the floating type that holds all of `found`; refuse other types and values that are not finite."""
    floats = {name: found[name] for name, tensor in expected.items() if tensor.is_floating_point()}
    wrong = [f"{name}: {tensor.dtype}" for name, tensor in floats.items() if tensor.dtype not in _FLOATS]
    wrong += [
        f"{name}: {found[name].dtype}"
        for name in expected
        if name not in floats and (found[name].is_floating_point() or found[name].is_complex())
    ]
    if wrong:
        raise ValueError(f"{source} has tensors of types that do not fit: {'; '.join(wrong)}".replace("torch.", ""))
    broken = [name for name, tensor in floats.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise ValueError(f"{source} has values that are not finite (NaN or infinity) in {broken}")
    dtype = next(iter(floats.values())).dtype
    for tensor in floats.values():
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def own_tensors(model: PerceiverIO) -> dict[str, Tensor]:
    """Return parameters and buffers by name, a shared one only once, under its first name."""
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors
