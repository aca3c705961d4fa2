"""What every part must do, over all kinds in the tables: a new kind is tested by existing."""

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from model_examples import (
    DECODER,
    ENCODER,
    built_in,
    change_shows,
    example_batch,
    fields_of,
    leaves,
    model_around,
    seeded,
)
from perceivers.adapters import InputConfig, OutputConfig, QueryConfig
from perceivers.adapters.base import InputAdapter, grid_size
from perceivers.adapters.label import NoQueryConfig
from perceivers.config import from_json, to_json
from perceivers.decoders import AverageDecoderConfig, DecoderConfig
from perceivers.model import PerceiverConfig
from perceivers.nn import FourierPositionConfig, LearnedPositionConfig, PositionConfig

INPUTS = {f"input {kind}": model_around(inputs=cls.example()) for kind, cls in built_in(InputConfig).items()}
QUERIES = {f"query {kind}": model_around(queries=cls.example()) for kind, cls in built_in(QueryConfig).items()}
OUTPUTS = {f"output {kind}": model_around(outputs=cls.example()) for kind, cls in built_in(OutputConfig).items()}
# These have no `example`: they need nothing from other parts.
DECODER_EXAMPLES: dict[str, DecoderConfig] = {"cross-attention": DECODER, "average": AverageDecoderConfig()}
# The mean of the latents asks nothing.
DECODER_QUERIES: dict[str, QueryConfig] = {"average": NoQueryConfig()}
POSITION_EXAMPLES: dict[str, PositionConfig] = {
    "learned": LearnedPositionConfig(num_channels=4),
    "fourier": FourierPositionConfig(num_bands=2),
}
DECODERS = {
    f"decoder {kind}": model_around(decoder=DECODER_EXAMPLES[kind], queries=DECODER_QUERIES.get(kind))
    for kind in built_in(DecoderConfig)
}

MODELS: dict[str, PerceiverConfig] = {**INPUTS, **QUERIES, **OUTPUTS, **DECODERS}
every_model = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())

FIELDS = [
    (role, path, values)
    for role, config in MODELS.items()
    for part in ("inputs", "queries", "decoder", "outputs")
    if {"inputs": "input", "queries": "query", "decoder": "decoder", "outputs": "output"}[part] == role.split()[0]
    for path, values in fields_of(getattr(config, part), part)
]


@pytest.mark.parametrize("config", INPUTS.values(), ids=INPUTS.keys())
def test_tokens_have_the_promised_shape(config: PerceiverConfig) -> None:
    inputs = config.inputs.build()
    tokens = inputs(inputs.example_batch(2))
    batch_size, length, channels = tokens.values.shape
    assert (batch_size, channels) == (2, inputs.num_channels)
    assert tokens.content.shape[:2] == (2, length)
    assert torch.Size(tokens.grid_shape).numel() == length
    assert tokens.grids is None or grid_size(tokens.grids) == length
    assert tokens.keep_mask is None or tokens.keep_mask.shape == (2, length)


@pytest.mark.parametrize("config", INPUTS.values(), ids=INPUTS.keys())
def test_what_tokens_are_made_of_lies_in_their_order(config: PerceiverConfig) -> None:
    inputs = config.inputs.build().eval()
    batch = inputs.example_batch(2)
    tokens = inputs(batch)
    if config.inputs.kind in ("multimodal", "units"):
        with pytest.raises(ValueError, match=r"Input cannot be masked and asked for: .* no method `raw`"):
            inputs.raw(batch)
        return
    raw = inputs.raw(batch)
    assert raw.values.shape[:2] == tokens.values.shape[:2]
    assert raw.grid_shape == tokens.grid_shape
    assert not raw.values.requires_grad
    assert (raw.keep_mask is None) == (tokens.keep_mask is None)
    assert raw.keep_mask is None or torch.equal(raw.keep_mask, tokens.keep_mask)
    # Nothing hidden, nothing changed.
    hidden = torch.zeros(raw.values.shape[:2], dtype=torch.bool)
    torch.testing.assert_close(inputs(inputs.hide(batch, hidden)).values, tokens.values)


@every_model
def test_queries_and_answers_have_the_promised_shape(config: PerceiverConfig) -> None:
    model = seeded(config).eval()
    tokens = model.inputs(example_batch(model))
    queries = model.queries(tokens)
    count = grid_size(model.queries.output_grid(tokens))
    assert queries.values.shape == (2, count, model.queries.num_channels)
    assert queries.keep_mask is None or queries.keep_mask.shape == (2, count)
    latents = torch.randn(2, ENCODER.num_latents, ENCODER.latent_channels)
    assert model.decoder(queries, latents).shape == (2, count, model.decoder.num_channels)
    taken = model.decoder.weights(queries, latents)
    assert taken.shape == (2, count, ENCODER.num_latents)
    kept = torch.ones(2, count) if queries.keep_mask is None else queries.keep_mask.float()
    torch.testing.assert_close(taken.sum(dim=-1), kept)


@every_model
def test_json_round_trip(config: PerceiverConfig) -> None:
    text = json.dumps(to_json(config))
    assert from_json(PerceiverConfig, json.loads(text)) == config


@every_model
def test_gradients_reach_every_parameter(config: PerceiverConfig) -> None:
    model = seeded(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Some parts start from zeros, which block what lies before them.
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    outputs = leaves(model(example_batch(model)))
    torch.stack([leaf.square().mean() for leaf in outputs]).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    # A key's bias adds the same to all scores of a query: its gradient is zero, whether it comes out so or to rounding.
    zero = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    assert [name for name in zero if not name.endswith("attention.key.bias")] == []


@every_model
def test_state_dict_round_trip(config: PerceiverConfig) -> None:
    first, second = seeded(config).eval(), seeded(config, seed=7).eval()
    batch = example_batch(first)
    assert not same(first(batch), second(batch)) or not dict(first.named_parameters())
    second.load_state_dict(first.state_dict())
    assert same(first(batch), second(batch))


def same(ours: Any, theirs: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(leaves(ours), leaves(theirs), strict=True))


def assert_close(ours: Any, theirs: Any) -> None:
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@every_model
@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_asking_in_chunks_gives_the_same(config: PerceiverConfig, chunk_size: int) -> None:
    model = seeded(config).eval()
    batch = example_batch(model)
    with torch.no_grad():
        latents = model.encode(batch)
        everything = model(batch)
        assert_close(model.decode(latents), everything)
        assert_close(model.decode(latents, chunk_size=chunk_size), everything)


@every_model
def test_asking_for_some_gives_the_same(config: PerceiverConfig) -> None:
    model = seeded(config).eval()
    with torch.no_grad():
        latents = model.encode(example_batch(model))
        grid = model.queries.output_grid(latents.tokens)
        (all_indices,) = model.queries.split(latents.tokens, None, 10**6)
        rows = model.decode(latents, where=all_indices)
        assert_close(model.outputs.arrange(rows, grid), model.decode(latents))
        if not isinstance(all_indices, Tensor):
            # Indices by part: pieces of them, put together again, are all there is to compare.
            pieces = [model.decode(latents, where=p) for p in model.queries.split(latents.tokens, None, 2)]
            assert_close(model.outputs.join(pieces), rows)
            return
        count = len(all_indices)
        same_for_all = torch.tensor([count - 1, 0, count // 2, 0])
        row_by_row = torch.stack([same_for_all, same_for_all.flip(0)])
        for where in (same_for_all, row_by_row):
            some = model.decode(latents, where=where)
            expected = torch.stack([rows[i, where.expand(2, -1)[i]] for i in range(2)])
            assert_close(some, expected)
            assert_close(model.decode(latents, where=where, chunk_size=3), expected)


@pytest.mark.parametrize(("role", "path", "values"), FIELDS, ids=[f"{role}: {path}" for role, path, _ in FIELDS])
def test_every_field_is_used(role: str, path: str, values: list[Any]) -> None:
    assert change_shows(MODELS[role], path, values)


@pytest.mark.parametrize("kind", built_in(PositionConfig))
def test_positions(kind: str) -> None:
    config = POSITION_EXAMPLES[kind]
    module = config.build((3, 4))
    like = torch.empty(0)
    features = module((3, 4), like)
    assert features.shape == (12, module.num_channels)
    assert features.dtype == like.dtype
    assert from_json(PositionConfig, json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for root in (InputConfig, QueryConfig, OutputConfig, DecoderConfig, PositionConfig)
        for cls in built_in(root).values()
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_field_is_described(cls: type) -> None:
    lines = "\n".join(base.__doc__ or "" for base in cls.__mro__ if dataclasses.is_dataclass(base)).splitlines()
    described = {line.strip().split(":")[0] for line in lines if ":" in line}
    assert {field.name for field in dataclasses.fields(cls)} <= described


def test_parts_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        InputAdapter()  # pyright: ignore[reportAbstractUsage]
