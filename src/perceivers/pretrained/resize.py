"""A trained model of images brought to another resolution."""

from dataclasses import replace

import torch

from perceivers.adapters.image import ImageInputConfig
from perceivers.model import PerceiverIO
from perceivers.nn.positions import FourierPositionConfig, FourierPositions, LearnedPositions, interpolate_table

_TABLE = "inputs.positioned.positions.table"


def resize_positions(model: PerceiverIO, image_size: tuple[int, int]) -> PerceiverIO:
    """Return a model for images of another size that is as close to the trained one as can be.

    Learned positions are interpolated (bicubic), which the model was not trained with: its answers are no longer
    those of the trained model, and training on at the new size is advised. Fourier positions keep their frequencies
    and are evaluated on the new grid; their models also read other sizes as they are.

    Args:
        model: Reads images; stays as it is.
        image_size: Height and width in pixels.

    Raises:
        ValueError: The model does not read images, or cannot read this size.
    """
    config = model.config.inputs
    if not isinstance(config, ImageInputConfig):
        raise ValueError(f"resize_positions needs a model with image inputs, not '{config.kind}'")
    if min(image_size) < 1:
        raise ValueError(f"image_size {image_size} must be at least 1 x 1")
    positions, positioned = model.inputs.get_submodule("positioned.positions"), config.positioned
    if isinstance(positions, FourierPositions) and isinstance(positioned.positions, FourierPositionConfig):
        # Left open, the frequencies would follow the new grid.
        fixed = replace(positioned.positions, max_resolution=positions.max_resolution)
        positioned = replace(positioned, positions=fixed)
    inputs = replace(config, image_size=tuple(image_size), positioned=positioned)
    with torch.random.fork_rng(devices=[]):
        resized = PerceiverIO(replace(model.config, inputs=inputs))
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    new_positions = resized.inputs.get_submodule("positioned.positions")
    if isinstance(positions, LearnedPositions) and isinstance(new_positions, LearnedPositions):
        weights[_TABLE] = interpolate_table(weights[_TABLE], positions.grid_shape, new_positions.grid_shape)
    resized.load_state_dict(weights, assign=True)
    return resized.to(next(model.parameters()).device).train(model.training)
