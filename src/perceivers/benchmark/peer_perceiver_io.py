"""Krasserm's `perceiver-io`: models of the same sizes with weights of their own, for time and memory alone."""

from typing import Any

import torch
from torch.nn import functional

from perceivers.adapters.flow import FlowInputConfig
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.label import LabelOutputConfig
from perceivers.adapters.text import TextInputConfig
from perceivers.benchmark.cases import Case
from perceivers.benchmark.inputs import Batch, example, task_of
from perceivers.benchmark.ours import LEARNING_RATE
from perceivers.benchmark.peer_transformers import flow_patches, normalised_images
from perceivers.benchmark.runs import Run
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig


def make(case: Case) -> Run:
    """Return `case` with `perceiver-io`.

    Raises:
        ValueError: The library has no such model.
    """
    batch, _ = example(case, task_of(case))
    model, inputs = _model(case.config, batch)
    if case.training:
        return _training(model.train(), inputs, batch["label"])
    model.eval()

    @torch.inference_mode()
    def answer() -> Any:
        return model(*inputs)

    note = "perceiver-io: same sizes, weights of its own"
    if case.text:
        note += "; decodes all positions that a text can have"
    return Run(once=answer, note=note)


def _training(model: Any, inputs: tuple[torch.Tensor, ...], labels: torch.Tensor) -> Run:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(*inputs), labels).backward()
        optimizer.step()

    return Run(once=step, note="perceiver-io: same sizes, weights of its own")


def _model(config: PerceiverConfig, batch: Batch) -> tuple[Any, tuple[torch.Tensor, ...]]:
    if isinstance(config.inputs, PixelInputConfig):
        return _image_classifier(config), (normalised_images(config.inputs, batch["image"]),)
    if isinstance(config.inputs, FlowInputConfig):
        return _optical_flow(config), (flow_patches(config.inputs, batch["frames"]),)
    if isinstance(config.inputs, TextInputConfig):
        build = _text_classifier if isinstance(config.outputs, LabelOutputConfig) else _language_model
        # There `True` means padding.
        return build(config), (batch["input_ids"], ~batch["keep_mask"])
    raise ValueError(f"perceiver-io has no model for '{config.inputs.kind}' inputs")


def _image_classifier(config: PerceiverConfig) -> Any:
    from perceiver.model.vision.image_classifier.backend import (  # type: ignore[reportMissingImports]
        ClassificationDecoderConfig,
        ImageClassifier,
        ImageClassifierConfig,
        ImageEncoderConfig,
    )

    inputs = config.inputs
    assert isinstance(inputs, PixelInputConfig)
    encoder = ImageEncoderConfig(
        image_shape=(*inputs.image_size, inputs.image_channels),
        num_frequency_bands=_bands(inputs.positioned.positions),
        **_encoder(config),
    )
    decoder = ClassificationDecoderConfig(**_label_decoder(config))
    return ImageClassifier(ImageClassifierConfig(encoder, decoder, **_latents(config)))


def _optical_flow(config: PerceiverConfig) -> Any:
    from perceiver.model.vision.optical_flow.backend import (  # type: ignore[reportMissingImports]
        OpticalFlow,
        OpticalFlowConfig,
        OpticalFlowDecoderConfig,
        OpticalFlowEncoderConfig,
    )

    inputs = config.inputs
    assert isinstance(inputs, FlowInputConfig)
    encoder = OpticalFlowEncoderConfig(
        image_shape=inputs.image_size,
        num_patch_input_channels=inputs.image_channels * inputs.patch_size**2,
        num_patch_hidden_channels=inputs.num_channels,
        num_frequency_bands=_bands(inputs.positioned.positions),
        **_encoder(config),
    )
    width = config.encoder.latent_channels
    decoder = OpticalFlowDecoderConfig(
        image_shape=inputs.image_size,
        num_cross_attention_qk_channels=width,
        num_cross_attention_v_channels=width,
        **_decoder(config),
    )
    return OpticalFlow(OpticalFlowConfig(encoder, decoder, **_latents(config)))


def _language_model(config: PerceiverConfig) -> Any:
    from perceiver.model.text.mlm.backend import (  # type: ignore[reportMissingImports]
        MaskedLanguageModel,
        MaskedLanguageModelConfig,
        TextDecoderConfig,
    )

    inputs, decoder = config.inputs, config.decoder
    assert isinstance(inputs, TextInputConfig)
    assert isinstance(decoder, CrossAttentionDecoderConfig)
    wanted = TextDecoderConfig(
        vocab_size=inputs.vocab_size,
        max_seq_len=inputs.max_length,
        num_cross_attention_qk_channels=decoder.qk_channels,
        num_cross_attention_v_channels=decoder.v_channels,
        **_decoder(config),
    )
    return MaskedLanguageModel(MaskedLanguageModelConfig(_text_encoder(config), wanted, **_latents(config)))


def _text_classifier(config: PerceiverConfig) -> Any:
    from perceiver.model.text.classifier.backend import (  # type: ignore[reportMissingImports]
        ClassificationDecoderConfig,
        TextClassifier,
        TextClassifierConfig,
    )

    decoder = ClassificationDecoderConfig(**_label_decoder(config))
    return TextClassifier(TextClassifierConfig(_text_encoder(config), decoder, **_latents(config)))


def _text_encoder(config: PerceiverConfig) -> Any:
    from perceiver.model.text.common.backend import TextEncoderConfig  # type: ignore[reportMissingImports]

    inputs = config.inputs
    assert isinstance(inputs, TextInputConfig)
    return TextEncoderConfig(
        vocab_size=inputs.vocab_size,
        max_seq_len=inputs.max_length,
        num_input_channels=inputs.num_channels,
        **_encoder(config),
    )


def _latents(config: PerceiverConfig) -> dict[str, int]:
    return {"num_latents": config.encoder.num_latents, "num_latent_channels": config.encoder.latent_channels}


def _encoder(config: PerceiverConfig) -> dict[str, Any]:
    encoder = config.encoder
    return {
        "num_cross_attention_heads": encoder.num_cross_heads,
        "num_cross_attention_qk_channels": encoder.qk_channels,
        "num_cross_attention_v_channels": encoder.v_channels,
        "cross_attention_widening_factor": encoder.cross_widening_factor,
        "num_self_attention_heads": encoder.num_self_heads,
        "num_self_attention_qk_channels": encoder.qk_channels,
        "num_self_attention_v_channels": encoder.v_channels,
        "num_self_attention_layers_per_block": encoder.num_layers_per_block,
        "num_self_attention_blocks": encoder.num_blocks,
        "self_attention_widening_factor": encoder.self_widening_factor,
    }


def _decoder(config: PerceiverConfig) -> dict[str, Any]:
    decoder = config.decoder
    assert isinstance(decoder, CrossAttentionDecoderConfig)
    return {
        "num_cross_attention_heads": decoder.num_heads,
        "cross_attention_widening_factor": decoder.widening_factor,
        "cross_attention_residual": decoder.query_residual,
    }


def _label_decoder(config: PerceiverConfig) -> dict[str, Any]:
    outputs = config.outputs
    assert isinstance(outputs, LabelOutputConfig)
    width = config.encoder.latent_channels
    return {"num_output_query_channels": width, "num_classes": outputs.num_classes, **_decoder(config)}


def _bands(positions: Any) -> int:
    assert isinstance(positions, FourierPositionConfig)
    return positions.num_bands
