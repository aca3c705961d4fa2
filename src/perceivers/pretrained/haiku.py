"""DeepMind's own names: the key table of the original (Haiku) checkpoints.

Parameter names are `<module path>/<leaf>`; linear weights are (in, out), convolutions HWIO.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from perceivers.adapters.flow import FlowInputConfig
from perceivers.adapters.image import Conv1x1InputConfig, ConvInputConfig, ImageInputConfig, PatchInputConfig
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.multimodal import MultimodalInputConfig, MultimodalOutputConfig, MultimodalQueryConfig
from perceivers.config import Variant
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.nn.positions import LearnedPositionConfig, PositionConfig, PositionedConfig
from perceivers.pretrained.assemble import assemble, meta_model
from perceivers.pretrained.keys import (
    CHANNELS_LAST,
    CONVOLUTION,
    CONVOLUTION_1X1,
    COUNTER,
    ROW,
    SAME,
    TRANSPOSED,
    Layout,
    Row,
    check_shapes,
    read_with,
    write_with,
)

Rows = Iterator[Row]


def rows(config: PerceiverConfig) -> list[Row]:
    """Return the key table of `config`.

    Raises:
        ValueError: The original code has no model of this form.
    """
    family = _FAMILIES.get(config.inputs.kind)
    if family is None:
        raise ValueError(f"the original has no model with '{config.inputs.kind}' inputs; known = {sorted(_FAMILIES)}")
    return list(family(config))


def load_haiku(model: PerceiverIO, params: Mapping[str, np.ndarray]) -> None:
    """Load a flat `{full name: array}` checkpoint (parameters and state together) into `model`, strictly.

    Raises:
        ValueError: Names or shapes do not fit; all are listed.
    """
    ours = read_with(rows(model.config), _tensors(params), "the checkpoint")
    expected = model.state_dict()
    check_shapes({name: expected[name] for name in ours}, ours, "the checkpoint")
    shared = set(expected) - set(ours) - {_TIED}
    if shared:
        raise ValueError(f"the key table leaves out {sorted(shared)}")
    model.load_state_dict(ours, strict=False)


def from_haiku(
    config: PerceiverConfig, params: Mapping[str, np.ndarray], source: str, *, num_labels: int | None = None
) -> PerceiverIO:
    """Return a model with the weights of a flat checkpoint, in evaluation mode and in their precision.

    Args:
        config: The model.
        params: `{full name: array}`, parameters and state together.
        source: Where they come from, for error messages.
        num_labels: Give the model a new head for so many labels; see `assemble`.

    Raises:
        ValueError: Names, shapes or types do not fit; all are listed.
    """
    # The table has a row a tensor: a model that is too deep for its weights is refused before it is laid out.
    meta_model(config, len(params), source)
    ours = read_with(rows(config), _tensors(params), source)
    return assemble(config, ours, source, num_labels=num_labels)


def _tensors(params: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    # `torch.tensor` copies: arrays out of a pickle may be read-only.
    return {name: torch.tensor(np.asarray(value)) for name, value in params.items()}


def save_haiku(model: PerceiverIO) -> dict[str, np.ndarray]:
    """Return the model's weights under the original's names and in its layout."""
    tensors = write_with(rows(model.config), model.state_dict())
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def haiku_shapes(config: PerceiverConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a checkpoint of `config`, by its name in the original."""
    with torch.device("meta"):
        model = PerceiverIO(config)
    return {name: tuple(tensor.shape) for name, tensor in write_with(rows(config), model.state_dict()).items()}


# The text output's embedding is the input's own module, which the table fills once.
_TIED = "outputs.embedding.weight"


def _text(config: PerceiverConfig) -> Rows:
    yield Row("inputs.embedding.weight", "embed/embeddings", SAME)
    yield Row("inputs.positioned.positions.table", "trainable_position_encoding/pos_embs", SAME)
    yield from _encoder(config, "perceiver_encoder")
    yield from _decoder(config, "basic_decoder")
    yield Row("queries.positions.table", "basic_decoder/~/trainable_position_encoding/pos_embs", SAME)
    yield Row("outputs.bias", "embedding_decoder/bias", SAME)


def _image(config: PerceiverConfig) -> Rows:
    assert isinstance(config.inputs, ImageInputConfig)
    yield from _features(config.inputs)
    yield from _positioned(config.inputs.positioned, "image_preprocessor/~_build_network_inputs")
    yield from _encoder(config, "perceiver_encoder")
    yield from _decoder(config, "classification_decoder/~/basic_decoder")
    if isinstance(config.decoder, CrossAttentionDecoderConfig):
        name = "classification_decoder/~/basic_decoder/~/trainable_position_encoding/pos_embs"
        yield Row("queries.table", name, SAME)
    if isinstance(config.outputs, LabelOutputConfig):
        yield from _linear("outputs.linear", "classification_decoder/~/basic_decoder/output")


def _flow(config: PerceiverConfig) -> Rows:
    assert isinstance(config.inputs, FlowInputConfig)
    if config.inputs.num_channels is not None:
        yield from _linear("inputs.linear", "image_preprocessor/patches_linear")
    yield from _positioned(config.inputs.positioned, "image_preprocessor/~_build_network_inputs")
    yield from _encoder(config, "perceiver_encoder")
    yield from _decoder(config, "flow_decoder/~/basic_decoder")
    yield from _linear("outputs.linear", "flow_decoder/~/basic_decoder/output")


# The original calls the video "image".
_MODALITIES = {"audio": "audio", "video": "image", "label": "label"}
_POSTPROCESSORS = {
    "audio": "audio_postprocessor",
    "video": "projection_postprocessor",
    "label": "classification_postprocessor",
}


def _multimodal(config: PerceiverConfig) -> Rows:
    inputs, queries, outputs = config.inputs, config.queries, config.outputs
    assert isinstance(inputs, MultimodalInputConfig)
    if not isinstance(queries, MultimodalQueryConfig) or not isinstance(outputs, MultimodalOutputConfig):
        raise ValueError("the original's multimodal model has multimodal queries and outputs")
    unknown = sorted({*inputs.inputs, *queries.queries, *outputs.outputs} - set(_MODALITIES))
    if unknown:
        raise ValueError(f"the original knows no modality {unknown}; known = {list(_MODALITIES)}")
    for name in inputs.inputs:
        theirs = f"multimodal_preprocessor/{_MODALITIES[name]}"
        yield Row(f"inputs.padding.{name}", f"{theirs}_padding/pos_embs", ROW)
        if name in inputs.mask_probabilities:
            yield Row(f"inputs.mask_token.{name}", f"{theirs}_mask_token/pos_embs", ROW)
    yield from _encoder(config, "encoder")
    yield from _decoder(config, "multimodal_decoder/~/basic_decoder")
    for name, part in queries.queries.items():
        yield Row(
            f"queries.padding.{name}", f"multimodal_decoder/~decoder_query/{_MODALITIES[name]}_padding/pos_embs", ROW
        )
        if isinstance(part, LearnedQueryConfig):
            name_of_table = "classification_decoder/~/basic_decoder/~/trainable_position_encoding/pos_embs"
            yield Row(f"queries.queries.{name}.table", name_of_table, SAME)
    for name in outputs.outputs:
        yield from _linear(f"outputs.outputs.{name}.linear", f"{_POSTPROCESSORS[name]}/linear")


_FAMILIES: dict[str, Callable[[PerceiverConfig], Rows]] = {
    "text": _text,
    "image-pixels": _image,
    "image-conv1x1": _image,
    "image-conv": _image,
    "image-patches": _image,
    "flow": _flow,
    "multimodal": _multimodal,
}


def _features(config: Variant) -> Rows:
    if isinstance(config, Conv1x1InputConfig):
        yield from _linear("inputs.linear", "image_preprocessor/~/conv2_d", CONVOLUTION_1X1)
    if isinstance(config, PatchInputConfig) and config.num_channels is not None:
        yield from _linear("inputs.linear", "image_preprocessor/patches_linear")
    if isinstance(config, ConvInputConfig):
        for i in range(config.num_stages):
            conv = f"image_preprocessor/~/conv2_d_downsample/~/conv{_suffix(i)}/w"
            yield Row(f"inputs.conv.convs.{i}.weight", conv, CONVOLUTION)
            if config.use_batch_norm:
                yield from _batch_norm(
                    f"inputs.conv.norms.{i}", f"image_preprocessor/~/conv2_d_downsample/~/batchnorm{_suffix(i)}"
                )


def _batch_norm(ours: str, theirs: str) -> Rows:
    yield Row(f"{ours}.weight", f"{theirs}/scale", CHANNELS_LAST)
    yield Row(f"{ours}.bias", f"{theirs}/offset", CHANNELS_LAST)
    for name in ("mean", "var"):
        yield Row(f"{ours}.{name}", f"{theirs}/~/{name}_ema/average", CHANNELS_LAST)
        yield Row(f"{ours}.hidden_{name}", f"{theirs}/~/{name}_ema/hidden", CHANNELS_LAST)
    # Both moving averages count the same steps; the later row fills what both agree on.
    yield Row(f"{ours}.count", f"{theirs}/~/mean_ema/counter", COUNTER)
    yield Row(f"{ours}.count", f"{theirs}/~/var_ema/counter", COUNTER)


def _positioned(config: PositionedConfig, theirs: str) -> Rows:
    yield from _positions(config.positions, "inputs.positioned.positions", theirs)
    if config.project_channels is not None:
        yield from _linear("inputs.positioned.project", f"{theirs}/position_encoding_projector/linear")
    for i in range(config.num_extra_layers):
        yield from _linear(f"inputs.positioned.extra.{i}", f"{theirs}/linear{_suffix(i)}")


def _positions(config: PositionConfig, ours: str, theirs: str) -> Rows:
    if isinstance(config, LearnedPositionConfig):
        yield Row(f"{ours}.table", f"{theirs}/trainable_position_encoding/pos_embs", SAME)


def _encoder(config: PerceiverConfig, theirs: str) -> Rows:
    if config.encoder.num_cross_attends > 1 or not config.encoder.share_blocks:
        raise ValueError("the original code reads once and shares the weights of its blocks")
    yield Row("encoder.latents", f"{theirs}/~/trainable_position_encoding/pos_embs", SAME)
    yield from _cross_attention("encoder.cross_attends.0", f"{theirs}/~/cross_attention")
    for i in range(config.encoder.num_layers_per_block):
        yield from _self_attention(f"encoder.blocks.0.{i}", f"{theirs}/~/self_attention{_suffix(i)}")


def _decoder(config: PerceiverConfig, theirs: str) -> Rows:
    if not isinstance(config.decoder, CrossAttentionDecoderConfig):
        raise ValueError(f"the original code has no '{config.decoder.kind}' decoder")
    yield from _cross_attention("decoder.cross_attend", f"{theirs}/cross_attention")
    if config.decoder.final_channels is not None:
        yield from _linear("decoder.final", f"{theirs}/output")


def _cross_attention(ours: str, theirs: str) -> Rows:
    for i, norm in enumerate(("norm_q", "norm_kv", "norm_mlp")):
        yield from _layer_norm(f"{ours}.{norm}", f"{theirs}/layer_norm{_suffix(i)}")
    yield from _attention_and_mlp(ours, theirs)


def _self_attention(ours: str, theirs: str) -> Rows:
    for i, norm in enumerate(("norm", "norm_mlp")):
        yield from _layer_norm(f"{ours}.{norm}", f"{theirs}/layer_norm{_suffix(i)}")
    yield from _attention_and_mlp(ours, theirs)


def _attention_and_mlp(ours: str, theirs: str) -> Rows:
    for i, part in enumerate(("query", "key", "value", "output")):
        yield from _linear(f"{ours}.attention.{part}", f"{theirs}/attention/linear{_suffix(i)}")
    for i, part in enumerate(("widen", "narrow")):
        yield from _linear(f"{ours}.mlp.{part}", f"{theirs}/mlp/linear{_suffix(i)}")


def _linear(ours: str, theirs: str, weight: Layout = TRANSPOSED) -> Rows:
    yield Row(f"{ours}.weight", f"{theirs}/w", weight)
    yield Row(f"{ours}.bias", f"{theirs}/b", SAME)


def _layer_norm(ours: str, theirs: str) -> Rows:
    yield Row(f"{ours}.weight", f"{theirs}/scale", SAME)
    yield Row(f"{ours}.bias", f"{theirs}/offset", SAME)


def _suffix(index: int) -> str:
    return f"_{index}" if index else ""


__all__ = ["from_haiku", "haiku_shapes", "load_haiku", "rows", "save_haiku"]
