"""Image models at another resolution: what changes and what stays."""

from dataclasses import replace

import pytest
import torch

from perceivers.adapters import InputConfig
from perceivers.adapters.image import Conv1x1InputConfig, ConvInputConfig, PatchInputConfig, PixelInputConfig
from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.nn import FourierPositionConfig, LearnedPositionConfig, PositionConfig
from perceivers.nn.positions import PositionedConfig, interpolate_table
from perceivers.pretrained.load import seeded_model
from perceivers.pretrained.resize import resize_positions
from perceivers.zoo import ZOO
from train_examples import tiny_config

LEARNED = LearnedPositionConfig(num_channels=4)
FOURIER = FourierPositionConfig(num_bands=2)


def inputs_of(kind: str, positions: PositionConfig) -> InputConfig:
    positioned = PositionedConfig(positions=positions)
    size = (16, 16)
    if kind == "pixels":
        return PixelInputConfig(image_size=size, positioned=positioned, stride=3)
    if kind == "conv1x1":
        return Conv1x1InputConfig(image_size=size, positioned=positioned, num_channels=4, stride=2)
    if kind == "patches":
        return PatchInputConfig(image_size=size, positioned=positioned, patch_size=4)
    return ConvInputConfig(image_size=size, positioned=positioned, num_channels=4)


def model_of(kind: str, positions: PositionConfig) -> PerceiverIO:
    return seeded_model(replace(tiny_config(), inputs=inputs_of(kind, positions)), 0).eval()


@pytest.mark.parametrize("kind", ["pixels", "conv1x1", "patches", "conv"])
def test_learned_positions_are_interpolated_and_the_rest_stays(kind: str) -> None:
    model = model_of(kind, LEARNED)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    resized = resize_positions(model, (20, 32))
    assert resized.config.inputs.image_size == (20, 32)  # pyright: ignore[reportAttributeAccessIssue]
    assert not resized.training
    for name, value in resized.state_dict().items():
        if name.endswith("positions.table"):
            old, new = model.inputs.grid_shape, resized.inputs.grid_shape
            assert old is not None
            assert new is not None
            torch.testing.assert_close(value, interpolate_table(before[name], old, new))
        else:
            assert torch.equal(value, before[name])
    assert resized({"image": torch.rand(2, 20, 32, 3)}).shape[0] == 2
    # The model that was given is another object, with nothing in common.
    with torch.no_grad():
        for parameter in resized.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", ["pixels", "conv1x1", "patches", "conv"])
def test_fourier_models_answer_as_they_did_before(kind: str) -> None:
    model = model_of(kind, FOURIER)
    resized = resize_positions(model, (20, 32))
    image = {"image": torch.rand(2, 20, 32, 3)}
    torch.testing.assert_close(resized(image), model(image))


def test_the_same_size_changes_nothing() -> None:
    model = model_of("pixels", LEARNED)
    image = {"image": torch.rand(2, 16, 16, 3)}
    torch.testing.assert_close(resize_positions(model, (16, 16))(image), model(image), rtol=0, atol=0)


def test_precision_and_random_numbers_stay_as_they_are() -> None:
    model = model_of("conv1x1", LEARNED).double().train()
    state = torch.get_rng_state()
    resized = resize_positions(model, (8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert resized.training
    assert {parameter.dtype for parameter in resized.parameters()} == {torch.float64}


def test_what_cannot_be_resized_is_refused() -> None:
    text = seeded_model(override(ZOO["text-classifier-small"].config, {"encoder.num_layers_per_block": 1}), 0)
    with pytest.raises(ValueError, match="needs a model with image inputs, not 'text'"):
        resize_positions(text, (8, 8))
    with pytest.raises(ValueError, match=r"image_size \(0, 8\) must be at least 1 x 1"):
        resize_positions(model_of("pixels", LEARNED), (0, 8))
