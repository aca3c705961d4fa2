"""Text: padding, short texts, tied embedding."""

import pytest
import torch

from perceivers.adapters import Queries
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.label import LearnedQueryConfig
from perceivers.adapters.text import (
    NUM_BYTES_AND_SPECIALS,
    TextInputConfig,
    TextNeighboursQueryConfig,
    TextOutputConfig,
    TextQueryConfig,
)
from perceivers.nn import FourierPositionConfig, LearnedPositionConfig
from perceivers.nn.positions import PositionedConfig


def text_input(**changes: object) -> TextInputConfig:
    positions = PositionedConfig(positions=LearnedPositionConfig(num_channels=8), combine="add")
    fields = {"max_length": 12, "num_channels": 8, "positioned": positions, **changes}
    return TextInputConfig(**fields)


def test_tokens_are_embedding_plus_position() -> None:
    module = text_input().build()
    ids = torch.tensor([[6, 7, 261], [0, 3, 6]])
    tokens = module({"input_ids": ids})
    content = module.embedding(ids)
    torch.testing.assert_close(tokens.content, content)
    table = module.positioned.positions((12,), content)
    torch.testing.assert_close(tokens.values, content + table[:3])
    assert tokens.grid_shape == (3,)
    assert tokens.keep_mask is None
    assert module.num_channels == 8
    assert NUM_BYTES_AND_SPECIALS == module.embedding.num_embeddings == 262


def test_masks_of_integers_are_taken() -> None:
    tokens = text_input().build()({"input_ids": torch.tensor([[6, 0]]), "keep_mask": torch.tensor([[1, 0]])})
    assert tokens.keep_mask is not None
    assert tokens.keep_mask.tolist() == [[True, False]]


def test_short_texts_keep_the_positions_of_long_ones() -> None:
    """Fourier positions are laid out for `max_length`, whatever the text's own length."""
    positions = PositionedConfig(positions=FourierPositionConfig(num_bands=2))
    module = text_input(positioned=positions).build()
    ids = torch.randint(262, (1, 12))
    whole, part = module({"input_ids": ids}), module({"input_ids": ids[:, :5]})
    torch.testing.assert_close(whole.values[:, :5], part.values)


def test_wrong_batches_are_refused() -> None:
    module = text_input().build()
    with pytest.raises(ValueError, match=r"text of 13 tokens is longer than max_length \(12\)"):
        module({"input_ids": torch.zeros(1, 13, dtype=torch.long)})
    with pytest.raises(ValueError, match=r"the batch has no 'input_ids'; it has \['text'\]"):
        module({"text": "abc"})


@pytest.mark.parametrize("where", [torch.tensor([4, 0]), torch.tensor([[4, 0], [1, 2]])])
def test_queries_follow_the_padding(where: torch.Tensor) -> None:
    inputs = text_input().build()
    batch = {"input_ids": torch.zeros(2, 5, dtype=torch.long), "keep_mask": torch.ones(2, 5, dtype=torch.bool)}
    batch["keep_mask"][:, 4] = False
    tokens = inputs(batch)
    positions = LearnedPositionConfig(num_channels=8)
    queries = TextQueryConfig(max_length=12, positions=positions).build(inputs)
    everything, some = queries(tokens), queries(tokens, where)
    rows = where.expand(2, -1)
    assert everything.keep_mask is not None
    assert some.keep_mask is not None
    for i in range(2):
        torch.testing.assert_close(some.values[i], everything.values[i, rows[i]])
        assert some.keep_mask[i].tolist() == everything.keep_mask[i, rows[i]].tolist()
    unmasked = TextQueryConfig(max_length=12, positions=positions, mask_padding=False).build(inputs)
    assert unmasked(tokens, where).keep_mask is None


def test_output_shares_the_embedding() -> None:
    inputs = text_input().build()
    output = TextOutputConfig().build(8, inputs)
    decoded = torch.randn(2, 3, 8)
    torch.testing.assert_close(output(decoded, Queries(decoded)), decoded @ inputs.embedding.weight.T + output.bias)
    assert output.embedding is inputs.embedding
    with pytest.raises(ValueError, match=r"decoded channels \(7\) must equal the embedding's \(8\)"):
        TextOutputConfig().build(7, inputs)


def test_output_needs_a_text_input() -> None:
    from perceivers.adapters.image import PixelInputConfig

    with pytest.raises(ValueError, match="shares the embedding of a text input, not of PixelInput"):
        TextOutputConfig().build(8, PixelInputConfig.example().build())


def test_embedding_starts_as_the_originals() -> None:
    torch.manual_seed(0)
    weight = text_input(num_channels=768, positioned=wide()).build().embedding.weight.detach()
    assert float(weight.std()) == pytest.approx(0.8807, rel=0.01)
    assert float(weight.abs().max()) == pytest.approx(2.0, rel=2e-3)


def test_query_tables_start_as_the_originals() -> None:
    torch.manual_seed(0)
    table = LearnedQueryConfig(num_queries=512, num_channels=1024).build(text_input().build()).table.detach()
    assert float(table.std()) == pytest.approx(0.01759, rel=0.01)
    assert float(table.abs().max()) == pytest.approx(0.04, rel=2e-3)


def wide() -> PositionedConfig:
    return PositionedConfig(positions=LearnedPositionConfig(num_channels=768), combine="add")


def neighbours(**changes: int) -> TextNeighboursQueryConfig:
    fields = {"max_length": 12, "num_before": 1, "num_after": 2, **changes}
    return TextNeighboursQueryConfig(**fields, positions=LearnedPositionConfig(num_channels=8))


def test_neighbours_count_and_others_do_not() -> None:
    inputs = text_input().build()
    queries = neighbours().build(inputs)
    ids = torch.arange(6, 14)[None]
    before = queries(inputs({"input_ids": ids})).values[0]
    changed = ids.clone()
    changed[0, 4] = 99
    differs = (queries(inputs({"input_ids": changed})).values[0] != before).any(dim=-1)
    # The token itself, the one behind it, which has it before, and the two that have it among those behind them.
    assert differs.nonzero().flatten().tolist() == [2, 3, 4, 5]


def test_padding_is_no_neighbour() -> None:
    inputs = text_input().build()
    queries = neighbours().build(inputs)
    alone = queries(inputs({"input_ids": torch.tensor([[6, 7, 8]])}))
    padded = {"input_ids": torch.tensor([[6, 7, 8, 0, 0]]), "keep_mask": torch.tensor([[1, 1, 1, 0, 0]])}
    beside = queries(inputs(padded))
    torch.testing.assert_close(beside.values[:, :3], alone.values)
    assert beside.keep_mask is not None
    assert beside.keep_mask.tolist() == [[True, True, True, False, False]]


def test_neighbours_of_chosen_tokens_are_those_of_all() -> None:
    inputs = text_input().build()
    queries = neighbours().build(inputs)
    tokens = inputs(inputs.example_batch(2))
    everywhere = queries(tokens).values
    where = torch.tensor([[11, 0, 3], [5, 5, 1]])
    torch.testing.assert_close(queries(tokens, where).values, everywhere.gather(1, where[..., None].expand(-1, -1, 8)))
    torch.testing.assert_close(queries(tokens, where[0]).values, everywhere[:, where[0]])


def test_neighbours_of_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match="text-neighbours queries need a text input, not PixelInput"):
        neighbours().build(PixelInputConfig.example().build())
    with pytest.raises(ValueError, match=r"num_after \(-1\) must not be negative"):
        neighbours(num_after=-1).build(text_input().build())
