"""Cross-attention by algebra in pieces against the plain form."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from perceivers.nn import absorption
from perceivers.nn.attention import Attention
from perceivers.nn.layers import CrossAttention, LayerConfig
from perceivers.nn.maps import record_calls
from perceivers.nn.positions import FourierPositionConfig
from perceivers.nn.rows import Constant, Content, Projected, Rows, as_rows, behind, joined

LATENTS, WIDTH = 4, 12


def rows_of(dtype: torch.dtype, mean: float = 0.0) -> Rows:
    """Two grids in a batch of two, behind one another: 30 rows with positions, 3 of content alone."""
    generator = torch.Generator().manual_seed(4)
    content, more = (
        torch.randn(2, m, c, generator=generator, dtype=torch.float64) + mean for m, c in ((30, 5), (3, 9))
    )
    positions = FourierPositionConfig(num_bands=2).build((5, 6)).block((5, 6), torch.zeros((), dtype=dtype))
    first = as_rows(
        2, (5, 6), [Content(content.to(dtype)), positions, Constant(torch.randn(2, generator=generator).to(dtype))]
    )
    second = behind(more.to(dtype), (3,), torch.randn(first.shape[2] - 9, generator=generator).to(dtype))
    return joined([first, second])


def layer_of(dtype: torch.dtype, kv_channels: int, q_channels: int = WIDTH, *, scale: float = 1.0) -> CrossAttention:
    torch.manual_seed(0)
    layer = CrossAttention(
        LayerConfig(num_heads=1), q_channels=q_channels, kv_channels=kv_channels, query_residual=False
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=scale / parameter.shape[-1] ** 0.5 if parameter.dim() > 1 else 1.0)
    return layer.to(dtype)


@contextmanager
def plainly(module: nn.Module) -> Iterator[None]:
    """Have every attention called as such: whoever watches it gets the plain form."""
    with record_calls(module):
        yield


def relative(ours: Tensor, truth: Tensor) -> float:
    return float((ours.double() - truth).abs().max() / truth.square().mean().sqrt())


@pytest.mark.parametrize("piece", [1, 60, 2**20])
@pytest.mark.parametrize(("scale", "mean"), [(1.0, 0.0), (8.0, 0.0), (1.0, 100.0)])
@torch.no_grad()
def test_reading(monkeypatch: pytest.MonkeyPatch, piece: int, scale: float, mean: float) -> None:
    monkeypatch.setitem(absorption._PIECE, "cpu", piece)
    rows = rows_of(torch.float64, mean)
    latents = torch.randn(2, LATENTS, WIDTH, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    layer = layer_of(torch.float64, rows.shape[2], scale=scale)
    with plainly(layer):
        truth = layer(latents, rows)
        in_float32 = layer.float()(latents.float(), rows_of(torch.float32, mean))
    single = layer(latents.float(), rows_of(torch.float32, mean))
    assert relative(layer.double()(latents, rows), truth) < 1e-10
    # As near the truth as the plain form is, with the same rounded weights.
    assert relative(single, truth) < max(1e-6, 4 * relative(in_float32, truth))


@torch.no_grad()
def test_a_layer_over_few_numbers_loses_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of three numbers a row goes into 64 channels: one rounding error would be in all of them."""
    monkeypatch.setitem(absorption._PIECE, "cpu", 2**15)
    generator = torch.Generator().manual_seed(6)
    values, weight, bias, queries = (
        torch.randn(*shape, generator=generator) for shape in ((1, 200_000, 3), (64, 3), (64,), (1, 8, 64))
    )

    def read(dtype: torch.dtype) -> Tensor:
        block = Projected(values.to(dtype), weight.to(dtype), bias.to(dtype))
        return absorption.read(0.1 * queries.to(dtype), as_rows(1, (200_000,), [block]), 1e-5)

    assert relative(read(torch.float32), read(torch.float64)) < 2e-6


@torch.no_grad()
def test_scores_that_rise_along_the_rows_move_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece holds scores far above those before: weights of e^20 and more would not fit otherwise."""
    monkeypatch.setitem(absorption._PIECE, "cpu", 2)
    ramp = torch.linspace(-1, 1, 40)[None, :, None] * torch.tensor([1.0, -1.0, 0.5])
    rows = as_rows(1, (40,), [Content(ramp + 0.1 * torch.randn(1, 40, 3, generator=torch.Generator().manual_seed(1)))])
    queries = torch.tensor([[[300.0, -300.0, 0.0]]])
    found = absorption.read(queries, rows, 1e-5)
    normed = torch.nn.functional.layer_norm(rows.dense(), (3,))
    weights = (queries @ normed.mT).softmax(dim=-1)
    torch.testing.assert_close(found, weights @ normed, rtol=1e-4, atol=1e-4)


def test_gradients_of_reading() -> None:
    rows = rows_of(torch.float64)
    queries = torch.randn(2, 3, rows.shape[2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: absorption.read(q, rows, 1e-5), (queries,))


@pytest.mark.parametrize("trained", ["queries", "everything"])
def test_gradients_of_the_layer(trained: str) -> None:
    rows = rows_of(torch.float64)
    if trained == "everything":
        array = rows.dense().requires_grad_()
        rows = as_rows(2, (33,), [Content(array)])
    layer = layer_of(torch.float64, rows.shape[2]).train()
    latents = torch.randn(2, LATENTS, WIDTH, dtype=torch.float64, requires_grad=True)
    wanted = [latents, *layer.parameters(), *([array] if trained == "everything" else [])]
    found = torch.autograd.grad(layer(latents, rows).square().sum(), wanted)
    with plainly(layer):
        expected = torch.autograd.grad(layer(latents, rows).square().sum(), wanted)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("piece", [1, 60, 2**20])
@pytest.mark.parametrize("latent_width", [7, 40])
@pytest.mark.parametrize("scale", [1.0, 8.0])
@torch.no_grad()
def test_answering(monkeypatch: pytest.MonkeyPatch, piece: int, latent_width: int, scale: float) -> None:
    """Latents narrower than queries are answered in a basis, wider ones are not."""
    monkeypatch.setitem(absorption._PIECE, "cpu", piece)
    rows = rows_of(torch.float64)
    latents = torch.randn(2, LATENTS, latent_width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, rows.shape[2]), (3,))
    )
    last = absorption.Layer(weight, bias)

    def ask(layer: CrossAttention, dtype: torch.dtype) -> Tensor:
        answers = [layer.answers(one.to(dtype)) for one in latents]
        end = absorption.Layer(last.weight.to(dtype), last.bias.to(dtype))
        segments = rows_of(dtype).segments
        return torch.cat([torch.cat([a(s.element(i), end) for s in segments], dim=1) for i, a in enumerate(answers)])

    layer = layer_of(torch.float64, latent_width, rows.shape[2], scale=scale)
    truth = torch.nn.functional.linear(layer(rows.dense(), latents), last.weight, last.bias)
    assert relative(ask(layer, torch.float64), truth) < 1e-10
    single = layer.float()
    plain = torch.nn.functional.linear(
        single(rows_of(torch.float32).dense(), latents.float()), last.weight.float(), last.bias.float()
    )
    assert relative(ask(single, torch.float32), truth) < max(2e-6, 4 * relative(plain, truth))


@torch.no_grad()
def test_when_the_algebra_is_taken() -> None:
    rows = rows_of(torch.float32)
    layer = layer_of(torch.float32, WIDTH, rows.shape[2]).eval()
    assert layer.can_answer()
    assert not layer.train().can_answer()
    with torch.enable_grad():
        assert not layer.eval().can_answer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not layer.can_answer()
    with record_calls(layer) as calls:
        assert not layer.can_answer()
        layer(rows.dense(), torch.randn(2, LATENTS, WIDTH))
    assert len(calls) == 1
    assert isinstance(calls[0].module, Attention)
    layer.query_residual = True
    assert not layer.can_answer()
