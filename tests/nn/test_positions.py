"""Fourier features against the original's in float64, grids, learned tables, and how they join content."""

from typing import Literal

import pytest
import torch

from golden_models import primitive
from perceivers.nn import FourierPositionConfig, LearnedPositionConfig, fourier_features, grid_positions
from perceivers.nn.positions import Positioned, PositionedConfig, interpolate_table
from perceivers.nn.rows import as_array

# Golden name, grid, bands, resolution: those of the released models.
RELEASED = [
    ("imagenet_fourier", (224, 224), 64, (224, 224)),
    ("imagenet_conv", (56, 56), 64, (56, 56)),
    ("optical_flow", (368, 496), 64, (368, 496)),
    ("video_image", (16, 56, 56), 32, (16, 56, 56)),
    ("video_audio", (1920,), 192, (30720,)),
]


@pytest.mark.parametrize(("name", "grid", "num_bands", "max_resolution"), RELEASED, ids=[case[0] for case in RELEASED])
def test_fourier_features_match_the_original(
    name: str, grid: tuple[int, ...], num_bands: int, max_resolution: tuple[int, ...]
) -> None:
    golden = primitive(f"fourier/{name}")
    index, expected = torch.from_numpy(golden["idx"]).long(), torch.from_numpy(golden["f64"])
    config = FourierPositionConfig(num_bands=num_bands, max_resolution=max_resolution)
    positions = config.build(grid)
    width = len(grid) * (2 * num_bands + 1)
    assert positions.num_channels == width
    # Only the rows that the golden samples: whole grids have up to 47 million entries.
    cells = grid_positions(grid)[index // width]
    features = fourier_features(cells, num_bands, max_resolution)[torch.arange(len(index)), index % width]
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-9)
    single = positions.at(cells[None], torch.empty(0))[0, torch.arange(len(index)), index % width]
    torch.testing.assert_close(single, expected.float(), rtol=0, atol=1e-6)


def test_chosen_cells_match_the_original() -> None:
    """Positions of single cells stop short of 1."""
    golden = primitive("decoder_query_subsampled")
    config = FourierPositionConfig(num_bands=2, endpoint=False)
    rows = config.build((2, 3, 4))((2, 3, 4), torch.empty(0))
    expected = torch.from_numpy(golden["out0"])
    torch.testing.assert_close(rows[torch.from_numpy(golden["points"]).long()].expand_as(expected), expected)


def test_grids_are_row_major_over_both_ranges() -> None:
    assert grid_positions((2, 3)).tolist() == [[-1, -1], [-1, 0], [-1, 1], [1, -1], [1, 0], [1, 1]]
    assert grid_positions((4,), endpoint=False).flatten().tolist() == [-1, -0.5, 0, 0.5]
    assert grid_positions((1,)).tolist() == [[-1]]


@pytest.mark.parametrize("concat_positions", [True, False])
@pytest.mark.parametrize("sine_only", [True, False])
def test_feature_layout(concat_positions: bool, sine_only: bool) -> None:
    config = FourierPositionConfig(num_bands=3, concat_positions=concat_positions, sine_only=sine_only)
    module = config.build((5, 7))
    features = module((5, 7), torch.empty(0, dtype=torch.float64))
    assert features.shape == (35, module.num_channels)
    grid = grid_positions((5, 7))
    start = 2 if concat_positions else 0
    if concat_positions:
        torch.testing.assert_close(features[:, :2], grid)
    # Bands of the first axis come first; the lowest frequency is 1.
    torch.testing.assert_close(features[:, start], (torch.pi * grid[:, 0]).sin())
    torch.testing.assert_close(features[:, start + 3], (torch.pi * grid[:, 1]).sin())
    if not sine_only:
        torch.testing.assert_close(features[:, start + 6], (torch.pi * grid[:, 0]).cos())


def test_fourier_positions_follow_the_input() -> None:
    module = FourierPositionConfig(num_bands=2, max_resolution=(8, 8)).build((4, 4))
    assert module((4, 4), torch.empty(0, dtype=torch.float64)).dtype == torch.float64
    assert module((4, 4), torch.empty(0)).dtype == torch.float32
    assert module((6, 3), torch.empty(0)).shape == (18, module.num_channels)
    assert not module.state_dict()


def test_positions_first_used_in_inference_mode_can_be_trained_with() -> None:
    config = PositionedConfig(positions=FourierPositionConfig(num_bands=2), project_channels=4)
    module = Positioned(config, 3, (5,))
    with torch.inference_mode():
        module(torch.randn(1, 5, 3), (5,))
    as_array(module(torch.randn(1, 5, 3), (5,))).sum().backward()


def test_resolution_must_fit_the_axes() -> None:
    with pytest.raises(ValueError, match=r"max_resolution \(4,\) must have one entry for each of 2 axes"):
        FourierPositionConfig(num_bands=2, max_resolution=(4,)).build((4, 4))
    with pytest.raises(ValueError, match=r"max_resolution \(4, 4\) must have one entry for each of 1 axes"):
        fourier_features(torch.zeros(3, 1), 2, (4, 4))


def test_learned_positions_hold_one_grid() -> None:
    torch.manual_seed(0)
    module = LearnedPositionConfig(num_channels=256, init_scale=0.02).build((64, 32))
    table = module((64, 32), torch.empty(0)).detach()
    assert table.shape == (2048, 256)
    # The original's table has this deviation, and is cut at two deviations of 0.02.
    assert float(table.std()) == pytest.approx(0.01759, rel=0.01)
    assert float(table.abs().max()) == pytest.approx(0.04, rel=2e-3)
    with pytest.raises(ValueError, match=r"grid \(32, 64\) does not fit positions learned for \(64, 32\)"):
        module((32, 64), torch.empty(0))
    with pytest.raises(ValueError, match="use Fourier positions"):
        module.at(torch.zeros(1, 1, 2), torch.empty(0))


def test_a_learned_table_is_interpolated() -> None:
    torch.manual_seed(0)
    table = torch.randn(96, 3)
    assert interpolate_table(table, (8, 12), (8, 12)) is table
    larger = interpolate_table(table, (8, 12), (16, 18))
    for channel in range(3):
        image = torch.tensor([[float(table[12 * y + x, channel]) for x in range(12)] for y in range(8)])
        expected = torch.nn.functional.interpolate(image[None, None], (16, 18), mode="bicubic", align_corners=False)
        torch.testing.assert_close(larger[:, channel], expected.flatten())
    assert interpolate_table(table.half(), (8, 12), (4, 4)).dtype == torch.float16


def test_tables_of_other_grids_are_not_interpolated() -> None:
    with pytest.raises(ValueError, match=r"96 rows does not fit the grid \(8, 8\)"):
        interpolate_table(torch.zeros(96, 2), (8, 8), (4, 4))
    with pytest.raises(ValueError, match="must have two axes"):
        interpolate_table(torch.zeros(96, 2), (96,), (4,))


def test_added_positions_need_the_contents_width() -> None:
    config = PositionedConfig(positions=LearnedPositionConfig(num_channels=4), combine="add")
    with pytest.raises(ValueError, match=r"positions \(4 channels\) must have the content's 3"):
        Positioned(config, 3, (5,))


@pytest.mark.parametrize("combine", ["add", "concat"])
def test_joining_content_and_positions(combine: Literal["add", "concat"]) -> None:
    config = PositionedConfig(positions=LearnedPositionConfig(num_channels=4), project_channels=3, combine=combine)
    module = Positioned(config, 3, (5,))
    content = torch.randn(2, 5, 3)
    features = module.features((5,), content)
    joined = as_array(module(content, (5,)))
    assert joined.shape[-1] == module.num_channels
    if combine == "add":
        torch.testing.assert_close(joined, content + features)
    else:
        torch.testing.assert_close(joined, torch.cat([content, features.expand(2, -1, -1)], dim=-1))


@pytest.mark.parametrize("endpoint", [True, False])
def test_features_can_be_built_in_float32(endpoint: bool) -> None:
    """As the port of `transformers` does; the highest frequency of a second of sound is where it is seen."""
    like = torch.zeros((), dtype=torch.float64)
    exact, rounded = (
        FourierPositionConfig(num_bands=4, max_resolution=(30720,), endpoint=endpoint, precision=precision).build(
            (1920,)
        )((1920,), like)
        for precision in ("float64", "float32")
    )
    assert rounded.dtype == torch.float64
    # All that is computed has the rounding of float32.
    assert torch.equal(rounded, rounded.float().double())
    error = (rounded - exact).abs().max()
    assert 1e-5 < error < 1e-2
    positions = torch.linspace(-1, 1, 1920) if endpoint else -1 + 2 * torch.arange(1920) / 1920
    bands = torch.linspace(1.0, 15360.0, 4)
    phases = torch.pi * (positions[:, None] * bands)
    expected = torch.cat([positions[:, None], phases.sin(), phases.cos()], dim=-1)
    assert torch.equal(rounded, expected.double())
