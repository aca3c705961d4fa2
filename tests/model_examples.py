"""Tiny models around one part, and the walk over a config's fields: what the contract tests share."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from perceivers.adapters import InputConfig, OutputConfig, QueryConfig
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.config import Variant, override
from perceivers.decoders import AverageDecoderConfig, CrossAttentionDecoderConfig, DecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig, PerceiverIO

# Reads twice and runs two blocks, so that sharing and repeating show.
ENCODER = EncoderConfig(
    num_latents=4,
    latent_channels=12,
    num_blocks=2,
    num_layers_per_block=1,
    num_cross_attends=2,
    num_cross_heads=1,
    num_self_heads=2,
)
DECODER = CrossAttentionDecoderConfig(num_heads=1)


def built_in(root: type[Variant]) -> dict[str, Any]:
    """Return the library's own concrete kinds of `root`, and those of `--plugin`; other tests may have added toys."""
    found = {kind: root.kinds[kind] for kind in root.kinds}
    return {kind: cls for kind, cls in found.items() if is_tested(cls) and not inspect.isabstract(cls)}


def is_tested(cls: type) -> bool:
    """Return whether the contract tests walk a class: it is of the library, or of a file given by `--plugin`."""
    return cls.__module__.startswith(("perceivers.", "perceivers_plugin:"))


def model_around(
    *,
    inputs: InputConfig | None = None,
    queries: QueryConfig | None = None,
    decoder: DecoderConfig | None = None,
    outputs: OutputConfig | None = None,
) -> PerceiverConfig:
    """Return a tiny model with the given parts; the rest is what they need, or something plain."""
    if outputs is not None:
        inputs = inputs or outputs.example_input()
        queries = queries or outputs.example_queries()
    if queries is not None:
        inputs = inputs or queries.example_input()
    inputs = inputs or PixelInputConfig.example()
    queries = queries or LearnedQueryConfig.example()
    if decoder is None:
        # A query without width has nothing to attend with.
        decoder = DECODER if queries.build(inputs.build()).num_channels else AverageDecoderConfig()
    return PerceiverConfig(
        inputs=inputs,
        encoder=ENCODER,
        queries=queries,
        decoder=decoder,
        outputs=outputs or LabelOutputConfig.example(),
    )


def seeded(config: PerceiverConfig, seed: int = 0) -> PerceiverIO:
    """Return the model as it starts from `seed`."""
    torch.manual_seed(seed)
    return PerceiverIO(config)


def example_batch(model: PerceiverIO, batch_size: int = 2) -> dict[str, Any]:
    """Return the same random batch each time."""
    torch.manual_seed(1)
    return model.inputs.example_batch(batch_size)


def leaves(value: Any) -> list[Tensor]:
    """Return the tensors of nested outputs, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    return [leaf for item in value for leaf in leaves(item)]


def fields_of(config: Any, prefix: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the dotted path of every field of a nested config, with other values it might take."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from fields_of(value, path)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                if dataclasses.is_dataclass(item):
                    yield from fields_of(item, f"{path}.{key}")
                else:
                    yield f"{path}.{key}", other_values(type(item), item)
        else:
            yield path, other_values(hints[field.name], value)


def other_values(hint: Any, value: Any) -> list[Any]:
    """Return values of type `hint` that differ from `value`."""
    if typing.get_origin(hint) is typing.Literal:
        return [choice for choice in typing.get_args(hint) if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [2 * value, value + 1, *([value - 1] if value > 1 else [])]
    if isinstance(value, float):
        return [value + 0.5]
    if isinstance(value, tuple) and value and all(isinstance(item, int | float) for item in value):
        return [tuple(item * 2 for item in value), tuple(item + 0.5 for item in value)]
    if value is None and typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _values_for_none(typing.get_args(hint))
    raise AssertionError(f"no other value known for {hint} = {value!r}")


def _values_for_none(choices: tuple[Any, ...]) -> list[Any]:
    if int in choices:
        return [4, 6]
    # A size along each axis; the number of axes is the part's own affair.
    return [(9,) * num_axes for num_axes in (1, 2, 3)]


def change_shows(config: PerceiverConfig, path: str, values: list[Any]) -> bool:
    """Return whether some value at `path` makes another model, or else all values are refused."""
    before = _fingerprint(config, config)
    accepted = 0
    for value in values:
        try:
            after = _fingerprint(override(config, {path: value}), config)
        except ValueError:
            continue
        accepted += 1
        if not _same(before, after):
            return True
    return accepted == 0


def _fingerprint(config: PerceiverConfig, base: PerceiverConfig) -> list[Tensor]:
    """Return what a seeded model starts from and what it answers to the base model's batch, evaluating and training."""
    model = seeded(config)
    start = [tensor.clone() for tensor in model.state_dict().values()]
    if [t.shape for t in start] != [t.shape for t in seeded(base).state_dict().values()]:
        return start
    batch = example_batch(seeded(base))
    torch.manual_seed(2)
    answers = [leaves(model.train(training)(batch)) for training in (False, True)]
    return [*start, *answers[0], *answers[1]]


def _same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return len(ours) == len(theirs) and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )
