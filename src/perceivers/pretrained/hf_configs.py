"""Configs of Hugging Face `transformers` Perceivers, from theirs to ours and back.

The port computes some things otherwise than the original whose weights it carries. Each is a field of our config:

| field | original | transformers |
|---|---|---|
| `activation` | `gelu_tanh` | `gelu_erf` |
| `attention_dropout` | 0 | 0.1 unless configured |
| `decoder.query_residual`, images with learned positions | off | on |
| `inputs.same_padding`, images by convolution | on | off |
| `queries.mask_padding`, text | on | off |
| `encoder.empty_rows`, text | `zeros` | `mean` |
| `outputs.scale`, flow | 20 / 100 | 1 / 100 |
| `positions.precision`, Fourier | float64 | float32 |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from perceivers.adapters import InputConfig
from perceivers.adapters.audio import AudioInputConfig, AudioOutputConfig
from perceivers.adapters.flow import FlowInputConfig, FlowOutputConfig, TokenQueryConfig
from perceivers.adapters.image import (
    Conv1x1InputConfig,
    ConvInputConfig,
    GridQueryConfig,
    PixelInputConfig,
    PixelOutputConfig,
)
from perceivers.adapters.label import LabelInputConfig, LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.multimodal import MultimodalInputConfig, MultimodalOutputConfig, MultimodalQueryConfig
from perceivers.adapters.text import TextInputConfig, TextOutputConfig, TextQueryConfig
from perceivers.adapters.video import VideoInputConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.mlp import Activation
from perceivers.nn.positions import FourierPositionConfig, LearnedPositionConfig, PositionedConfig

if TYPE_CHECKING:
    import transformers

Numerics = Literal["transformers", "original"]
Json = dict[str, Any]

# What the port's image processor does before its models; in our models the input side does it.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One of the port's models.

    Args:
        class_name: Its class.
        task: The task of ours that it serves.
        config: Their config, and whether to compute as the original did -> our config.
        fields: Our config -> what only this model's config has.
    """

    class_name: str
    task: str
    config: Callable[[Any, bool], PerceiverConfig]
    fields: Callable[[PerceiverConfig], Json]


def config_from_transformers(
    hf_model: "transformers.PreTrainedModel", *, numerics: Numerics = "transformers"
) -> PerceiverConfig:
    """Return the config of a `transformers` Perceiver.

    Args:
        hf_model: One of its `PerceiverFor...` models.
        numerics: Compute as `transformers` does, or as the original of the weights did; see the table above.

    Raises:
        ValueError: It is no such model, or has an activation that ours lacks.
    """
    families = {family.class_name for family in _FAMILIES.values()}
    name = next((cls.__name__ for cls in type(hf_model).__mro__ if cls.__name__ in families), type(hf_model).__name__)
    return config_of(name, hf_model.config, numerics=numerics)


def config_of(class_name: str, hf: Any, *, numerics: Numerics) -> PerceiverConfig:
    """Return the config of the port's model `class_name`, of which `hf` is the config.

    Raises:
        ValueError: There is no such model, or it has an activation that ours lacks.
    """
    families = {family.class_name: family for family in _FAMILIES.values()}
    if class_name not in families:
        raise ValueError(f"{class_name} is no model that can be read; known = {sorted(families)}")
    return families[class_name].config(hf, numerics == "original")


def family_of(config: PerceiverConfig) -> Family:
    """Return the port's model with the inputs and outputs of `config`.

    Raises:
        ValueError: It has none.
    """
    kinds = (config.inputs.kind, config.outputs.kind)
    if kinds not in _FAMILIES:
        known = ", ".join(f"{inputs} -> {outputs}" for inputs, outputs in _FAMILIES)
        raise ValueError(f"transformers has no model {kinds[0]} -> {kinds[1]}; known = {known}")
    return _FAMILIES[kinds]


def common_fields(config: PerceiverConfig) -> Json:
    """Return what the configs of all of the port's models have, for our `config`."""
    encoder = config.encoder
    return {
        "num_latents": encoder.num_latents,
        "d_latents": encoder.latent_channels,
        "num_blocks": encoder.num_blocks,
        "num_self_attends_per_block": encoder.num_layers_per_block,
        "num_cross_attention_heads": encoder.num_cross_heads,
        "num_self_attention_heads": encoder.num_self_heads,
        "cross_attention_widening_factor": encoder.cross_widening_factor,
        "self_attention_widening_factor": encoder.self_widening_factor,
        "qk_channels": encoder.qk_channels,
        "v_channels": encoder.v_channels,
        "cross_attention_shape_for_attention": encoder.cross_attention_shape,
        "use_query_residual": encoder.query_residual,
        "attention_probs_dropout_prob": encoder.attention_dropout,
        "hidden_act": _HF_ACTIVATIONS[encoder.activation],
    }


_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu_erf",
    "gelu_python": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_HF_ACTIVATIONS: dict[Activation, str] = {"gelu_erf": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}


def _activation(hf: Any, original: bool) -> Activation:
    if hf.hidden_act not in _ACTIVATIONS:
        raise ValueError(f"hidden_act '{hf.hidden_act[:50]}' has no counterpart; known = {sorted(_ACTIVATIONS)}")
    return "gelu_tanh" if original else _ACTIVATIONS[hf.hidden_act]


def _encoder(hf: Any, original: bool) -> EncoderConfig:
    return EncoderConfig(
        num_latents=hf.num_latents,
        latent_channels=hf.d_latents,
        num_blocks=hf.num_blocks,
        num_layers_per_block=hf.num_self_attends_per_block,
        num_cross_heads=hf.num_cross_attention_heads,
        num_self_heads=hf.num_self_attention_heads,
        cross_widening_factor=hf.cross_attention_widening_factor,
        self_widening_factor=hf.self_attention_widening_factor,
        qk_channels=hf.qk_channels,
        v_channels=hf.v_channels,
        cross_attention_shape=hf.cross_attention_shape_for_attention,
        query_residual=bool(hf.use_query_residual),
        attention_dropout=0.0 if original else float(hf.attention_probs_dropout_prob),
        activation=_activation(hf, original),
    )


def _text_encoder(hf: Any, original: bool) -> EncoderConfig:
    """Only texts are masked."""
    return replace(_encoder(hf, original), empty_rows="zeros" if original else "mean")


def _decoder(hf: Any, original: bool, *, query_residual: bool) -> CrossAttentionDecoderConfig:
    return CrossAttentionDecoderConfig(
        num_heads=1,
        cross_attention_shape=hf.cross_attention_shape_for_attention,
        query_residual=query_residual,
        attention_dropout=0.0 if original else float(hf.attention_probs_dropout_prob),
        activation=_activation(hf, original),
    )


def _text_input(hf: Any) -> TextInputConfig:
    positions = LearnedPositionConfig(num_channels=hf.d_model)
    return TextInputConfig(
        vocab_size=hf.vocab_size,
        max_length=hf.max_position_embeddings,
        num_channels=hf.d_model,
        positioned=PositionedConfig(positions=positions, combine="add"),
    )


def _language(hf: Any, original: bool) -> PerceiverConfig:
    decoder = _decoder(hf, original, query_residual=False)
    return PerceiverConfig(
        inputs=_text_input(hf),
        encoder=_text_encoder(hf, original),
        queries=TextQueryConfig(
            max_length=hf.max_position_embeddings,
            positions=LearnedPositionConfig(num_channels=hf.d_model),
            mask_padding=original,
        ),
        decoder=replace(decoder, num_heads=8, qk_channels=256, v_channels=hf.d_model),
        outputs=TextOutputConfig(),
    )


def _labels(hf: Any, original: bool, inputs: InputConfig, *, query_residual: bool = True) -> PerceiverConfig:
    return PerceiverConfig(
        inputs=inputs,
        encoder=_encoder(hf, original),
        queries=LearnedQueryConfig(num_channels=hf.d_latents),
        decoder=_decoder(hf, original, query_residual=query_residual),
        outputs=LabelOutputConfig(num_classes=hf.num_labels),
    )


def _text_classes(hf: Any, original: bool) -> PerceiverConfig:
    return replace(_labels(hf, original, _text_input(hf)), encoder=_text_encoder(hf, original))


def _fourier(original: bool, num_bands: int, *resolution: int) -> FourierPositionConfig:
    precision = "float64" if original else "float32"
    return FourierPositionConfig(num_bands=num_bands, max_resolution=resolution, precision=precision)


# Not in the port's config: the images that its position frequencies are laid out for, and its blocks of video.
_IMAGE_SIZE, _BLOCK = (224, 224), 4


def _pixels(hf: Any, original: bool) -> PerceiverConfig:
    positioned = PositionedConfig(positions=_fourier(original, 64, 224, 224))
    inputs = PixelInputConfig(image_size=_IMAGE_SIZE, mean=_MEAN, std=_STD, positioned=positioned)
    return _labels(hf, original, inputs)


def _conv1x1(hf: Any, original: bool) -> PerceiverConfig:
    positioned = PositionedConfig(positions=LearnedPositionConfig(num_channels=256), project_channels=256)
    size = (hf.image_size, hf.image_size)
    inputs = Conv1x1InputConfig(image_size=size, mean=_MEAN, std=_STD, num_channels=256, positioned=positioned)
    return _labels(hf, original, inputs, query_residual=not original)


def _conv(hf: Any, original: bool) -> PerceiverConfig:
    inputs = ConvInputConfig(
        image_size=_IMAGE_SIZE,
        mean=_MEAN,
        std=_STD,
        num_channels=64,
        same_padding=original,
        positioned=PositionedConfig(positions=_fourier(original, 64, 56, 56)),
    )
    return _labels(hf, original, inputs)


def _flow(hf: Any, original: bool) -> PerceiverConfig:
    height, width = hf.train_size
    positioned = PositionedConfig(positions=_fourier(original, 64, height, width))
    return PerceiverConfig(
        inputs=FlowInputConfig(image_size=(height, width), positioned=positioned),
        encoder=_encoder(hf, original),
        queries=TokenQueryConfig(),
        decoder=_decoder(hf, original, query_residual=False),
        outputs=FlowOutputConfig(scale=20 / 100 if original else 1 / 100),
    )


def _multimodal(hf: Any, original: bool) -> PerceiverConfig:
    samples, size = hf.num_frames * hf.audio_samples_per_frame, hf.image_size  # in blocks of pixels
    audio, video = _fourier(original, 192, samples), _fourier(original, 32, hf.num_frames, size, size)
    chosen_audio, chosen_video = replace(audio, endpoint=False), replace(video, endpoint=False)
    return PerceiverConfig(
        inputs=MultimodalInputConfig(
            inputs={
                "audio": AudioInputConfig(
                    num_samples=samples,
                    samples_per_patch=hf.samples_per_patch,
                    positioned=PositionedConfig(positions=audio),
                ),
                "video": VideoInputConfig(
                    num_frames=hf.num_frames,
                    image_size=(_BLOCK * size, _BLOCK * size),
                    patch_size=_BLOCK,
                    positioned=PositionedConfig(positions=video),
                ),
                "label": LabelInputConfig(num_classes=hf.num_labels),
            },
            mask_probabilities={"audio": 0.0, "video": 0.0, "label": 1.0},
        ),
        encoder=_encoder(hf, original),
        queries=MultimodalQueryConfig(
            queries={
                "audio": GridQueryConfig(grid_shape=(samples // hf.samples_per_patch,), positions=chosen_audio),
                "video": GridQueryConfig(grid_shape=tuple(hf.output_shape[1:]), positions=chosen_video),
                "label": LearnedQueryConfig(num_channels=hf._label_trainable_num_channels),
            }
        ),
        decoder=replace(_decoder(hf, original, query_residual=False), final_channels=hf.output_num_channels),
        outputs=MultimodalOutputConfig(
            outputs={
                "audio": AudioOutputConfig(samples_per_patch=hf.samples_per_patch),
                "video": PixelOutputConfig(),
                "label": LabelOutputConfig(num_classes=hf.num_labels),
            }
        ),
    )


def _text_fields(config: PerceiverConfig) -> Json:
    inputs = config.inputs
    assert isinstance(inputs, TextInputConfig)
    return {
        "vocab_size": inputs.vocab_size,
        "max_position_embeddings": inputs.max_length,
        "d_model": inputs.num_channels,
    }


def _label_fields(config: PerceiverConfig) -> Json:
    assert isinstance(config.outputs, LabelOutputConfig)
    return {"num_labels": config.outputs.num_classes}


def _text_class_fields(config: PerceiverConfig) -> Json:
    return _text_fields(config) | _label_fields(config)


def _conv1x1_fields(config: PerceiverConfig) -> Json:
    assert isinstance(config.inputs, Conv1x1InputConfig)
    return _label_fields(config) | {"image_size": config.inputs.image_size[0]}


def _flow_fields(config: PerceiverConfig) -> Json:
    assert isinstance(config.inputs, FlowInputConfig)
    return {"train_size": list(config.inputs.image_size)}


def _multimodal_fields(config: PerceiverConfig) -> Json:
    if not isinstance(config.inputs, MultimodalInputConfig) or not isinstance(config.queries, MultimodalQueryConfig):
        raise ValueError("transformers' multimodal model has multimodal inputs and queries")
    inputs, queries = config.inputs.inputs, config.queries.queries
    audio, video, label = (inputs.get(name) for name in ("audio", "video", "label"))
    frames, classes = queries.get("video"), queries.get("label")
    if not (
        isinstance(audio, AudioInputConfig)
        and isinstance(video, VideoInputConfig)
        and isinstance(label, LabelInputConfig)
        and isinstance(frames, GridQueryConfig)
        and isinstance(classes, LearnedQueryConfig)
        and isinstance(config.decoder, CrossAttentionDecoderConfig)
    ):
        raise ValueError(
            "transformers' multimodal model has audio, video and label, a grid of frames and a label query"
        )
    return {
        "num_frames": video.num_frames,
        "audio_samples_per_frame": audio.num_samples // video.num_frames,
        "samples_per_patch": audio.samples_per_patch,
        "image_size": video.image_size[0] // _BLOCK,
        "output_shape": [1, *frames.grid_shape],
        "output_num_channels": config.decoder.final_channels or config.encoder.latent_channels,
        "num_labels": label.num_classes,
        "_label_trainable_num_channels": classes.num_channels,
    }


_FAMILIES: dict[tuple[str, str], Family] = {
    ("text", "text"): Family(
        class_name="PerceiverForMaskedLM", task="fill-mask", config=_language, fields=_text_fields
    ),
    ("text", "label"): Family(
        class_name="PerceiverForSequenceClassification",
        task="text-classification",
        config=_text_classes,
        fields=_text_class_fields,
    ),
    ("image-pixels", "label"): Family(
        class_name="PerceiverForImageClassificationFourier",
        task="image-classification",
        config=_pixels,
        fields=_label_fields,
    ),
    ("image-conv1x1", "label"): Family(
        class_name="PerceiverForImageClassificationLearned",
        task="image-classification",
        config=_conv1x1,
        fields=_conv1x1_fields,
    ),
    ("image-conv", "label"): Family(
        class_name="PerceiverForImageClassificationConvProcessing",
        task="image-classification",
        config=_conv,
        fields=_label_fields,
    ),
    ("flow", "flow"): Family(
        class_name="PerceiverForOpticalFlow", task="optical-flow", config=_flow, fields=_flow_fields
    ),
    ("multimodal", "multimodal"): Family(
        class_name="PerceiverForMultimodalAutoencoding",
        task="video-autoencoding",
        config=_multimodal,
        fields=_multimodal_fields,
    ),
}
