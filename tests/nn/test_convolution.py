"""Convolutional features and batch norm against the original's numbers."""

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_models import STATE_TOLERANCE, primitive
from perceivers.nn.convolution import BatchNorm, ConvDownsample, depth_to_space, pad_same, space_to_depth

NORM_NAMES = {
    "weight": "scale",
    "bias": "offset",
    "mean": "~/mean_ema/average",
    "hidden_mean": "~/mean_ema/hidden",
    "var": "~/var_ema/average",
    "hidden_var": "~/var_ema/hidden",
    "count": "~/mean_ema/counter",
}


def filled(golden: dict[str, np.ndarray], num_stages: int) -> ConvDownsample:
    """Return the golden's stack with its weights."""
    weights = {key.removeprefix("weights/conv2_d_downsample/~/"): value for key, value in golden.items()}
    state: dict[str, Tensor] = {}
    for i in range(num_stages):
        suffix = f"_{i}" if i else ""
        state[f"convs.{i}.weight"] = torch.from_numpy(weights[f"conv{suffix}/w"]).permute(3, 2, 0, 1)
        for ours, theirs in NORM_NAMES.items():
            state[f"norms.{i}.{ours}"] = torch.from_numpy(weights[f"batchnorm{suffix}/{theirs}"]).squeeze()
    width = state["convs.0.weight"].shape[0]
    model = ConvDownsample(3, width, num_stages=num_stages, use_batch_norm=True, same_padding=True)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("size", ["32x32", "31x33", "30x37"])
def test_downsampling_matches_the_original(size: str) -> None:
    golden = primitive(f"conv2d_downsample_{size}_eval")
    image = torch.from_numpy(golden["in0"])
    model = filled(golden, 1).eval()
    out = model(image)
    torch.testing.assert_close(out, torch.from_numpy(golden["out0"]), rtol=1e-5, atol=2e-5)
    assert out.shape[1:3] == (model.output_size(image.shape[1]), model.output_size(image.shape[2]))


@pytest.mark.parametrize("size", ["32x32", "31x33", "30x37"])
def test_downsampling_while_training_matches_the_original(size: str) -> None:
    golden = primitive(f"conv2d_downsample_{size}_train")
    model = filled(golden, 1).train()
    out = model(torch.from_numpy(golden["in0"]))
    torch.testing.assert_close(out, torch.from_numpy(golden["out0"]), rtol=1e-5, atol=2e-5)
    for ours, theirs in NORM_NAMES.items():
        key = f"new_state/conv2_d_downsample/~/batchnorm/{theirs}"
        if key in golden:
            expected = torch.from_numpy(golden[key]).squeeze()
            value = model.get_buffer(f"norms.0.{ours}").to(expected.dtype)
            torch.testing.assert_close(value, expected, rtol=STATE_TOLERANCE, atol=STATE_TOLERANCE)


def test_two_stages_match_the_original() -> None:
    golden = primitive("conv2d_downsample_2layers")
    model = filled(golden, 2).eval()
    out = model(torch.from_numpy(golden["in0"]))
    torch.testing.assert_close(out, torch.from_numpy(golden["out0"]), rtol=1e-5, atol=2e-5)


def test_padding_of_the_port() -> None:
    """`same_padding=False` gives the 55 x 55 cells that a port was built with, not 56 x 56."""
    same, port = (
        ConvDownsample(3, 4, num_stages=1, use_batch_norm=False, same_padding=same_padding)
        for same_padding in (True, False)
    )
    assert (same.output_size(224), port.output_size(224)) == (56, 55)
    assert port(torch.rand(1, 224, 224, 3)).shape == (1, 55, 55, 4)


def test_same_padding_puts_the_odd_pixel_below_and_right() -> None:
    padded = pad_same(torch.ones(1, 1, 4, 4), 3, 2)
    assert padded.shape == (1, 1, 5, 5)
    assert (padded[..., -1, :] == 0).all()
    assert (padded[..., :4, :4] == 1).all()


def test_batch_norm_starts_from_nothing_and_is_debiased() -> None:
    norm = BatchNorm(2).train()
    x = torch.randn(8, 2, 3, 3) * 2 + 5
    norm(x)
    # One step: the debiased averages are the batch's own statistics.
    torch.testing.assert_close(norm.mean, x.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.var, x.var(dim=(0, 2, 3), unbiased=False))
    norm.eval()
    before = norm.mean.clone()
    norm(x)
    torch.testing.assert_close(norm.mean, before)


def test_convolution_starts_as_the_originals() -> None:
    torch.manual_seed(0)
    model = ConvDownsample(3, 64, num_stages=1, use_batch_norm=True, same_padding=True)
    weight = model.get_parameter("convs.0.weight").detach()
    assert float(weight.std()) == pytest.approx(0.0729, rel=0.02)
    assert float(weight.abs().max()) == pytest.approx(0.165, rel=5e-3)


@pytest.mark.parametrize(("name", "spatial", "temporal"), [("4d_s2", 2, 1), ("5d_t2_s2", 2, 2)])
def test_space_to_depth_is_exact(name: str, spatial: int, temporal: int) -> None:
    golden = primitive(f"space_to_depth_{name}")
    out = space_to_depth(torch.from_numpy(golden["in0"]), spatial, temporal)
    torch.testing.assert_close(out, torch.from_numpy(golden["out0"]), rtol=0, atol=0)
    assert torch.equal(depth_to_space(out, spatial, temporal), torch.from_numpy(golden["in0"]))


def test_space_to_depth_needs_whole_blocks() -> None:
    with pytest.raises(ValueError, match="5 x 4 pixels must be divisible by the block size 2"):
        space_to_depth(torch.zeros(1, 5, 4, 3), 2)
    with pytest.raises(ValueError, match="3 frames must be divisible by the temporal block 2"):
        space_to_depth(torch.zeros(1, 3, 4, 4, 3), 2, 2)
