"""Optimisers, parameter groups and learning-rate schedules."""

import math

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


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return two groups: weights that decay, and norms, biases, positions, latents and queries, which do not."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            spare = isinstance(module, _NORMS) or name in _SPARED or parameter.dim() < 2
            (spared if spare else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Return the optimiser over the model's trainable parameters."""
    groups = parameter_groups(model, config.weight_decay)
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
