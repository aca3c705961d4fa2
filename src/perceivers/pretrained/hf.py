"""Perceivers of Hugging Face `transformers`: their key table, and whole models both ways.

`hf_configs` says what their configs mean in ours, and where the port computes otherwise than the original.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from perceivers.adapters.image import Conv1x1InputConfig, ConvInputConfig, ImageInputConfig, PixelInputConfig
from perceivers.config import override, to_json
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.nn.convolution import BatchNorm
from perceivers.nn.positions import FourierPositions, LearnedPositionConfig
from perceivers.pretrained.assemble import assemble, meta_model, own_tensors
from perceivers.pretrained.hf_configs import Numerics, common_fields, config_from_transformers, family_of
from perceivers.pretrained.hf_fields import DEFAULTS
from perceivers.pretrained.keys import ROW, SAME, Layout, Row, check_shapes, read_with, write_with

if TYPE_CHECKING:
    import transformers

Rows = Iterator[Row]

__all__ = ["config_from_transformers", "from_transformers", "rows", "to_transformers"]


def rows(config: PerceiverConfig) -> list[Row]:
    """Return the key table of `config`.

    Raises:
        ValueError: `transformers` has no model of this form.
    """
    if config.encoder.num_cross_attends > 1 or not config.encoder.share_blocks:
        raise ValueError("transformers' models read once and share the weights of their blocks")
    if not isinstance(config.decoder, CrossAttentionDecoderConfig):
        raise ValueError(f"transformers has no '{config.decoder.kind}' decoder")
    return list(_ROWS[family_of(config).class_name](config))


def from_transformers(hf_model: "transformers.PreTrainedModel", *, numerics: Numerics = "transformers") -> PerceiverIO:
    """Return a copy of a `transformers` Perceiver as one of our models; arguments as in `config_from_transformers`.

    Images are given to it as they are, not normalised: `inputs.mean` and `inputs.std` are those of the port's
    image processor.

    Raises:
        ValueError: The model is of no known form.
    """
    config = config_from_transformers(hf_model, numerics=numerics)
    model = from_state_dict(config, hf_model.state_dict(), type(hf_model).__name__)
    return model.to(device=hf_model.device, dtype=hf_model.dtype).train(hf_model.training)


def from_state_dict(
    config: PerceiverConfig, theirs: Mapping[str, Tensor], source: str, *, num_labels: int | None = None
) -> PerceiverIO:
    """Return our model with the weights of one of the port's, in evaluation mode and in their precision.

    Args:
        config: The model.
        theirs: Tensors under the port's names.
        source: Where they come from, for error messages.
        num_labels: Give the model a new head for so many labels; see `assemble`.

    Raises:
        ValueError: Names, shapes or types do not fit; all are listed.
    """
    # The table has a row a tensor: a model that is too deep for its weights is refused before it is laid out.
    meta_model(config, len(theirs), source)
    model = assemble(config, read_with(rows(config), theirs, source), source, num_labels=num_labels)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            # The port keeps plain moving averages: these are what ours have gathered for the same result.
            share = 1 - module.decay ** int(module.count)
            module.hidden_mean.mul_(share)
            module.hidden_var.mul_(share)
    return model


def to_transformers(model: PerceiverIO, *, exact: bool = True) -> "transformers.PreTrainedModel":
    """Return a copy of one of our models as a `transformers` model.

    It has no part that normalises images: that is left to its image processor.

    Args:
        model: The model.
        exact: Refuse a model that computes otherwise than `transformers` would. `False` lets pass what the port
            does otherwise than the original; see `hf_configs`.

    Raises:
        ValueError: `transformers` has no model that computes the same; all differences are listed.
        ModuleNotFoundError: `transformers` is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        message = "to_transformers needs the library 'transformers' (pip install transformers)"
        raise ModuleNotFoundError(message, name="transformers") from error
    class_name, fields = describe(model, exact=exact)
    with torch.device("meta"):
        hf_model = getattr(transformers, class_name)(transformers.PerceiverConfig(**fields))
    theirs = to_state_dict(model)
    check_shapes(hf_model.state_dict(), theirs, "the model")
    hf_model.load_state_dict(theirs, assign=True)
    return hf_model.train(model.training)


def to_state_dict(model: PerceiverIO) -> dict[str, Tensor]:
    """Return copies of the model's tensors under the port's names.

    Raises:
        ValueError: `transformers` has no model of this form.
    """
    theirs = write_with(rows(model.config), model.state_dict())
    return {name: tensor.clone() for name, tensor in theirs.items()}


def describe(model: PerceiverIO, *, exact: bool = True) -> tuple[str, dict[str, Any]]:
    """Return the class of the port's that computes what `model` does, and the fields of its config.

    Args:
        model: The model.
        exact: As in `to_transformers`.

    Raises:
        ValueError: The port has no model that computes the same; all differences are listed.
    """
    rows(model.config)
    family = family_of(model.config)
    fields = {**common_fields(model.config), **family.fields(model.config)}
    port = SimpleNamespace(**{**DEFAULTS, **fields})
    different = _differences(model, family.config(port, False))
    if not exact:
        original = _differences(model, family.config(port, True))
        different = {path: text for path, text in different.items() if path in original or path not in _FIXED}
    if different:
        raise ValueError(f"{family.class_name} computes otherwise: {'; '.join(different.values())}")
    with torch.device("meta"):
        blank = PerceiverIO(family.config(port, False))
    check_shapes(own_tensors(blank), own_tensors(model), "the model")
    return family.class_name, fields


def unlike_transformers(model: PerceiverIO) -> list[str]:
    """Return what the port would compute otherwise than `model`, whatever its config said; a line each.

    Raises:
        ValueError: `transformers` has no model of this form.
    """
    rows(model.config)
    family = family_of(model.config)
    port = SimpleNamespace(**{**DEFAULTS, **common_fields(model.config), **family.fields(model.config)})
    return list(_differences(model, family.config(port, False)).values())


# What the port computes in its own way whatever its config says.
_FIXED = {
    *("decoder.query_residual", "inputs.same_padding"),
    *("queries.mask_padding", "encoder.empty_rows", "outputs.scale"),
}
# What does not change what a model computes but for rounding, or shows in the shapes of its tensors.
_FREE = {
    *("mean", "std"),
    *("init_scale", "latent_init_scale", "embedding_init_scale", "attention_init_scale", "mlp_init_scale", "zero_init"),
    *("qk_channels", "v_channels", "cross_attention_shape"),
    # A matter of rounding, which the port leaves no choice in.
    "precision",
}


def _differences(model: PerceiverIO, theirs: PerceiverConfig) -> dict[str, str]:
    """Return path -> what is different, for all that makes a difference to what the model computes."""
    grids = {
        f"{name}.max_resolution": list(module.max_resolution)
        for name, module in model.named_modules()
        if isinstance(module, FourierPositions)
    }
    ours = override(model.config, grids)
    if isinstance(theirs.inputs, PixelInputConfig | ConvInputConfig) and isinstance(ours.inputs, ImageInputConfig):
        # These take images of any size.
        theirs = replace(theirs, inputs=replace(theirs.inputs, image_size=ours.inputs.image_size))
    return dict(_compare(to_json(ours), to_json(theirs), ""))


def _compare(ours: Any, theirs: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.get("kind") == theirs.get("kind"):
        for key in sorted({*ours, *theirs} - _FREE):
            yield from _compare(ours.get(key), theirs.get(key), f"{path}.{key}" if path else key)
    elif ours != theirs:
        yield path, f"{path} is {_brief(ours)}, transformers has {_brief(theirs)}"


def _brief(value: Any) -> str:
    return f"'{value['kind']}'" if isinstance(value, dict) and "kind" in value else repr(value)


_INPUTS, _DECODER = "perceiver.input_preprocessor", "perceiver.decoder.decoder"
# The port calls the video "image".
_MODALITIES = {"audio": "audio", "video": "image", "label": "label"}
_PIXEL = Layout(read=lambda x: x[:, :, 0, 0], write=lambda x: x[:, :, None, None])


def _language_rows(config: PerceiverConfig) -> Rows:
    yield from _text_rows()
    yield from _attention_rows(config, "perceiver.decoder")
    yield Row("queries.positions.table", "perceiver.decoder.output_position_encodings.position_embeddings", SAME)
    yield Row("outputs.bias", "embedding_decoder.bias", SAME)


def _text_class_rows(config: PerceiverConfig) -> Rows:
    yield from _text_rows()
    yield from _label_rows(config)


def _text_rows() -> Rows:
    yield Row("inputs.embedding.weight", f"{_INPUTS}.embeddings.weight", SAME)
    yield Row("inputs.positioned.positions.table", f"{_INPUTS}.position_embeddings.weight", SAME)


def _image_rows(config: PerceiverConfig) -> Rows:
    assert isinstance(config.inputs, ImageInputConfig)
    if isinstance(config.inputs, Conv1x1InputConfig):
        yield from _linear_rows("inputs.linear", f"{_INPUTS}.convnet_1x1", _PIXEL)
    if isinstance(config.inputs, ConvInputConfig):
        yield Row("inputs.conv.convs.0.weight", f"{_INPUTS}.convnet.conv.weight", SAME)
        if config.inputs.use_batch_norm:
            yield from _batch_norm_rows("inputs.conv.norms.0", f"{_INPUTS}.convnet.batchnorm")
    if isinstance(config.inputs.positioned.positions, LearnedPositionConfig):
        table = f"{_INPUTS}.position_embeddings.position_embeddings"
        yield Row("inputs.positioned.positions.table", table, SAME)
    if config.inputs.positioned.project_channels is not None:
        yield from _linear_rows("inputs.positioned.project", f"{_INPUTS}.positions_projection")
    yield from _label_rows(config)


def _label_rows(config: PerceiverConfig) -> Rows:
    yield from _attention_rows(config, _DECODER)
    yield Row("queries.table", f"{_DECODER}.output_position_encodings.position_embeddings", SAME)
    yield from _linear_rows("outputs.linear", f"{_DECODER}.final_layer")


def _flow_rows(config: PerceiverConfig) -> Rows:
    yield from _linear_rows("inputs.linear", f"{_INPUTS}.conv_after_patches")
    yield from _attention_rows(config, _DECODER)
    yield from _linear_rows("outputs.linear", f"{_DECODER}.final_layer")


def _multimodal_rows(config: PerceiverConfig) -> Rows:
    for ours, theirs in _MODALITIES.items():
        yield Row(f"inputs.padding.{ours}", f"{_INPUTS}.padding.{theirs}", ROW)
        yield Row(f"inputs.mask_token.{ours}", f"{_INPUTS}.mask.{theirs}", ROW)
        yield Row(f"queries.padding.{ours}", f"perceiver.decoder.padding.{theirs}", ROW)
        output = f"perceiver.output_postprocessor.modalities.{theirs}.classifier"
        yield from _linear_rows(f"outputs.outputs.{ours}.linear", output)
    label = "perceiver.decoder.modalities.label.decoder.output_position_encodings.position_embeddings"
    yield Row("queries.queries.label.table", label, SAME)
    yield from _attention_rows(config, _DECODER)
    yield from _linear_rows("decoder.final", f"{_DECODER}.final_layer")


def _attention_rows(config: PerceiverConfig, decoder: str) -> Rows:
    yield Row("encoder.latents", "perceiver.embeddings.latents", SAME)
    yield from _layer_rows("encoder.cross_attends.0", "perceiver.encoder.cross_attention", ("norm_q", "norm_kv"))
    for i in range(config.encoder.num_layers_per_block):
        yield from _layer_rows(f"encoder.blocks.0.{i}", f"perceiver.encoder.self_attends.{i}", ("norm",))
    yield from _layer_rows("decoder.cross_attend", f"{decoder}.decoding_cross_attention", ("norm_q", "norm_kv"))


def _layer_rows(ours: str, theirs: str, norms: tuple[str, ...]) -> Rows:
    for i, norm in enumerate(norms, start=1):
        yield from _linear_rows(f"{ours}.{norm}", f"{theirs}.attention.self.layernorm{i}")
    for part in ("query", "key", "value"):
        yield from _linear_rows(f"{ours}.attention.{part}", f"{theirs}.attention.self.{part}")
    yield from _linear_rows(f"{ours}.attention.output", f"{theirs}.attention.output.dense")
    yield from _linear_rows(f"{ours}.norm_mlp", f"{theirs}.layernorm")
    yield from _linear_rows(f"{ours}.mlp.widen", f"{theirs}.mlp.dense1")
    yield from _linear_rows(f"{ours}.mlp.narrow", f"{theirs}.mlp.dense2")


def _linear_rows(ours: str, theirs: str, weight: Layout = SAME) -> Rows:
    yield Row(f"{ours}.weight", f"{theirs}.weight", weight)
    yield Row(f"{ours}.bias", f"{theirs}.bias", SAME)


def _batch_norm_rows(ours: str, theirs: str) -> Rows:
    yield from _linear_rows(ours, theirs)
    for name in ("mean", "var"):
        # The later row fills what both read.
        yield Row(f"{ours}.hidden_{name}", f"{theirs}.running_{name}", SAME)
        yield Row(f"{ours}.{name}", f"{theirs}.running_{name}", SAME)
    yield Row(f"{ours}.count", f"{theirs}.num_batches_tracked", SAME)


_ROWS: dict[str, Callable[[PerceiverConfig], Rows]] = {
    "PerceiverForMaskedLM": _language_rows,
    "PerceiverForSequenceClassification": _text_class_rows,
    "PerceiverForImageClassificationFourier": _image_rows,
    "PerceiverForImageClassificationLearned": _image_rows,
    "PerceiverForImageClassificationConvProcessing": _image_rows,
    "PerceiverForOpticalFlow": _flow_rows,
    "PerceiverForMultimodalAutoencoding": _multimodal_rows,
}
