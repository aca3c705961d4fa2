"""Whole models against the original's own numbers, and the key table both ways."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from golden_models import (
    FULL_SIZE_GOLDENS,
    GOLDENS,
    GRADIENT_TOLERANCE,
    STATE_TOLERANCE,
    TOLERANCE,
    Golden,
    assert_matches_golden,
    batch_of,
    config_of,
    outputs_of,
    where_of,
)
from perceivers.model import PerceiverIO
from perceivers.nn import MLP
from perceivers.pretrained.haiku import load_haiku, rows, save_haiku

SMALL = (
    "mlm_small",
    "mlm_small_empty_row",
    "imagenet_fourier_small",
    "imagenet_learned_small",
    "imagenet_conv_small",
    "imagenet_conv_small_train",
    "optical_flow_small",
    "video_autoencoding_small",
    "video_autoencoding_small_chunk5",
    "video_autoencoding_small_scattered",
)
LATENTS = "perceiver_encoder/~/trainable_position_encoding/pos_embs"
FULL_SIZE = (
    *("mlm", "imagenet_fourier", "imagenet_learned", "imagenet_conv", "optical_flow"),
    *("video_autoencoding_chunk0", "video_autoencoding_chunk77"),
)


def golden_of(name: str, folder: Path = GOLDENS) -> Golden:
    return Golden(folder / f"{name}.npz")


def model_of(golden: Golden, dtype: torch.dtype = torch.float32) -> PerceiverIO:
    """Return the golden's model with its weights, in its mode."""
    model = PerceiverIO(config_of(golden.recipe))
    load_haiku(model, golden.weights())
    return model.to(dtype).train(golden.recipe["is_training"])


def run(model: PerceiverIO, golden: Golden, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return outputs and intermediate values under the golden's keys."""
    latents = model.encode(batch_of(golden, dtype))
    where = where_of(golden)
    return {
        **outputs_of(model.decode(latents, where=where)),
        "inter/z": latents.values,
        "inter/encoder_inputs": latents.tokens.values,
        "inter/decoder_query": model.queries(latents.tokens, where).values,
    }


def largest_error(golden: Golden, values: Mapping[str, torch.Tensor]) -> float:
    """Return the largest difference to the float64 run of the original; `pytest -s` shows it."""
    return max(golden.error(key, value, truth=True) for key, value in values.items())


def loss_of(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss that the goldens' gradients are of."""
    return torch.stack([value.square().mean() for key, value in values.items() if key.startswith("out/")]).sum()


def gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    # What a hidden modality is padded with, and the mask of a shown one, take no part.
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", SMALL)
def test_outputs_and_gradients(name: str, dtype: torch.dtype) -> None:
    golden = golden_of(name)
    model = model_of(golden, dtype)
    values = run(model, golden, dtype)
    print(f"\n{name} {dtype}: {largest_error(golden, values):.1e}")
    assert_matches_golden(golden, values, tolerance=TOLERANCE[dtype])

    loss = loss_of(values)
    loss.backward()
    table = {row.theirs: row for row in rows(model.config)}
    names = [key.removeprefix("grad/") for key in golden.arrays if key.startswith("grad/")]
    assert len(names) == 2
    gradients = {
        f"grad/{name}": table[name].layout.write(gradient(model.get_parameter(table[name].ours))) for name in names
    }
    gradients["loss"] = loss
    assert_matches_golden(golden, gradients, tolerance=GRADIENT_TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", SMALL)
def test_norm_of_every_gradient(name: str, dtype: torch.dtype) -> None:
    golden = golden_of(name)
    model = model_of(golden, dtype)
    loss_of(outputs_of(model(batch_of(golden, dtype), where_of(golden)))).backward()
    expected = golden.grad_norms()
    table = {row.theirs: row.ours for row in rows(model.config)}
    norms = {theirs: float(gradient(model.get_parameter(table[theirs])).double().norm()) for theirs in expected}
    # Key biases cancel in the softmax: their true gradient is 0, and only rounding is left of it.
    floor = 1e-3 * max(expected.values())
    tolerance = GRADIENT_TOLERANCE[dtype]
    off = {k: (norms[k], v) for k, v in expected.items() if not abs(norms[k] - v) <= tolerance * max(v, floor)}
    assert not off


@pytest.mark.parametrize("name", SMALL)
def test_float32_run_of_the_original(name: str) -> None:
    golden = golden_of(name)
    values = run(model_of(golden), golden, torch.float32)
    assert_matches_golden(golden, values, tolerance=TOLERANCE[torch.float32], truth=False)


@pytest.mark.parametrize("name", SMALL)
def test_parameter_count_and_names(name: str) -> None:
    golden = golden_of(name)
    model = PerceiverIO(config_of(golden.recipe))
    assert sum(p.numel() for p in model.parameters()) == golden.recipe["n_params"]
    names = {row.theirs for row in rows(model.config)}
    assert names == {*golden.recipe["params"], *golden.recipe["state"]}


@pytest.mark.parametrize("name", SMALL)
def test_round_trip_is_exact(name: str) -> None:
    weights = golden_of(name).weights()
    saved = save_haiku(model_of(golden_of(name)))
    assert set(saved) == set(weights)
    for key, value in weights.items():
        assert saved[key].dtype == value.dtype, key
        np.testing.assert_array_equal(saved[key], value, err_msg=key)


def test_read_only_arrays_are_copied() -> None:
    """Arrays out of a pickle may share its bytes; the model must not."""
    golden = golden_of("imagenet_conv_small")
    weights = golden.weights()
    for array in weights.values():
        array.setflags(write=False)
    model = PerceiverIO(config_of(golden.recipe))
    load_haiku(model, weights)
    with torch.no_grad():
        model.encoder.latents.zero_()
    assert weights[LATENTS].any()


def test_batch_norm_state_after_a_training_step() -> None:
    golden = golden_of("imagenet_conv_small_train")
    model = model_of(golden)
    model(batch_of(golden, torch.float32))
    saved = save_haiku(model)
    keys = [key for key in golden.arrays if key.startswith("new_state/")]
    assert len(keys) == 6
    new_state = {key: torch.from_numpy(saved[key.removeprefix("new_state/")]) for key in keys}
    counters = {key for key in keys if key.endswith("counter")}
    averages = {key: value for key, value in new_state.items() if key not in counters}
    assert_matches_golden(golden, averages, tolerance=STATE_TOLERANCE)
    for key in counters:
        assert int(new_state[key]) == int(golden.arrays[key]) == 8


def test_exact_gelu_is_told_apart() -> None:
    """The bounds are tight enough for the smallest known mistake."""
    golden = golden_of("mlm_small")
    model = model_of(golden)
    for module in model.modules():
        if isinstance(module, MLP):
            module.approximate = "none"
    with pytest.raises(AssertionError, match="out/output"):
        assert_matches_golden(golden, run(model, golden, torch.float32), tolerance=TOLERANCE[torch.float32])


def test_missing_left_over_and_misshapen_tensors_are_listed() -> None:
    golden = golden_of("imagenet_fourier_small")
    model = PerceiverIO(config_of(golden.recipe))
    weights = golden.weights()
    latents = weights.pop(LATENTS)
    with pytest.raises(ValueError, match=rf"1 missing \['{LATENTS}'\], 1 left over \['stray'\]"):
        load_haiku(model, {**weights, "stray": latents})
    with pytest.raises(ValueError, match=r"encoder\.latents: \(4, 32\), the model has \(16, 32\)"):
        load_haiku(model, {**weights, LATENTS: latents[:4]})


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.heavy)], ids=str)
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size(name: str, dtype: torch.dtype) -> None:
    if not FULL_SIZE_GOLDENS.is_dir():
        pytest.skip(f"needs the full-size golden files in {FULL_SIZE_GOLDENS}")
    golden = golden_of(name, FULL_SIZE_GOLDENS)
    model = model_of(golden, dtype)
    assert sum(p.numel() for p in model.parameters()) == golden.recipe["n_params"]
    with torch.inference_mode():
        values = run(model, golden, dtype)
    print(f"\n{name} {dtype}: {largest_error(golden, values):.1e}")
    assert_matches_golden(golden, values, tolerance=TOLERANCE[dtype])
    if dtype == torch.float32:
        assert_matches_golden(golden, values, tolerance=TOLERANCE[dtype], truth=False)
