"""Labels: learned queries, the query that says nothing, class scores."""

import pytest
import torch

from perceivers.adapters import Queries, Tokens
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig, NoQueryConfig
from perceivers.adapters.text import TextInputConfig

ONE = Queries(torch.empty(2, 1, 8))


def tokens(batch_size: int) -> Tokens:
    values = torch.randn(batch_size, 3, 4)
    return Tokens(values, None, values, (3,))


def test_learned_queries_are_the_same_for_every_row() -> None:
    queries = LearnedQueryConfig(num_queries=3, num_channels=8).build(TextInputConfig.example().build())
    everything = queries(tokens(2))
    assert everything.values.shape == (2, 3, 8)
    torch.testing.assert_close(everything.values[0], queries.table)
    torch.testing.assert_close(everything.values[1], queries.table)
    some = queries(tokens(2), torch.tensor([[2, 0], [1, 1]]))
    torch.testing.assert_close(some.values[0], queries.table[[2, 0]])
    torch.testing.assert_close(some.values[1], queries.table[[1, 1]])
    with pytest.raises(ValueError, match="where has 3 rows, but the batch has 2"):
        queries(tokens(2), torch.zeros(3, 1, dtype=torch.long))


def test_no_query_has_no_width() -> None:
    queries = NoQueryConfig().build(TextInputConfig.example().build())
    assert queries.num_channels == 0
    assert queries(tokens(2)).values.shape == (2, 1, 0)
    assert queries(tokens(2), torch.tensor([0, 0])).values.shape == (2, 2, 0)
    with pytest.raises(ValueError, match="outputs run from 0 to 0"):
        queries(tokens(2), torch.tensor([1]))


def test_single_labels_lose_their_query_axis() -> None:
    output = LabelOutputConfig(num_classes=5).build(8, TextInputConfig.example().build())
    rows = output(torch.randn(2, 1, 8), ONE)
    assert rows.shape == (2, 1, 5)
    assert output.arrange(rows, (1,)).shape == (2, 5)
    several = output(torch.randn(2, 3, 8), Queries(torch.empty(2, 3, 8)))
    assert output.arrange(several, (3,)).shape == (2, 3, 5)


def test_scores_may_start_from_zero() -> None:
    output = LabelOutputConfig(num_classes=5, zero_init=True).build(8, TextInputConfig.example().build())
    assert (output(torch.randn(2, 1, 8), ONE) == 0).all()
