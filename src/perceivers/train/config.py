"""Everything that says how a run goes; recipes are these as YAML."""

from dataclasses import dataclass, field
from typing import Literal

# Which weights a run moves.
Trainable = Literal["all", "decoder", "outputs", "lora"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimiser.

    Args:
        name: AdamW; LAMB for large batches (the paper's choice); or Muon, which makes the steps of all weight matrices
            orthogonal and as large as AdamW's mostly are, and leaves the rest to AdamW.
        learning_rate: Peak learning rate.
        weight_decay: Decay of weight matrices; norms, biases, positions, latents and queries are spared.
        betas: Decay of the two moment estimates; Muon's momentum is 0.95.
        eps: Added to the denominator.
        layer_decay: Each layer of the encoder learns so many times as fast as the one above it, and the input side
            slowest of all; `None` for one rate. Fine-tuning then keeps what the lower layers know.
    """

    name: Literal["adamw", "lamb", "muon"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay ({self.layer_decay}) must lie above 0 and be at most 1")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Matrices of low rank beside weights that stay as they are (arXiv:2106.09685).

    Args:
        rank: Their inner width.
        alpha: What they give counts `alpha / rank` times.
        dropout: Dropout on what goes into them.
        layers: Which linear layers of the encoder have them, by their own names: `query`, `key`, `value` and `output`
            of each attention, `widen` and `narrow` of each MLP.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    layers: tuple[str, ...] = ("query", "value")

    def __post_init__(self) -> None:
        for name in ("rank", "alpha"):
            if getattr(self, name) < 1:
                raise ValueError(f"lora.{name} ({getattr(self, name)}) must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout ({self.dropout}) must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate moves, as a factor of its peak.

    Args:
        name: Shape after the warm-up. `constant_cosine` stays at the peak, then falls along a cosine.
        warmup_fraction: Share of all steps in which the rate rises from zero.
        constant_fraction: Share of all steps after the warm-up that `constant_cosine` stays at the peak.
        final_factor: Where falling shapes end.
    """

    name: Literal["constant", "linear", "cosine", "constant_cosine", "inverse_sqrt"] = "cosine"
    warmup_fraction: float = 0.05
    constant_fraction: float = 0.5
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        for name in ("warmup_fraction", "constant_fraction", "final_factor"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} ({value}) must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run.

    Args:
        epochs: Passes over the training split; used unless `max_steps` is given.
        max_steps: Optimiser steps.
        batch_size: Examples an optimiser step, over all processes and accumulated micro-batches.
        accumulation: Micro-batches an optimiser step.
        seed: Seed of weights, order and every random choice.
        mixed_precision: Number format of the forward pass.
        activation_checkpointing: Keep only what goes into the encoder's layers and compute the rest again in the
            backward pass: a fraction of the memory for about a third more time, and the same gradients. PyTorch's
            name; `transformers` calls it gradient checkpointing.
        fsdp: Share weights, gradients and the optimiser's state out among the processes (PyTorch's FSDP2).
        compile: Compile the latents' layers with `torch.compile` before the first step. Evaluation stays as it is, so
            that scores are those of the saved model when it is served.
        max_grad_norm: Gradients are clipped to this norm; `None` leaves them.
        ema_decay: Decay of a moving average of the weights, which is then what is evaluated and
            saved; `None` for none.
        eval_every: Steps between evaluations; `None` evaluates after each epoch, and on a stream every 1,000 steps.
        checkpoint_every: Steps between checkpoints; `None` writes one after each evaluation.
        keep_checkpoints: How many of the newest checkpoints to keep.
        patience: Stop after so many evaluations without a better score; `None` never stops early.
        select: Which weights become the model: the last, or those with the best evaluation score
            (only fair when the evaluation split is not also the test).
        tracker: Where curves go: "tensorboard", "wandb", "trackio" or another that Accelerate knows;
            `None` for nowhere.
        num_workers: Processes that prepare data; 0 prepares in the main one.
        num_threads: CPU threads that compute; `None` leaves PyTorch's choice. Small models, and machines that
            have other work, are fastest with 1.
        trainable: Which weights move: all; those that ask and answer (queries, decoder and outputs), over an encoder
            that stays as it is; the outputs alone; or "lora", which is "decoder" with matrices of low rank beside
            the encoder's weights, added to them in the model that is saved.
        lora: These matrices.
        optimizer: The optimiser.
        schedule: The learning-rate schedule.
    """

    epochs: float = 10.0
    max_steps: int | None = None
    batch_size: int = 32
    accumulation: int = 1
    seed: int = 0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    activation_checkpointing: bool = False
    fsdp: bool = False
    compile: bool = False
    max_grad_norm: float | None = 1.0
    ema_decay: float | None = None
    eval_every: int | None = None
    checkpoint_every: int | None = None
    keep_checkpoints: int = 2
    patience: int | None = None
    select: Literal["last", "best"] = "last"
    tracker: str | None = "tensorboard"
    num_workers: int = 0
    num_threads: int | None = None
    trainable: Trainable = "all"
    lora: LoraConfig = field(default_factory=LoraConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        counts = ("batch_size", "accumulation", "keep_checkpoints", "max_steps", "eval_every", "checkpoint_every")
        for name in (*counts, "patience", "num_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")
        if self.epochs <= 0:
            raise ValueError(f"epochs ({self.epochs}) must be greater than 0")
        if self.num_workers < 0:
            raise ValueError(f"num_workers ({self.num_workers}) must not be negative")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay ({self.ema_decay}) must lie between 0 and 1")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise ValueError(f"max_grad_norm ({self.max_grad_norm}) must be greater than 0")
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size ({self.batch_size}) must be divisible by accumulation ({self.accumulation})")
