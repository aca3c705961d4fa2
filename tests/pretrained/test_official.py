"""The released models at full size against `transformers`, with random weights, both ways.

`pytest -m heavy tests/pretrained/test_official.py -s` prints the largest difference of each, relative to the root
mean square, and the seconds it took. One model at a time is in memory; flow in float64 takes the most.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import nn

from hf_families import Family, integers, modeling, transformers, uniform
from perceivers.adapters.flow import neighbourhoods
from perceivers.model import PerceiverIO
from perceivers.pretrained.hf import config_from_transformers, describe, from_transformers, to_transformers
from perceivers.zoo import ZOO

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
_MEAN, _STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def language() -> tuple[dict[str, Any], dict[str, Any], Any]:
    ids = integers(262, 2, 2048)
    keep_mask = torch.ones(2, 2048, dtype=torch.bool)
    keep_mask[1, 700:] = False
    return {"input_ids": ids, "keep_mask": keep_mask}, {"inputs": ids, "attention_mask": keep_mask.long()}, None


def image() -> tuple[dict[str, Any], dict[str, Any], Any]:
    pixels = uniform(1, 224, 224, 3)
    return {"image": pixels}, {"inputs": rearrange((pixels - _MEAN) / _STD, "b h w c -> b c h w")}, None


def flow() -> tuple[dict[str, Any], dict[str, Any], Any]:
    frames = uniform(1, 2, 368, 496, 3)
    patches = rearrange(neighbourhoods(frames * 2 - 1, 3), "b t h w c -> b t c h w")
    return {"frames": frames}, {"inputs": patches}, None


def video() -> tuple[dict[str, Any], dict[str, Any], Any]:
    frames, audio = uniform(1, 16, 224, 224, 3), uniform(1, 30720) * 2 - 1
    where = {"audio": integers(1920, 50), "video": integers(16 * 224 * 224, 3000), "label": torch.tensor([0])}
    inputs = {
        "image": rearrange(frames, "b t h w c -> b t c h w"),
        "audio": audio[..., None],
        "label": torch.zeros(1, 700, dtype=torch.float64),
    }
    points = {"image": where["video"], "audio": where["audio"], "label": None}
    return {"video": frames, "audio": audio}, {"inputs": inputs, "subsampled_output_points": points}, where


INPUTS: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any], Any]]] = {
    "language": language,
    "image-fourier": image,
    "image-learned": image,
    "image-conv": image,
    "optical-flow": flow,
    "video-autoencoding": video,
}


def fill(model: nn.Module) -> None:
    """Give every tensor random values of a size that trained ones have: no layer dies or saturates."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if not tensor.is_floating_point():
                tensor.fill_(3)
            elif name.endswith("var"):
                tensor.copy_(1 + 0.1 * noise.abs())
            elif tensor.dim() > 1 and name.endswith("weight") and "embedding" not in name:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            elif tensor.dim() == 1 and name.endswith("weight"):
                tensor.copy_(1 + 0.1 * noise)
            else:
                tensor.copy_(0.1 * noise)


def port_of(name: str) -> tuple[str, Any]:
    """Return class and config of the port's model with the released weights."""
    with torch.device("meta"):
        class_name, fields = describe(PerceiverIO(ZOO[name].config), exact=False)
    # As in the released configs: the port's own form of the GELU.
    return class_name, transformers.PerceiverConfig(**{**fields, "hidden_act": "gelu"})


def largest_difference(family: Family, ours: PerceiverIO, hf_model: Any) -> float:
    answers, expected = family.ask(ours), family.ask_port(hf_model)
    assert set(answers) == set(expected)
    differences = []
    for name, theirs in expected.items():
        assert answers[name].shape == theirs.shape
        assert answers[name].dtype == theirs.dtype
        assert theirs.std() > 0
        differences.append(float((answers[name] - theirs).abs().max() / theirs.square().mean().sqrt()))
    return max(differences)


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", INPUTS)
@torch.inference_mode()
def test_released_models_agree_with_transformers(name: str, dtype: torch.dtype) -> None:
    start = time.monotonic()
    class_name, config = port_of(name)
    torch.manual_seed(0)
    family = Family(class_name, {}, *INPUTS[name]())
    hf_model = modeling_class(class_name)(config).to(dtype).eval()
    fill(hf_model)
    ours = from_transformers(hf_model)
    there = largest_difference(family, ours, hf_model)
    del hf_model, ours
    gc.collect()
    with torch.device("meta"):
        meta = modeling_class(class_name)(config)
    ours = PerceiverIO(config_from_transformers(meta)).to(dtype).eval()
    fill(ours)
    back = largest_difference(family, ours, to_transformers(ours))
    print(f"\n{name} {dtype}: from {there:.1e}, to {back:.1e}, {time.monotonic() - start:.0f} s")
    assert there <= TOLERANCE[dtype]
    assert back <= TOLERANCE[dtype]


def modeling_class(class_name: str) -> Any:
    return getattr(modeling, class_name)


def test_sizes_are_those_of_the_released_models() -> None:
    counts: dict[str, int] = {}
    for name in INPUTS:
        class_name, config = port_of(name)
        with torch.device("meta"):
            model: nn.Module = modeling_class(class_name)(config)
        counts[name] = sum(parameter.numel() for parameter in model.parameters())
    assert counts == {
        "language": 201_108_230,
        "image-fourier": 48_440_627,
        "image-learned": 62_255_848,
        "image-conv": 48_646_522,
        "optical-flow": 41_057_134,
        "video-autoencoding": 19_858_855,
    }
