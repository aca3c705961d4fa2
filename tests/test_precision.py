import copy
from typing import Any
from unittest.mock import patch

import pytest
import torch

from model_examples import example_batch, model_around, seeded
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.text import TextOutputConfig
from perceivers.model import PerceiverIO
from perceivers.nn.layers import SelfAttention
from perceivers.nn.linear import Linear, packs_half
from perceivers.precision import PRECISIONS, autocast

CONFIGS = [model_around(outputs=TextOutputConfig()), model_around(inputs=PixelInputConfig.example())]


def seen_formats(model: PerceiverIO) -> dict[str, set[torch.dtype]]:
    """Return a record, filled when the model runs, of what linear layers and layer norms gave, by part of the model."""
    seen: dict[str, set[torch.dtype]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Linear | torch.nn.LayerNorm | SelfAttention):
            part = "blocks" if name.startswith("encoder.blocks") else "rest"

            def note(module: Any, _: Any, out: torch.Tensor, part: str = part) -> None:
                seen.setdefault(f"{part} {type(module).__name__}", set()).add(out.dtype)

            module.register_forward_hook(note)
    return seen


@pytest.mark.parametrize("config", CONFIGS, ids=["text", "image"])
@torch.inference_mode()
def test_only_the_latents_layers_are_in_half_precision(config: Any) -> None:
    model = seeded(config).eval()
    batch = example_batch(model)
    expected = model(batch)
    with autocast(model, "bf16"):
        low = model(batch)
        seen = seen_formats(model)
        model(batch)
    assert seen["blocks Linear"] == {torch.bfloat16}
    assert seen["blocks SelfAttention"] == seen["blocks LayerNorm"] == {torch.float32}
    assert {dtype for part, found in seen.items() if part.startswith("rest") for dtype in found} == {torch.float32}
    assert low.dtype == torch.float32
    assert not torch.equal(low, expected)
    assert float((low - expected).abs().max() / expected.square().mean().sqrt()) < 0.05
    # Outside of the context all is as it was, but for the plain form that hooks ask for.
    torch.testing.assert_close(model(batch), expected)


@torch.inference_mode()
def test_float32_changes_nothing() -> None:
    model = seeded(CONFIGS[0]).eval()
    batch = example_batch(model)
    expected = model(batch)
    with autocast(model, "float32"):
        assert torch.equal(model(batch), expected)


@torch.inference_mode()
def test_weights_lie_packed_for_half_precision_and_keep_their_digits() -> None:
    model = seeded(CONFIGS[0]).eval()
    batch = example_batch(model)
    exact, weights = model(batch), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers = [module for module in model.encoder.blocks.modules() if isinstance(module, Linear)]
    with patch("perceivers.precision.packs_half", return_value=False), autocast(model, "bf16"):
        expected = model(batch)
    for layer in layers:
        layer.pack()
    with autocast(model, "bf16"):
        if packs_half(torch.bfloat16):
            assert all(layer.is_packed and layer.weight.dtype == torch.bfloat16 for layer in layers)
        packed = [layer.weight for layer in layers]
        close_to(model(batch), expected, 0.02)
    with autocast(model, "bf16"):
        assert all(layer.weight is weight for layer, weight in zip(layers, packed, strict=True))
    # Outside of the context in full precision, and in the files too.
    torch.testing.assert_close(model(batch), exact)
    for again in (model.state_dict(), copy.deepcopy(model).state_dict(), model.train().state_dict()):
        assert all(torch.equal(again[name], weight) for name, weight in weights.items())
    assert not any(layer.is_packed for layer in layers)


def test_layers_packed_for_half_precision_are_trained_in_full() -> None:
    model = seeded(CONFIGS[0]).eval()
    batch = example_batch(model)
    expected = torch.autograd.grad(model(batch).sum(), model.encoder.latents)[0]
    with autocast(model, "bf16"):
        pass
    close_to(torch.autograd.grad(model(batch).sum(), model.encoder.latents)[0], expected, 1e-5)
    with autocast(model, "bf16"):
        low = torch.autograd.grad(model(batch).sum(), model.encoder.latents)[0]
    close_to(low, expected, 0.1)


def close_to(values: torch.Tensor, expected: torch.Tensor, bound: float) -> None:
    assert float((values - expected).abs().max() / expected.square().mean().sqrt()) < bound


def test_a_layer_that_fails_leaves_nothing_behind() -> None:
    model = seeded(CONFIGS[0]).eval()

    def fail(*_: Any) -> None:
        raise KeyError

    model.encoder.blocks[0][0].register_forward_pre_hook(fail)
    with pytest.raises(KeyError), autocast(model, "bf16"):
        model(example_batch(model))
    assert not torch.is_autocast_enabled("cpu")
    assert not model.encoder.blocks[0]._forward_hooks
    assert not model.encoder.blocks[0]._forward_pre_hooks


def test_what_cannot_be_is_refused() -> None:
    model = seeded(CONFIGS[0])
    with pytest.raises(ValueError, match=r"precision 'int4' not found; choices = \['float32', 'bf16', 'fp16'\]"):
        autocast(model, "int4").__enter__()
    with pytest.raises(ValueError, match=r"'fp16' needs a GPU; on a CPU choose 'bf16' or 'float32'"):
        autocast(model, "fp16").__enter__()
    assert list(PRECISIONS) == ["float32", "bf16", "fp16"]
