import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model_examples import example_batch, model_around, seeded
from perceivers import quantization
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.text import TextOutputConfig
from perceivers.nn.layers import LayerConfig, SelfAttention
from perceivers.nn.linear import Linear, pack_linears
from perceivers.pretrained.folder import load_folder, save_folder
from perceivers.quantization import Int8Linear, quantize_int8

TEXT = model_around(outputs=TextOutputConfig())
CONFIGS = [TEXT, model_around(inputs=PixelInputConfig.example())]
BOTH = pytest.mark.parametrize("int8_inputs", [True, False], ids=["integers", "floats"])


def linear(*, bias: bool = True) -> Linear:
    torch.manual_seed(0)
    layer = Linear(64, 48, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(torch.logspace(-3, 3, 48)[:, None])
    return layer


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.square().mean().sqrt())


@BOTH
def test_a_layer_is_its_rounded_numbers(int8_inputs: bool) -> None:
    """Against the definition, written out in float64."""
    layer = linear()
    x = torch.randn(2, 5, 64) * torch.logspace(-4, 4, 5)[:, None]
    x[0, 0] = 0

    def rounded(rows: Tensor) -> Tensor:
        scale = rows.abs().amax(dim=-1, keepdim=True) / 127
        return (rows / scale.clamp(min=1e-30)).round() * scale

    inputs = rounded(x) if int8_inputs else x
    expected = inputs.double() @ rounded(layer.weight).double().T + layer.bias.double()
    found = Int8Linear(layer, int8_inputs=int8_inputs)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@BOTH
@torch.no_grad()
def test_a_layer_is_close_to_the_original(int8_inputs: bool) -> None:
    layer, x = linear(), torch.randn(100, 64)
    found, expected = Int8Linear(layer, int8_inputs=int8_inputs)(x), layer(x)
    # Each output has its own scale: the error of the smallest is as small in its own measure as that of the largest.
    errors = (found - expected).square().mean(dim=0).sqrt() / expected.std(dim=0)
    assert float(errors.min()) > 1e-4
    assert float(errors.max()) < 0.02


def test_layers_without_bias_and_without_rows() -> None:
    layer = Int8Linear(linear(bias=False))
    assert layer(torch.randn(3, 64)).shape == (3, 48)
    assert layer(torch.randn(0, 64)).shape == (0, 48)
    assert layer(torch.randn(64)).shape == (48,)


def test_where_integers_are_not_multiplied_inputs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = linear(), torch.randn(7, 64)
    expected = Int8Linear(layer, int8_inputs=False)(x)
    integers = Int8Linear(layer)(x)
    quantization._multiplies_integers.cache_clear()
    # As a processor that sums in 16 bits would do.
    monkeypatch.setattr(quantization, "_int_mm", lambda a, b: (a.float() @ b.float()).clamp(-32768, 32767).int())
    assert torch.equal(Int8Linear(layer)(x), expected)
    monkeypatch.setattr(quantization, "_int_mm", None)
    quantization._multiplies_integers.cache_clear()
    assert torch.equal(Int8Linear(layer)(x), expected)
    quantization._multiplies_integers.cache_clear()
    assert not torch.equal(integers, expected)


def test_what_the_processor_can_is_not_tried_while_a_layer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler would try it inside of its graph, and break it."""
    layer, x = Int8Linear(linear()), torch.randn(7, 64)
    expected = layer(x)
    monkeypatch.setattr(quantization, "_multiplies_integers", None)
    assert torch.equal(layer(x), expected)


def test_gradients_of_inputs_flow() -> None:
    layer, x = Int8Linear(linear()), torch.randn(7, 64, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, layer.dense_weight().sum(dim=0).expand(7, -1))


@BOTH
@pytest.mark.parametrize("config", CONFIGS, ids=["text", "image"])
def test_a_model_keeps_its_answers(config: Any, int8_inputs: bool) -> None:
    model = seeded(config).eval()
    batch = example_batch(model)
    with torch.inference_mode():
        expected = model(batch)
    assert quantize_int8(model.train(), int8_inputs=int8_inputs) is model
    assert not model.training
    kinds = {type(m) for part in (model.encoder, model.decoder) for m in part.modules() if isinstance(m, Linear)}
    assert kinds == {Int8Linear}
    layers = [m for m in model.modules() if isinstance(m, Int8Linear)]
    assert {layer.int8_inputs for layer in layers} == {int8_inputs}
    with torch.inference_mode():
        found = model(batch)
        assert 1e-5 < relative(found, expected) < 0.1
        # Neither packs what lies in int8, nor rounds it again.
        pack_linears(model)
        quantize_int8(model)
        torch.testing.assert_close(model(batch), found, rtol=1e-4, atol=1e-4)
    assert layers == [m for m in model.modules() if isinstance(m, Int8Linear)]


def test_memory_is_a_quarter() -> None:
    layer = linear()
    assert sum(p.numel() * 4 for p in layer.parameters()) == 4 * (64 * 48 + 48)
    int8 = Int8Linear(layer)
    held = [*int8.parameters(), *int8.buffers()]
    # One byte a weight, and scale and bias in four.
    assert sum(tensor.nbytes for tensor in held) == 64 * 48 + 2 * 4 * 48


def test_a_quantised_model_is_saved_as_any_other(tmp_path: Path) -> None:
    model = seeded(TEXT)
    names = {name: tensor.shape for name, tensor in model.state_dict().items()}
    quantize_int8(model)
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == names
    save_folder(model, tmp_path)
    loaded = quantize_int8(load_folder(tmp_path)[0])
    batch = example_batch(model)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch), model(batch), rtol=1e-5, atol=1e-5)


def test_copies_answer_alike() -> None:
    layer, x = Int8Linear(linear()), torch.randn(3, 64)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is Int8Linear
        assert other.levels.data_ptr() != layer.levels.data_ptr()
        assert torch.equal(other(x), layer(x))


def test_training_is_refused() -> None:
    model = quantize_int8(seeded(TEXT))
    with pytest.raises(ValueError, match="int8 weights cannot be trained; quantise it after training"):
        model.train()
    assert not any(parameter.requires_grad for m in model.modules() if _is_int8(m) for parameter in m.parameters())


def _is_int8(module: nn.Module) -> bool:
    return isinstance(module, Int8Linear)


def test_recording_gradients_changes_no_layer_of_the_latents() -> None:
    torch.manual_seed(0)
    block = SelfAttention(LayerConfig(num_heads=2), channels=32).eval().requires_grad_(False)
    for parent in (block.attention, block.mlp):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear):
                setattr(parent, name, Int8Linear(child))
    x = torch.randn(1, 3, 32)
    recorded = block(x)
    with torch.no_grad():
        torch.testing.assert_close(recorded, block(x), rtol=1e-6, atol=1e-6)
