"""Lucidrains' `perceiver-pytorch`: its Perceiver IO with the same numbers of latents, layers and heads, for time alone.

Its MLPs are four times as wide as their inputs and gated, which cannot be set, and queries, keys and values have one
width.
"""

from typing import Any

import torch

from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.label import LabelOutputConfig
from perceivers.adapters.text import TextInputConfig
from perceivers.benchmark.cases import Case
from perceivers.benchmark.inputs import example, task_of
from perceivers.benchmark.runs import Run
from perceivers.benchmark.weights import random_model
from perceivers.model import PerceiverConfig

_NOTE = "perceiver-pytorch: weights of its own; its MLPs are wider and gated, which cannot be set"


def make(case: Case) -> Run:
    """Return `case` with `perceiver-pytorch`.

    Raises:
        ValueError: The library has no such model.
    """
    batch, _ = example(case, task_of(case))
    config = case.config
    if isinstance(config.inputs, TextInputConfig):
        model, inputs = _language_model(config), {"x": batch["input_ids"], "mask": batch["keep_mask"]}
    elif isinstance(config.inputs, PixelInputConfig):
        with torch.inference_mode():
            # It takes pixels with their positions.
            data = random_model(case).inputs(batch).values.clone()
        model, query = _classifier(config, data.shape[-1]), torch.randn(1, config.encoder.latent_channels)
        inputs = {"data": data, "queries": query}
    else:
        raise ValueError(f"perceiver-pytorch has no model for '{config.inputs.kind}' inputs")
    model.eval()

    @torch.inference_mode()
    def answer() -> Any:
        return model(**inputs)

    return Run(once=answer, note=_NOTE)


def _language_model(config: PerceiverConfig) -> Any:
    from perceiver_pytorch.perceiver_io import PerceiverLM  # type: ignore[reportMissingImports]

    inputs = config.inputs
    assert isinstance(inputs, TextInputConfig)
    return PerceiverLM(
        dim=inputs.num_channels, num_tokens=inputs.vocab_size, max_seq_len=inputs.max_length, **_sizes(config, 1)
    )


def _classifier(config: PerceiverConfig, width: int) -> Any:
    from perceiver_pytorch import PerceiverIO  # type: ignore[reportMissingImports]

    outputs = config.outputs
    assert isinstance(outputs, LabelOutputConfig)
    return PerceiverIO(
        dim=width,
        queries_dim=config.encoder.latent_channels,
        logits_dim=outputs.num_classes,
        decoder_ff=True,
        weight_tie_layers=True,
        **_sizes(config, width),
    )


def _sizes(config: PerceiverConfig, width: int) -> dict[str, int]:
    encoder = config.encoder
    values = encoder.v_channels or encoder.latent_channels
    return {
        "depth": encoder.num_blocks * encoder.num_layers_per_block,
        "num_latents": encoder.num_latents,
        "latent_dim": encoder.latent_channels,
        "cross_heads": encoder.num_cross_heads,
        "latent_heads": encoder.num_self_heads,
        "cross_dim_head": (encoder.v_channels or width) // encoder.num_cross_heads,
        "latent_dim_head": values // encoder.num_self_heads,
    }
