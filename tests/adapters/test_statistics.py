"""Channel statistics have one entry, or one a channel, wherever pixels are read."""

from dataclasses import replace

import pytest

from perceivers.adapters.flow import FlowInputConfig
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.video import VideoInputConfig


@pytest.mark.parametrize("config", [FlowInputConfig.example(), PixelInputConfig.example(), VideoInputConfig.example()])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_statistics_fit_the_channels(config: FlowInputConfig | VideoInputConfig, name: str) -> None:
    assert replace(config, **{name: (0.5, 0.4, 0.3)}) != config
    with pytest.raises(ValueError, match=rf"{name} \(0.5, 0.4\) must have 1 entry or one for each of 3 channels"):
        replace(config, **{name: (0.5, 0.4)})
