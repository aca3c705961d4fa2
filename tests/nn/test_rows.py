"""Arrays in parts against the arrays themselves."""

import pytest
import torch
from torch import Tensor

from perceivers.nn.pieces import Meeting, Questions, WeightedSums
from perceivers.nn.positions import FourierPositionConfig
from perceivers.nn.rows import Block, Constant, Content, Projected, Rows, as_rows, behind, joined

BATCH, VECTORS = 2, 5
GRIDS = [(7,), (3, 4), (2, 3, 5)]


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=random.generator, dtype=torch.float64)  # type: ignore[attr-defined]


random.generator = torch.Generator().manual_seed(3)  # type: ignore[attr-defined]


def positions(grid: tuple[int, ...]) -> Block:
    config = FourierPositionConfig(num_bands=3, max_resolution=tuple(9 for _ in grid))
    return config.build(grid).block(grid, torch.zeros((), dtype=torch.float64))


def blocks(grid: tuple[int, ...]) -> dict[str, list[Block]]:
    count = int(torch.tensor(grid).prod())
    content, table = Content(random(BATCH, count, 3) + 4), Content(random(1, count, 2))
    return {
        "content": [content],
        "positions": [positions(grid)],
        "projected": [Projected(random(BATCH, count, 3) + 4, random(6, 3), random(6))],
        "constant": [Constant(random(4))],
        "content and positions": [content, positions(grid)],
        "content and a table": [content, table],
        "all": [content, positions(grid), table, Constant(random(4))],
    }


CASES = [(grid, name) for grid in GRIDS for name in blocks(grid)]


def segment_of(grid: tuple[int, ...], name: str) -> Rows:
    return as_rows(BATCH, grid, blocks(grid)[name])


@pytest.mark.parametrize(("grid", "name"), CASES)
def test_deviation_of_each_row(grid: tuple[int, ...], name: str) -> None:
    rows = segment_of(grid, name)
    expected = (rows.dense().var(dim=-1, correction=0) + 1e-5).rsqrt()
    torch.testing.assert_close(rows.segments[0].inverse_deviation(1e-5).expand(BATCH, -1), expected)


def test_the_deviation_survives_a_large_mean() -> None:
    content = torch.randn(1, 9, 8, dtype=torch.float64) + 1e4
    rows = as_rows(1, (9,), [Content(content.float()), Constant(torch.full((3,), 1e4))])
    expected = rows.dense().double().var(dim=-1, correction=0).rsqrt()
    torch.testing.assert_close(rows.segments[0].inverse_deviation(0.0), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("most", [1, 3, 8, 1000])
@pytest.mark.parametrize(("grid", "name"), CASES)
def test_products_and_sums_in_pieces(grid: tuple[int, ...], name: str, most: int) -> None:
    rows = segment_of(grid, name)
    segment, dense = rows.segments[0], rows.dense()
    vectors = random(BATCH, VECTORS, dense.shape[-1])
    weights, factor = random(BATCH, VECTORS, dense.shape[1]), random(BATCH, 1, dense.shape[1])
    meeting, sums = Meeting(segment, vectors), WeightedSums(segment, dense, VECTORS)
    questions = Questions(segment.element(1), vectors[1])
    seen = 0
    for span in segment.spans(most):
        assert span.rows.start == seen
        seen = span.rows.stop
        out = torch.empty(BATCH, VECTORS, span.rows.stop - span.rows.start, dtype=torch.float64)
        torch.testing.assert_close(meeting.products(span, out), vectors @ dense[:, span.rows].mT)
        torch.testing.assert_close(questions.products(span), out[1].mT)
        sums.add(span, weights[..., span.rows].clone(), factor[..., span.rows])
    assert seen == dense.shape[1]
    expected = (weights * factor) @ dense
    torch.testing.assert_close(sums.result(), expected)
    torch.testing.assert_close(sums.total, weights.sum(dim=-1, keepdim=True))
    sums.scale(torch.full((BATCH, VECTORS, 1), 2.0, dtype=torch.float64))
    torch.testing.assert_close(sums.result(), 2 * expected)
    torch.testing.assert_close(sums.total, 2 * weights.sum(dim=-1, keepdim=True))


def test_segments_and_paddings_make_one_array() -> None:
    first, second = segment_of((3, 4), "content and positions"), random(BATCH, 2, 5)
    width = first.shape[2] + 1
    padding, other = random(1), random(width - 5)
    rows = joined([behind(first, (12,), padding), behind(second, (2,), other)])
    assert rows.shape == (BATCH, 14, width)
    expected = torch.cat(
        [
            torch.cat([first.dense(), padding.expand(BATCH, 12, 1)], dim=-1),
            torch.cat([second, other.expand(BATCH, 2, -1)], dim=-1),
        ],
        dim=1,
    )
    assert torch.equal(rows.dense(), expected)
    assert rows.dense() is rows.dense()
    assert torch.equal(joined([rows, rows]).segments[1].element(1).dense()[0], expected[1, 12:])


def test_rows_know_whether_they_are_trained() -> None:
    assert not segment_of((3, 4), "all").requires_grad
    assert as_rows(1, (2,), [Constant(torch.zeros(6, requires_grad=True))]).requires_grad


@pytest.mark.parametrize("name", ["content", "all"])
def test_tables_of_a_line_are_no_longer_than_the_line(name: str) -> None:
    """Memory stays as it is, however many vectors meet a long line."""
    segment = segment_of((50,), name).segments[0]
    vectors = random(BATCH, 90, segment.num_channels)
    for part in (
        Meeting(segment, vectors),
        WeightedSums(segment, vectors, 90),
        Questions(segment.element(0), vectors[0]),
    ):
        held = [value for value in vars(part).values() if isinstance(value, Tensor)]
        assert all(tensor.untyped_storage().nbytes() < 50 * 90 * 8 for tensor in held)
