"""Rollout against the same written out with whole matrices, on models of every modality."""

import json
import subprocess
import sys
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor

from model_examples import DECODER, ENCODER, built_in, example_batch, model_around, seeded
from perceivers import InputWeights, attention_rollout, input_attention
from perceivers.adapters import InputConfig
from perceivers.adapters.flow import FlowInputConfig, TokenQueryConfig
from perceivers.adapters.image import GridQueryConfig
from perceivers.adapters.label import NoQueryConfig
from perceivers.adapters.multimodal import MultimodalOutputConfig
from perceivers.adapters.text import TextInput, TextOutputConfig
from perceivers.decoders import AverageDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig, PerceiverIO
from perceivers.nn import Attention, FourierPositionConfig, record_attention

ONE_READ = replace(ENCODER, num_blocks=3, num_layers_per_block=2, num_cross_attends=1, num_cross_heads=2, qk_channels=4)
ENCODERS = {
    "one read": ONE_READ,
    "one read, no residual": replace(ONE_READ, query_residual=False),
    "blocks apart": replace(ONE_READ, share_blocks=False),
    "three reads": replace(ONE_READ, num_cross_attends=3, share_cross_attends="after_first"),
    "three reads, no residual": replace(ONE_READ, num_cross_attends=3, query_residual=False),
}
GRID = GridQueryConfig(grid_shape=(2, 3), positions=FourierPositionConfig(num_bands=2))


def lively(config: PerceiverConfig) -> PerceiverIO:
    """Return a model whose attention is far from even."""
    model = seeded(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "encoder.latents" or "query" in name or "key" in name:
                parameter.copy_(torch.randn_like(parameter))
    return model


def in_whole_matrices(model: PerceiverIO, batch: dict[str, Any]) -> Tensor:
    """Return the rollout of all outputs: from the input forwards, with the learned latents as further columns."""
    config = model.config.encoder
    with record_attention(model) as recorded, torch.no_grad():
        tokens = model.encode(batch).tokens
        queries = model.queries(tokens)
        answered = model.decoder.weights(queries, model.encode(batch).values)
    maps = {name: [one.mean(dim=1) for one in seen] for name, seen in recorded.maps.items()}
    batch_size, num_inputs, _ = tokens.values.shape
    num_latents = config.num_latents
    identity = torch.eye(num_latents).expand(batch_size, -1, -1)
    state = torch.cat([torch.zeros(batch_size, num_latents, num_inputs), identity], dim=-1)
    for block in range(config.num_blocks):
        if block < config.num_cross_attends:
            read = maps[f"encoder.cross_attends.{min(block, len(model.encoder.cross_attends) - 1)}.attention"].pop(0)
            taken = torch.cat([read, torch.zeros_like(identity)], dim=-1)
            state = state / 2 + taken / 2 if config.query_residual else taken
        for layer in range(config.num_layers_per_block):
            stack = min(block, len(model.encoder.blocks) - 1)
            attention = maps[f"encoder.blocks.{stack}.{layer}.attention"].pop(0)
            state = (identity + attention) / 2 @ state
    rolled = (answered @ state)[..., :num_inputs]
    return rolled / rolled.sum(dim=-1, keepdim=True)


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS.keys())
def test_rollout_equals_whole_matrices(encoder: EncoderConfig) -> None:
    model = lively(replace(model_around(queries=GRID), encoder=encoder))
    batch = example_batch(model)
    expected = in_whole_matrices(model, batch)
    rolled = attention_rollout(model, batch, torch.arange(6))
    torch.testing.assert_close(rolled.weights, expected)
    assert expected.std(dim=-1).min() > 0.01
    mean = attention_rollout(model, batch)
    torch.testing.assert_close(mean.weights, expected.mean(dim=1, keepdim=True))
    row_by_row = torch.tensor([[5, 0], [2, 2]])
    chosen = attention_rollout(model, batch, row_by_row)
    torch.testing.assert_close(chosen.weights, torch.take_along_dim(expected, row_by_row[..., None], dim=1))


@pytest.mark.parametrize("chunk_size", [1, 3, 1000])
def test_pieces_do_not_change_the_result(chunk_size: int) -> None:
    model = lively(replace(model_around(queries=GRID), encoder=ENCODERS["three reads"]))
    batch = example_batch(model)
    for where in (None, torch.arange(6)):
        whole = attention_rollout(model, batch, where)
        torch.testing.assert_close(attention_rollout(model, batch, where, chunk_size=chunk_size).weights, whole.weights)
    whole = input_attention(model, batch)
    torch.testing.assert_close(input_attention(model, batch, chunk_size=chunk_size).weights, whole.weights)


@pytest.mark.parametrize("kind", built_in(InputConfig))
def test_every_modality_has_its_map(kind: str) -> None:
    model = lively(model_around(inputs=built_in(InputConfig)[kind].example()))
    batch = example_batch(model)
    tokens = model.inputs(batch)
    for found in (attention_rollout(model, batch), input_attention(model, batch), input_attention(model, batch, [3])):
        torch.testing.assert_close(found.weights.sum(dim=-1), torch.ones(2, 1))
        assert (found.weights >= 0).all()
        if tokens.keep_mask is not None:
            assert (found.weights[:, 0][~tokens.keep_mask] == 0).all()
        laid_out = found.on_grid()
        parts = laid_out if isinstance(laid_out, dict) else {"": laid_out}
        grids = tokens.grids or {"": tokens.grid_shape}
        assert {name: part.shape for name, part in parts.items()} == {n: (2, 1, *grid) for n, grid in grids.items()}
        joined = torch.cat([part.flatten(2) for part in parts.values()], dim=-1)
        torch.testing.assert_close(joined, found.weights, rtol=0, atol=0)


def test_modalities_are_cut_in_their_order() -> None:
    weights = torch.arange(9.0).expand(1, 1, -1)
    parts = InputWeights(weights, None, {"audio": (2,), "video": (1, 2, 3), "label": (1,)}).on_grid()
    assert {name: part[0, 0].tolist() for name, part in parts.items()} == {
        "audio": [0, 1],
        "video": [[[2, 3, 4], [5, 6, 7]]],
        "label": [8],
    }


def test_a_modality_that_is_absent_keeps_its_grid() -> None:
    model = lively(
        model_around(outputs=MultimodalOutputConfig.example(), inputs=built_in(InputConfig)["multimodal"].example())
    )
    batch = example_batch(model)
    complete = attention_rollout(model, batch, {"label": torch.tensor([0])})
    del batch["audio"]
    hidden = attention_rollout(model, batch, {"label": torch.tensor([0]), "audio": torch.tensor([1, 5])})
    assert hidden.grid == complete.grid
    assert hidden.weights.shape == (2, 3, complete.weights.shape[-1])


def test_the_mean_of_latents_takes_from_all_alike() -> None:
    model = lively(replace(model_around(decoder=AverageDecoderConfig(), queries=NoQueryConfig()), encoder=ONE_READ))
    batch = example_batch(model)
    torch.testing.assert_close(attention_rollout(model, batch).weights, in_whole_matrices(model, batch))


def test_queries_made_of_tokens() -> None:
    """What the decoder's residual keeps of a query is no input, even where the query is a token."""
    inputs = FlowInputConfig.example()
    config = model_around(inputs=inputs, queries=TokenQueryConfig(), decoder=replace(DECODER, query_residual=True))
    model = lively(config)
    batch = example_batch(model)
    count = prod(inputs.image_size)
    torch.testing.assert_close(
        attention_rollout(model, batch, torch.arange(count)).weights, in_whole_matrices(model, batch)
    )


def only_id(model: PerceiverIO, chosen: int) -> None:
    """Make all latents read the bytes of id `chosen` alone."""
    assert isinstance(model.inputs, TextInput)
    attention = model.encoder.cross_attends[0].get_submodule("attention")
    assert isinstance(attention, Attention)
    with torch.no_grad():
        for parameter in model.inputs.parameters():
            parameter.zero_()
        model.inputs.embedding.weight[chosen, 0] = 1
        attention.query.weight.zero_()
        attention.query.bias.fill_(100)
        attention.key.weight.zero_()
        attention.key.weight[:, 0] = 100


@pytest.mark.parametrize("encoder", ["one read", "three reads"])
def test_attention_to_one_element_gives_it_everything(encoder: str) -> None:
    config = replace(ENCODERS[encoder], share_cross_attends="all")
    model = lively(replace(model_around(outputs=TextOutputConfig.example()), encoder=config))
    only_id(model, 77)
    ids = torch.tensor([[5, 77, 9, 9], [1, 2, 3, 77]])
    for found in (attention_rollout(model, {"input_ids": ids}), input_attention(model, {"input_ids": ids})):
        torch.testing.assert_close(found.weights[:, 0], (ids == 77).float())


def test_what_is_masked_gets_nothing() -> None:
    model = lively(replace(model_around(outputs=TextOutputConfig.example()), encoder=ONE_READ))
    batch = {"input_ids": torch.randint(6, 262, (3, 5)), "keep_mask": torch.ones(3, 5, dtype=torch.bool)}
    batch["keep_mask"][1, 3:] = False
    batch["keep_mask"][2] = False
    mean = attention_rollout(model, batch)
    assert mean.keep_mask is not None
    assert torch.equal(mean.keep_mask, batch["keep_mask"])
    torch.testing.assert_close(mean.weights.sum(dim=-1)[:, 0], torch.tensor([1.0, 1.0, 0.0]))
    assert (mean.weights[:, 0][~batch["keep_mask"]] == 0).all()
    # Padding asks nothing: its rows are 0 and stay out of the mean.
    rows = attention_rollout(model, batch, torch.arange(5)).weights
    torch.testing.assert_close(rows.sum(dim=-1), batch["keep_mask"].float())
    torch.testing.assert_close(mean.weights[1, 0], rows[1, :3].mean(dim=0))


def test_latents_and_reads_are_chosen() -> None:
    model = lively(replace(model_around(), encoder=ENCODERS["three reads"]))
    batch = example_batch(model)
    with record_attention(model, "encoder.cross_attends") as maps:
        model(batch)
    first, *later = [one.mean(dim=1) for name in sorted(maps.maps) for one in maps.maps[name]]
    for read, expected in enumerate([first, *later]):
        torch.testing.assert_close(input_attention(model, batch, [2, 0], read=read).weights, expected[:, [2, 0]])
        found = input_attention(model, batch, read=read, chunk_size=3).weights
        torch.testing.assert_close(found, expected.mean(dim=1, keepdim=True))


def test_half_precision_sums_in_full() -> None:
    model = lively(replace(model_around(queries=GRID), encoder=ONE_READ)).bfloat16()
    found = attention_rollout(model, example_batch(model))
    assert found.weights.dtype == torch.float32
    torch.testing.assert_close(found.weights.sum(dim=-1), torch.ones(2, 1))


def test_the_model_is_left_alone() -> None:
    model = lively(model_around(queries=GRID))
    batch = example_batch(model)
    before = model(batch)
    attention_rollout(model, batch)
    assert torch.equal(model(batch), before)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bad_requests_are_refused() -> None:
    model = lively(model_around(queries=GRID))
    batch = example_batch(model)
    with pytest.raises(ValueError, match=r"read \(2\) must lie between 0 and 1"):
        input_attention(model, batch, read=2)
    for latents in ([], [0, 4], [-1]):
        with pytest.raises(ValueError, match=r"latents .* run from 0 to 3"):
            input_attention(model, batch, latents)
    with pytest.raises(ValueError, match="asks for output 6"):
        attention_rollout(model, batch, torch.tensor([6]))
    with pytest.raises(ValueError, match=r"chunk_size \(0\) must be at least 1"):
        attention_rollout(model, batch, chunk_size=0)
    several = lively(model_around(outputs=MultimodalOutputConfig.example()))
    nothing = {"label": torch.tensor([], dtype=torch.long)}
    with pytest.raises(ValueError, match="names no output"):
        attention_rollout(several, example_batch(several), nothing)
    for ask in (attention_rollout, input_attention):
        with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
            ask(model.train(), batch)


# Run apart, so that the peak is this model's alone.
PEAK = """
import json, resource, sys
import torch, perceivers

model = perceivers.build("optical-flow", seed=0).eval()
batch = model.inputs.example_batch(1)
with torch.no_grad():
    model.encode(batch)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
where = torch.tensor([0, 91264])
found = {
    "rollout": perceivers.attention_rollout(model, batch, where),
    "mean": perceivers.attention_rollout(model, batch),
    "read": perceivers.input_attention(model, batch),
}
sums = {name: one.weights.sum(dim=-1).flatten().tolist() for name, one in found.items()}
shapes = {name: list(one.on_grid().shape) for name, one in found.items()}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"encoding_kib": before, "peak_kib": peak, "sums": sums, "shapes": shapes}))
"""


@pytest.mark.slow
def test_full_size_flow_in_bounded_memory() -> None:
    """The read's scores and weights as whole matrices would take 2 x 1.4 GiB; 1 GiB on top of encoding must do."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert seen["shapes"] == {"rollout": [1, 2, 368, 496], "mean": [1, 1, 368, 496], "read": [1, 1, 368, 496]}
    for sums in seen["sums"].values():
        assert sums == pytest.approx([1.0] * len(sums), abs=1e-4)
    assert seen["peak_kib"] < seen["encoding_kib"] + 2**20, seen
