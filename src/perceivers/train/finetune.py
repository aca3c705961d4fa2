"""Training a part of a model: the encoder held still, or moved by matrices of low rank (LoRA, arXiv:2106.09685)."""

import copy
from typing import Any, TypeVar

import torch
from torch import nn

from perceivers.model import PerceiverIO
from perceivers.train.config import LoraConfig, Trainable

# The parts of a model that each way to train moves; `None` for all of it.
_PARTS: dict[Trainable, tuple[str, ...] | None] = {
    "all": None,
    "decoder": ("queries", "decoder", "outputs"),
    "outputs": ("outputs",),
    "lora": ("queries", "decoder", "outputs"),
}
ModelT = TypeVar("ModelT", bound=PerceiverIO)


def restrict(model: PerceiverIO, trainable: Trainable, lora: LoraConfig, seed: int) -> None:
    """Let only a part of a model be trained, in place.

    Args:
        model: The model.
        trainable: Which part.
        lora: The matrices that are put beside the encoder's weights when they are wanted.
        seed: Seed of these matrices.

    Raises:
        ValueError: The part has no weights, PEFT is not installed, or the encoder has no layers of the names wanted.
    """
    parts = _PARTS[trainable]
    if parts is None:
        return
    for name, part in model.named_children():
        part.requires_grad_(name in parts)
    if trainable == "lora":
        _adapt(model, lora, seed)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"trainable '{trainable}' leaves nothing to train: {', '.join(parts)} have no weights")


def hold_still(model: nn.Module) -> None:
    """Put the parts of a training model that do not move into evaluation mode: no dropout, no batch statistics."""
    for part in model.children():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def has_adapters(model: nn.Module) -> bool:
    """Return whether matrices of low rank stand beside weights of a model."""
    return bool(_adapters(model))


def merge_adapters(model: nn.Module) -> None:
    """Add matrices of low rank to the weights that they stand beside, and take them away, in place."""
    for name, layer in _adapters(model):
        layer.merge()
        parent, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(parent), own_name, layer.get_base_layer())


def merged(model: ModelT) -> ModelT:
    """Return a model without adapters that computes the same: itself when it has none, a copy otherwise."""
    if not has_adapters(model):
        return model
    model = copy.deepcopy(model)
    merge_adapters(model)
    return model


def _adapt(model: PerceiverIO, lora: LoraConfig, seed: int) -> None:
    try:
        import peft
    except ImportError as error:
        raise ValueError("trainable 'lora' needs PEFT; install it with: pip install 'perceivers[lora]'") from error
    names = [name for name, module in model.encoder.named_modules() if isinstance(module, nn.Linear)]
    chosen = [f"encoder.{name}" for name in names if name.rpartition(".")[2] in lora.layers]
    if not chosen:
        known = sorted({name.rpartition(".")[2] for name in names})
        raise ValueError(f"lora.layers {list(lora.layers)} are no layers of the encoder; choices = {known}")
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=chosen, bias="none"
    )
    head = [p for part in _PARTS["lora"] or () for p in model.get_submodule(part).parameters()]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, model)
    # PEFT holds still whatever it has not made.
    for parameter in head:
        parameter.requires_grad_(True)


def _adapters(model: nn.Module) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "get_base_layer")]
