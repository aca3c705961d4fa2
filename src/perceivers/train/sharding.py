"""Weights, gradients and the optimiser's state shared out among processes (PyTorch's FSDP2).

Each layer of the latents' self-attention is put together when it runs and taken apart again; the rest of the model,
which is small, is put together once a step. To evaluate and to save, each process holds a whole copy for a while.

What PyTorch has for this takes a second to import, and is imported where weights are shared out.
"""

import os
from pathlib import Path
from typing import Any

import torch.distributed
from torch import nn
from torch.optim import Optimizer

from perceivers.model import PerceiverIO
from perceivers.nn.layers import SelfAttention
from perceivers.train.config import TrainConfig

# What tasks call of a model besides the model itself.
_METHODS = ("encode", "read", "process", "decode")


def check_sharding(config: TrainConfig, num_processes: int) -> None:
    """See whether weights can be shared out as a run asks for.

    Raises:
        ValueError: There is one process only, something else of the run does not go with it, or the launcher has been
            told to do it.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise ValueError(
            "Accelerate's own FSDP is not used here: launch without --use_fsdp, and set train.fsdp (--fsdp)"
        )
    if not config.fsdp:
        return
    if num_processes < 2:
        raise ValueError("train.fsdp shares weights out among processes, and there is one; launch more with torchrun")
    others = {
        # Norms of whole weights, and steps of whole matrices, are more than a part of a weight can tell.
        "optimizer.name 'lamb'": config.optimizer.name == "lamb",
        "optimizer.name 'muon'": config.optimizer.name == "muon",
        "mixed_precision 'fp16'": config.mixed_precision == "fp16",
        "compile": config.compile,
        "trainable 'lora'": config.trainable == "lora",
    }
    if wrong := [name for name, wanted in others.items() if wanted]:
        raise ValueError(f"train.fsdp does not go with train.{wrong[0]}; it does with bf16 and float32, not compiled")


def shard(model: PerceiverIO) -> None:
    """Share the weights of a model out among all processes, in place."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(model.encoder.latents.device.type, (torch.distributed.get_world_size(),))
    for module in model.modules():
        if isinstance(module, SelfAttention):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for name in _METHODS:
        register_fsdp_forward_method(model, name)


def whole(model: PerceiverIO) -> PerceiverIO:
    """Return a model that has the whole weights of one that is shared out; another one is returned as it is.

    All processes call this together, and each has the weights.
    """
    if _is_alone():
        return model
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(model, FSDPModule):
        return model
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    copy = PerceiverIO(model.config).to(model.encoder.latents.device)
    copy.load_state_dict(weights)
    return copy.train(model.training)


def take_over(model: PerceiverIO, other: PerceiverIO) -> None:
    """Give a model, shared out or not, the weights of another one that is whole."""
    if _is_alone():
        model.load_state_dict(other.state_dict())
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(model, dict(other.state_dict()), options=options)


def whole_number(value: Any) -> float:
    """Return a number of which each process may hold a part."""
    if _is_alone():
        return float(value)
    from torch.distributed.tensor import DTensor

    return float(value.full_tensor() if isinstance(value, DTensor) else value)


def _is_alone() -> bool:
    return not torch.distributed.is_available() or not torch.distributed.is_initialized()


class Shards:
    """What a run shares out, as files of which each process writes its own.

    Args:
        models: The model and, if there is one, its moving average.
        optimizer: The optimiser of the first.
    """

    def __init__(self, models: list[nn.Module], optimizer: Optimizer) -> None:
        self.models = models
        self.optimizer = optimizer

    def save(self, folder: Path) -> None:
        """Write everything to a folder."""
        from torch.distributed.checkpoint import state_dict_saver

        state_dict_saver.save(self._state(), checkpoint_id=folder)

    def load(self, folder: Path) -> None:
        """Take over what was saved, by as many processes as there were or by another number."""
        from torch.distributed.checkpoint import state_dict_loader
        from torch.distributed.checkpoint.state_dict import set_state_dict

        state = self._state()
        state_dict_loader.load(state, checkpoint_id=folder)
        for i, (model, optimizer) in enumerate(self._pairs()):
            weights, moments = state[f"model{i}"], state[f"optimizer{i}"]
            set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)

    def _state(self) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import get_state_dict

        state: dict[str, Any] = {}
        for i, (model, optimizer) in enumerate(self._pairs()):
            state[f"model{i}"], state[f"optimizer{i}"] = get_state_dict(model, optimizer)
        return state

    def _pairs(self) -> list[tuple[nn.Module, list[Optimizer]]]:
        return [(model, [self.optimizer] if i == 0 else []) for i, model in enumerate(self.models)]
