"""Image inputs against the original's preprocessor, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from golden_models import primitive
from perceivers.adapters import Queries
from perceivers.adapters.image import (
    Conv1x1InputConfig,
    ConvInputConfig,
    GridQueryConfig,
    ImageInputConfig,
    PatchInputConfig,
    PixelInputConfig,
    PixelOutputConfig,
)
from perceivers.nn import FourierPositionConfig, LearnedPositionConfig
from perceivers.nn.positions import PositionedConfig

PLAIN_POSITIONS = PositionedConfig(positions=FourierPositionConfig(num_bands=2))


def fourier(*, num_extra_layers: int = 0) -> PositionedConfig:
    positions = FourierPositionConfig(num_bands=3, max_resolution=(6, 8))
    return PositionedConfig(positions=positions, num_extra_layers=num_extra_layers)


SINES = FourierPositionConfig(num_bands=3, max_resolution=(6, 8), sine_only=True, concat_positions=False)

# Golden name, our config, our parameter -> the original's.
PREPROCESSORS: list[tuple[str, ImageInputConfig, dict[str, str]]] = [
    (
        "extra_pos_mlp",
        PixelInputConfig(image_size=(6, 8), positioned=fourier(num_extra_layers=2)),
        {
            "positioned.extra.0": "~_build_network_inputs/linear",
            "positioned.extra.1": "~_build_network_inputs/linear_1",
        },
    ),
    (
        "sine_only_noconcat",
        PixelInputConfig(image_size=(6, 8), stride=2, positioned=PositionedConfig(positions=SINES)),
        {},
    ),
    (
        "patches_linear",
        PatchInputConfig(image_size=(6, 8), patch_size=2, num_channels=7, positioned=PLAIN_POSITIONS),
        {"linear": "patches_linear"},
    ),
    ("user_pos", PixelInputConfig(image_size=(2, 3), positioned=fourier()), {}),
]


@pytest.mark.parametrize(("name", "config", "names"), PREPROCESSORS, ids=[case[0] for case in PREPROCESSORS])
def test_preprocessors_match_the_original(name: str, config: ImageInputConfig, names: dict[str, str]) -> None:
    golden = primitive(f"image_pre_{name}")
    module = config.build()
    module.load_state_dict(linear_weights(golden, names))
    batch = {"image": torch.from_numpy(golden["in0"])}
    if "pos" in golden:
        batch["coordinates"] = torch.from_numpy(golden["pos"])
    tokens = module(batch)
    torch.testing.assert_close(tokens.values, torch.from_numpy(golden["out0"]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tokens.content, torch.from_numpy(golden["out1"]), rtol=1e-5, atol=1e-5)
    assert module.num_channels == tokens.values.shape[-1]


def linear_weights(golden: dict[str, np.ndarray], names: dict[str, str]) -> dict[str, Tensor]:
    state = {}
    for ours, theirs in names.items():
        state[f"{ours}.weight"] = torch.from_numpy(golden[f"weights/image_preprocessor/{theirs}/w"].T)
        state[f"{ours}.bias"] = torch.from_numpy(golden[f"weights/image_preprocessor/{theirs}/b"])
    return state


@pytest.mark.parametrize(
    "config",
    [
        PixelInputConfig(image_size=(9, 7), stride=2, positioned=PLAIN_POSITIONS),
        Conv1x1InputConfig(image_size=(9, 7), num_channels=4, stride=2, positioned=PLAIN_POSITIONS),
        PatchInputConfig(image_size=(9, 6), patch_size=3, positioned=PLAIN_POSITIONS),
        ConvInputConfig(image_size=(33, 18), num_channels=4, num_stages=2, positioned=PLAIN_POSITIONS),
        ConvInputConfig(image_size=(33, 18), num_channels=4, same_padding=False, positioned=PLAIN_POSITIONS),
    ],
    ids=lambda config: type(config).__name__,
)
def test_learned_positions_fit_the_grid_that_the_features_have(config: ImageInputConfig) -> None:
    """The grid is computed before any image is seen, and holds for odd sizes and strides."""
    learned = PositionedConfig(positions=LearnedPositionConfig(num_channels=3))
    module = replace(config, positioned=learned).build()
    batch = module.example_batch(2)
    tokens = module(batch)
    assert tokens.values.shape[1] == int(np.prod(tokens.grid_shape))
    assert tokens.values.shape[2] == module.num_channels
    module.eval()
    with pytest.raises(ValueError, match="does not fit positions learned for"):
        module({"image": batch["image"].repeat(1, 3, 1, 1)})


def test_bytes_and_floats_agree_and_are_normalised() -> None:
    config = PixelInputConfig(image_size=(6, 5), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), positioned=PLAIN_POSITIONS)
    module = config.build()
    image = torch.randint(256, (2, 6, 5, 3), dtype=torch.uint8)
    as_bytes, as_floats = module({"image": image}), module({"image": image.float() / 255})
    torch.testing.assert_close(as_bytes.values, as_floats.values)
    expected = (image.float() / 255 - torch.tensor(config.mean)) / torch.tensor(config.std)
    torch.testing.assert_close(as_bytes.content, expected.flatten(1, 2))
    assert not module.state_dict(), "statistics belong to the config, not to the weights"


def test_the_image_follows_the_models_dtype() -> None:
    module = PixelInputConfig.example().build().double()
    assert module(module.example_batch(1)).values.dtype == torch.float64


def test_wrong_images_and_configs_are_refused() -> None:
    module = PixelInputConfig.example().build()
    with pytest.raises(ValueError, match=r"image of shape \(1, 3, 6, 5\) must be \(B, H, W, 3\), channels last"):
        module({"image": torch.zeros(1, 3, 6, 5)})
    with pytest.raises(ValueError, match=r"the batch has no 'image'; it has \['pixels'\]"):
        module({"pixels": torch.zeros(1, 6, 5, 3)})
    with pytest.raises(ValueError, match=r"mean \(0\.5, 0\.5\) must have 1 entry or one for each of 3 channels"):
        PixelInputConfig(image_size=(6, 5), mean=(0.5, 0.5), positioned=PLAIN_POSITIONS)
    with pytest.raises(ValueError, match="7 x 4 pixels must be divisible by the block size 2"):
        PatchInputConfig.example().build()({"image": torch.zeros(1, 7, 4, 3)})


def test_coordinates_differ_by_row() -> None:
    """Each row of the batch has its own coordinates."""
    module = PixelInputConfig(image_size=(2, 3), positioned=fourier()).build()
    image = torch.rand(2, 2, 3, 3)
    coordinates = torch.rand(2, 6, 2) * 2 - 1
    both = module({"image": image, "coordinates": coordinates})
    second = module({"image": image[1:], "coordinates": coordinates[1:]})
    torch.testing.assert_close(both.values[1:], second.values)
    assert not torch.equal(both.values[0, :, 3:], both.values[1, :, 3:])


def test_grid_queries_and_pixel_output() -> None:
    inputs = PixelInputConfig.example().build()
    tokens = inputs(inputs.example_batch(2))
    queries = GridQueryConfig(grid_shape=(3, 4), positions=FourierPositionConfig(num_bands=2)).build(inputs)
    assert queries.output_grid(tokens) == (3, 4)
    assert queries(tokens).values.shape == (2, 12, queries.num_channels)
    with pytest.raises(ValueError, match="where asks for output 12; outputs run from 0 to 11"):
        queries(tokens, torch.tensor([0, 12]))
    with pytest.raises(ValueError, match="where asks for output -1; outputs run from 0 to 11"):
        queries(tokens, torch.tensor([-1]))
    output = PixelOutputConfig(num_channels=2).build(5, inputs)
    rows = output(torch.randn(2, 12, 5), Queries(torch.empty(2, 12, 5)))
    arranged = output.arrange(rows, (3, 4))
    assert arranged.shape == (2, 3, 4, 2)
    torch.testing.assert_close(arranged[:, 1, 2], rows[:, 6])
