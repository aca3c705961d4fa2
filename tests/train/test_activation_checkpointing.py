"""Activation checkpointing: less is kept, each layer runs twice, and nothing else changes."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perceivers.model import PerceiverIO
from perceivers.nn.layers import CrossAttention, SelfAttention
from perceivers.pretrained.folder import own_tensors
from perceivers.train import TrainConfig
from train_examples import image_task, tiny_config, tiny_trainer

SIZES = {"encoder.num_layers_per_block": 3, "encoder.num_blocks": 2}
DROPOUT = {"encoder.dropout": 0.2, "encoder.attention_dropout": 0.2}
REREADS = {"encoder.num_cross_attends": 2, "encoder.share_cross_attends": "none", "encoder.share_blocks": False}
QUIET = TrainConfig(max_steps=4, batch_size=8, tracker=None, eval_every=100, checkpoint_every=2, ema_decay=0.5)


def model_of(changes: Mapping[str, Any], *, checkpointing: bool) -> PerceiverIO:
    torch.manual_seed(0)
    model = PerceiverIO(tiny_config({**SIZES, **changes})).train()
    model.encoder.activation_checkpointing = checkpointing
    return model


def gradients(model: PerceiverIO) -> dict[str, Tensor]:
    torch.manual_seed(1)
    model({"image": torch.rand(2, 8, 8, 1)}).square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def kept_bytes(model: PerceiverIO) -> int:
    """Return the bytes that the forward pass keeps for the backward pass, parameters aside."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model({"image": torch.rand(2, 8, 8, 1)})
    return sum(sizes.values())


def count_calls(model: nn.Module, kind: type[nn.Module]) -> list[int]:
    """Return a list of one number: how often layers of `kind` in the encoder have begun to run."""
    calls = [0]

    def count(*_: Any) -> None:
        calls[0] += 1

    for layer in model.modules():
        if isinstance(layer, kind):
            layer.register_forward_pre_hook(count)
    return calls


@pytest.mark.parametrize("changes", [{}, DROPOUT, {**DROPOUT, **REREADS}], ids=["plain", "dropout", "rereads"])
def test_gradients_are_the_same(changes: dict[str, Any]) -> None:
    plain = gradients(model_of(changes, checkpointing=False))
    found = gradients(model_of(changes, checkpointing=True))
    assert list(found) == list(plain)
    for name, gradient in plain.items():
        assert torch.equal(found[name], gradient), name


@pytest.mark.parametrize("changes", [{}, REREADS], ids=["one read", "two reads"])
def test_less_is_kept(changes: dict[str, Any]) -> None:
    plain, less = (kept_bytes(model_of(changes, checkpointing=flag)) for flag in (False, True))
    latents = 2 * 4 * 16 * 4
    assert plain > 40 * latents
    # What goes into six layers and one or two reads, and what the decoder keeps.
    assert less < 0.4 * plain


def test_layers_run_twice_while_training_only() -> None:
    model = model_of(REREADS, checkpointing=True)
    layers, reads = count_calls(model, SelfAttention), count_calls(model.encoder, CrossAttention)
    gradients(model)
    assert (layers[0], reads[0]) == (12, 4)
    with torch.no_grad():
        model({"image": torch.rand(2, 8, 8, 1)})
    assert (layers[0], reads[0]) == (18, 6)
    gradients(model.eval())
    assert (layers[0], reads[0]) == (24, 8)


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_a_run_ends_with_the_same_bits_also_when_resumed(tmp_path: Path, mixed_precision: str) -> None:
    task = image_task({"augment": {"mixup": 0.2}}, {**SIZES, **DROPOUT})
    config = dataclasses.replace(QUIET, mixed_precision=mixed_precision)
    plain = tiny_trainer(tmp_path / "plain", config, task)
    expected = plain.run()
    config = dataclasses.replace(config, activation_checkpointing=True)
    trainer = tiny_trainer(tmp_path / "less", config, task)
    layers = count_calls(trainer.bare.encoder, SelfAttention)
    assert trainer.run().history == expected.history
    # 4 steps of 6 layers, forwards and again; scores are those of the average, which is another model.
    assert layers[0] == 48
    newest = tmp_path / "less" / "checkpoints" / "step-00000004"
    newest.rename(tmp_path / "aside")
    resumed = tiny_trainer(tmp_path / "less", config, task)
    assert resumed.run(resume=True).history == expected.history
    for model, other in ((resumed.bare, plain.bare), (resumed.averaged, plain.averaged)):
        for name, tensor in own_tensors(other).items():
            assert torch.equal(own_tensors(model)[name], tensor), name


def test_a_run_sets_it_either_way(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, dataclasses.replace(QUIET, activation_checkpointing=True))
    assert trainer.bare.encoder.activation_checkpointing
    trainer = type(trainer)(
        trainer.task, trainer.bare, trainer.eval_rows, trainer.eval_rows, QUIET, tmp_path, show_progress=False
    )
    assert not trainer.bare.encoder.activation_checkpointing
