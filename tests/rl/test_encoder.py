"""The entity encoder: the form of its answers, order, size, and what is refused."""

import pytest
import torch

from perceivers.rl import EntityEncoder


def encoder(**arguments: int) -> EntityEncoder:
    torch.manual_seed(0)
    return EntityEncoder(5, 7, overrides={"encoder.num_latents": 4}, **arguments).eval()


@torch.no_grad()
def test_embeddings_follow_their_units() -> None:
    units, keep_mask = torch.randn(3, 9, 5), torch.rand(3, 9) < 0.7
    each, whole = encoder()(units, keep_mask)
    assert each.shape == (3, 9, 7)
    assert whole.shape == (3, 7)
    order = torch.randperm(9)
    each_again, whole_again = encoder()(units[:, order], keep_mask[:, order])
    torch.testing.assert_close(each_again, each[:, order], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(whole_again, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(encoder().summary(units, keep_mask), whole, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_one_encoder_takes_any_number() -> None:
    model = encoder()
    for count in (0, 1, 40):
        each, whole = model(torch.randn(2, count, 5))
        assert each.shape == (2, count, 7)
        assert whole.isfinite().all()


@torch.no_grad()
def test_types_are_read() -> None:
    model, units = encoder(num_types=3), torch.randn(1, 4, 5)
    types = torch.tensor([[0, 1, 2, 0]])
    assert not torch.allclose(model(units, types=types)[1], model(units, types=types.flip(1))[1])
    with pytest.raises(ValueError, match="the batch has no 'unit_types'"):
        model(units)


def test_models_for_something_else_are_refused() -> None:
    with pytest.raises(ValueError, match=r"model 'digits-small' does not read and answer 'units'"):
        EntityEncoder(5, 7, model="digits-small")
    with pytest.raises(ValueError, match=r"'encoder\.width': no field 'width'"):
        EntityEncoder(5, 7, overrides={"encoder.width": 4})
