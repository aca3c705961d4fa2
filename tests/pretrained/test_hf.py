"""Models of `transformers` against their copies here: same keys, same weights, same numbers, both ways."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_families import FAMILIES, Family, shake
from perceivers.model import PerceiverIO
from perceivers.nn.convolution import BatchNorm
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.hf import config_from_transformers, from_transformers, rows, to_transformers

# Largest difference relative to the root mean square.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}

EVERY = pytest.mark.parametrize("family", [make() for make in FAMILIES.values()], ids=list(FAMILIES))


def assert_answers_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        assert ours[name].dtype == expected.dtype, name
        error = (ours[name] - expected).abs().max() / expected.square().mean().sqrt()
        assert error <= TOLERANCE[expected.dtype], (name, float(error))


@EVERY
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@torch.inference_mode()
def test_same_answers_from_transformers(family: Family, dtype: torch.dtype) -> None:
    hf_model = family.model().to(dtype)
    ours = from_transformers(hf_model)
    assert not ours.training
    assert_answers_equal(family.ask(ours), family.ask_port(hf_model))


@EVERY
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@torch.inference_mode()
def test_same_answers_to_transformers(family: Family, dtype: torch.dtype) -> None:
    config = config_from_transformers(family.model())
    torch.manual_seed(3)
    ours = PerceiverIO(config).to(dtype).eval()
    shake(ours)
    hf_model = to_transformers(ours)
    assert not hf_model.training
    assert type(hf_model).__name__ == family.class_name
    assert_answers_equal(family.ask(ours), family.ask_port(hf_model))


@EVERY
def test_every_key_is_in_the_table(family: Family) -> None:
    hf_model = family.model()
    table = rows(config_from_transformers(hf_model))
    assert {row.theirs for row in table} == set(hf_model.state_dict())
    assert sorted(row.ours for row in table) == sorted(own_tensors(from_transformers(hf_model)))


@EVERY
def test_round_trip_is_exact(family: Family) -> None:
    hf_model = family.model()
    ours = from_transformers(hf_model)
    again = to_transformers(ours)
    assert again.config.to_dict().keys() == hf_model.config.to_dict().keys()
    theirs = hf_model.state_dict()
    assert set(again.state_dict()) == set(theirs)
    for name, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, msg=name)
        assert tensor.data_ptr() != theirs[name].data_ptr()
    twice = from_transformers(again)
    assert twice.config == ours.config
    for name, tensor in twice.state_dict().items():
        torch.testing.assert_close(tensor, ours.state_dict()[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("name", ["text", "image-conv"])
def test_copies_can_be_trained_saved_and_loaded(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]()
    hf_model = to_transformers(from_transformers(family.model()))
    family.ask_port(hf_model.train())["logits"].square().mean().backward()
    assert all(parameter.grad is not None for parameter in hf_model.parameters())
    hf_model.eval().save_pretrained(tmp_path)
    loaded = type(hf_model).from_pretrained(tmp_path)
    with torch.inference_mode():
        assert_answers_equal(family.ask(from_transformers(loaded)), family.ask_port(hf_model))


def test_mode_and_independence() -> None:
    hf_model = FAMILIES["text"]().model().train()
    before = {name: tensor.clone() for name, tensor in hf_model.state_dict().items()}
    ours = from_transformers(hf_model)
    copy = to_transformers(ours)
    assert ours.training
    assert copy.training
    with torch.no_grad():
        for parameter in [*ours.parameters(), *copy.parameters()]:
            parameter.zero_()
    for name, tensor in hf_model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@torch.inference_mode()
def test_tanh_models_of_the_port() -> None:
    family = FAMILIES["text"]()
    hf_model = family.model(hidden_act="gelu_new").double()
    assert_answers_equal(family.ask(from_transformers(hf_model)), family.ask_port(hf_model))


def test_batch_norm_goes_on_where_the_port_stopped() -> None:
    hf_model = FAMILIES["image-conv"]().model()
    (norm,) = (m for m in from_transformers(hf_model).modules() if isinstance(m, BatchNorm))
    theirs = hf_model.perceiver.input_preprocessor.convnet.batchnorm
    assert int(norm.count) == 3
    for name in ("mean", "var"):
        average = getattr(theirs, f"running_{name}")
        torch.testing.assert_close(getattr(norm, name), average, rtol=0, atol=0)
        debiased = getattr(norm, f"hidden_{name}") / (1 - norm.decay**3)
        torch.testing.assert_close(debiased, average)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = from_transformers(FAMILIES["text"]().model())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="to_transformers needs the library 'transformers'"):
        to_transformers(ours)


@torch.inference_mode()
def test_fully_masked_rows() -> None:
    family = FAMILIES["text"]()
    family.batch["keep_mask"][1] = False
    family.inputs["attention_mask"][1] = 0
    hf_model = family.model().double()
    assert_answers_equal(family.ask(from_transformers(hf_model)), family.ask_port(hf_model))
