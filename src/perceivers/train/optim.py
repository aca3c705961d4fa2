"""Optimisers, parameter groups and learning-rate schedules."""

import math
from collections.abc import Mapping

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from perceivers.nn.convolution import BatchNorm
from perceivers.train.config import OptimizerConfig, ScheduleConfig

_NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, BatchNorm)
# The names that learned positions and queries, and the latents, have wherever they occur.
_SPARED = ("bias", "table", "latents")
# Where PyTorch's AdamW updates all weights in one kernel.
_FUSED = frozenset({"cpu", "cuda", "mps", "xpu"})


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, object]]:
    """Return the weights that are trained in two groups, those that decay and those that do not.

    Norms, biases, positions, latents and queries do not. For Muon the weights of linear layers are a third group. With
    `layer_decay` each height above the input side has such groups with a rate of its own, the highest first.

    Args:
        model: The model.
        config: Rate and decays.
    """
    heights = _heights(model) if config.layer_decay is not None else {}
    top = max(heights.values(), default=0)
    muon = config.name == "muon"
    kinds = ((False, True), (False, False), (True, False)) if muon else ((False, False), (True, False))
    members: dict[tuple[int, bool, bool], list[nn.Parameter]] = {
        (height, spare, matrix): [] for height in range(top, -1, -1) for spare, matrix in kinds
    }
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            spare = isinstance(module, _NORMS) or name in _SPARED or parameter.dim() < 2
            matrix = muon and isinstance(module, nn.Linear) and not spare
            members[_height(prefix, heights, top), spare, matrix].append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": 0.0 if spare else config.weight_decay,
            "lr": config.learning_rate * (config.layer_decay or 1.0) ** (top - height),
            **({"use_muon": matrix} if muon else {}),
        }
        for (height, spare, matrix), parameters in members.items()
    ]


def _heights(model: nn.Module) -> dict[str, int]:
    """Return how high above the input side the encoder's layers lie, by their names; what asks lies above them all."""
    blocks = model.get_submodule("encoder.blocks")
    layers = [
        f"encoder.blocks.{i}.{j}" for i, block in enumerate(blocks.children()) for j, _ in enumerate(block.children())
    ]
    heights = {name: i + 1 for i, name in enumerate(layers)}
    return {**heights, "inputs": 0, "encoder": 0, **dict.fromkeys(("queries", "decoder", "outputs"), len(layers) + 1)}


def _height(name: str, heights: Mapping[str, int], top: int) -> int:
    """Return the height of the innermost part that holds the module called `name`."""
    while name:
        if name in heights:
            return heights[name]
        name = name.rpartition(".")[0]
    return top


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Return the optimiser over the model's trainable parameters."""
    groups = parameter_groups(model, config)
    if config.name == "lamb":
        from pytorch_optimizer import Lamb

        # As in the paper, decay counts in the trust ratio and large weights are not held back; the package's own
        # defaults also divide the finished step by 1 - beta ** step, ten times too far at the start.
        lamb = Lamb(
            groups,
            lr=config.learning_rate,
            betas=config.betas,
            eps=config.eps,
            weight_decouple=False,
            adam_debias=True,
        )
        lamb.clamp = math.inf
        return lamb
    if config.name == "muon":
        from pytorch_optimizer import Muon

        # Steps as large as AdamW's (arXiv:2502.16982, section 2.2), so that one learning rate serves both.
        for group in groups:
            group |= {"use_adjusted_lr": True} if group["use_muon"] else {"betas": config.betas, "eps": config.eps}
        return Muon(groups)
    fused = all(parameter.device.type in _FUSED for parameter in model.parameters())
    return AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, fused=fused)


def schedule_factor(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """Return the learning rate at `step` of `num_steps` as a share of its peak."""
    warmup = round(config.warmup_fraction * num_steps)
    if step < warmup:
        return (step + 1) / warmup
    if config.name == "constant":
        return 1.0
    if config.name == "inverse_sqrt":
        return math.sqrt(max(warmup, 1) / max(step, warmup, 1))
    start = warmup
    if config.name == "constant_cosine":
        start += round(config.constant_fraction * num_steps)
    progress = min(max((step - start) / max(num_steps - start, 1), 0.0), 1.0)
    fall = progress if config.name == "linear" else (1 - math.cos(math.pi * progress)) / 2
    return 1 - (1 - config.final_factor) * fall


def make_schedule(optimizer: Optimizer, config: ScheduleConfig, num_steps: int) -> LambdaLR:
    """Return the schedule; it is stepped once an optimiser step."""
    return LambdaLR(optimizer, lambda step: schedule_factor(config, step, num_steps))
