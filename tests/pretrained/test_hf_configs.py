"""Configs of `transformers` models in ours: sizes, numerics, and what has no counterpart."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from golden_models import FULL_SIZE_GOLDENS, Golden, config_of
from hf_families import CLASSIFIER, ENCODER, FAMILIES, transformers
from perceivers.adapters.image import PatchInputConfig
from perceivers.config import override, to_json
from perceivers.model import PerceiverIO
from perceivers.pretrained.folder import own_tensors
from perceivers.pretrained.haiku import rows as haiku_rows
from perceivers.pretrained.hf import config_from_transformers, from_transformers, rows, to_transformers
from perceivers.zoo import ZOO

# Values that the released checkpoints' configs set.
_IMAGENET = {
    "num_latents": 512,
    "d_latents": 1024,
    "num_blocks": 8,
    "num_self_attends_per_block": 6,
    "num_self_attention_heads": 8,
    "num_cross_attention_heads": 1,
    "num_labels": 1000,
}
RELEASED: dict[str, tuple[str, dict[str, Any], int]] = {
    "language": ("PerceiverForMaskedLM", {"qk_channels": 256, "v_channels": 1280}, 201108230),
    "image-fourier": (f"{CLASSIFIER}Fourier", _IMAGENET, 48440627),
    "image-learned": (f"{CLASSIFIER}Learned", {**_IMAGENET, "image_size": 224}, 62255848),
    "image-conv": (f"{CLASSIFIER}ConvProcessing", _IMAGENET, 48646522),
    "optical_flow": (
        "PerceiverForOpticalFlow",
        {
            "num_latents": 2048,
            "d_latents": 512,
            "num_self_attends_per_block": 24,
            "num_self_attention_heads": 16,
            "num_cross_attention_heads": 1,
        },
        41057134,
    ),
    "video_autoencoding": (
        "PerceiverForMultimodalAutoencoding",
        {
            "num_latents": 784,
            "d_latents": 512,
            "num_self_attends_per_block": 8,
            "num_cross_attention_heads": 1,
            "num_labels": 700,
        },
        19858855,
    ),
}


def released(name: str) -> Any:
    class_name, fields, _ = RELEASED[name]
    with torch.device("meta"):
        return getattr(transformers, class_name)(transformers.PerceiverConfig(**fields))


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_fit(name: str) -> None:
    """All keys and shapes of the full-size models, without their memory."""
    hf_model = released(name)
    theirs = hf_model.state_dict()
    with torch.device("meta"):
        model = PerceiverIO(config_from_transformers(hf_model))
    ours = own_tensors(model)
    assert sum(p.numel() for p in model.parameters()) == RELEASED[name][2]
    table = rows(model.config)
    assert {row.theirs for row in table} == set(theirs)
    assert {row.ours for row in table} == set(ours)
    for row in table:
        assert row.layout.read(theirs[row.theirs]).shape == ours[row.ours].shape, row
        assert row.layout.write(ours[row.ours]).shape == theirs[row.theirs].shape, row


@pytest.mark.parametrize("name", [name for name in RELEASED if name in ZOO])
def test_original_numerics_are_those_of_the_zoo(name: str) -> None:
    """The same model twice: the zoo restates the original's config, this reads the port's."""
    found = to_json(config_from_transformers(released(name), numerics="original"))
    expected = to_json(ZOO[name].config)
    # Both say the same of these in different words, and shapes tell.
    for config in (found, expected):
        for part in ("encoder", "decoder"):
            for field in ("qk_channels", "v_channels", "cross_attention_shape"):
                config[part].pop(field)
    assert found == expected


@pytest.mark.shared
@pytest.mark.parametrize("name", ["optical_flow", "video_autoencoding"])
def test_original_numerics_are_those_of_the_goldens(name: str) -> None:
    files = {"optical_flow": "optical_flow", "video_autoencoding": "video_autoencoding_chunk0"}
    path = FULL_SIZE_GOLDENS / f"{files[name]}.npz"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    expected = config_of(Golden(path).recipe)
    found = config_from_transformers(released(name), numerics="original")
    # The golden's frames lie in [-1, 1] already.
    if name == "optical_flow":
        expected = override(expected, {"inputs.mean": [0.5], "inputs.std": [0.5]})
    assert to_json(found) == to_json(expected)
    assert {row.ours for row in haiku_rows(found)} == {row.ours for row in rows(found)}


# Original numerics: what changes in all models, and in single ones.
EVERYWHERE = {
    f"{part}.{field}": value
    for part in ("encoder", "decoder")
    for field, value in (("activation", "gelu_tanh"), ("attention_dropout", 0.0))
}
ORIGINAL: dict[str, dict[str, Any]] = {
    "text": {"encoder.empty_rows": "zeros", "queries.mask_padding": True},
    "text-classes": {"encoder.empty_rows": "zeros"},
    "image-pixels": {},
    "image-conv1x1": {"decoder.query_residual": False},
    "image-conv": {"inputs.same_padding": True},
    "flow": {"outputs.scale": 0.2},
    "multimodal": {},
}


# Where Fourier positions are, whose rounding differs.
FOURIER = {
    **dict.fromkeys(("image-pixels", "image-conv", "flow"), ("inputs.positioned.positions",)),
    "multimodal": (
        *("inputs.inputs.audio.positioned.positions", "inputs.inputs.video.positioned.positions"),
        *("queries.queries.audio.positions", "queries.queries.video.positions"),
    ),
}


@pytest.mark.parametrize("name", ORIGINAL)
@torch.inference_mode()
def test_original_numerics_change_these_fields_alone(name: str) -> None:
    family = FAMILIES[name]()
    hf_model = family.model(attention_probs_dropout_prob=0.25)
    port, original = from_transformers(hf_model), from_transformers(hf_model, numerics="original")
    assert port.config.encoder.attention_dropout == 0.25
    rounding = {f"{place}.precision": "float64" for place in FOURIER.get(name, ())}
    changes: dict[str, Any] = {**EVERYWHERE, **ORIGINAL[name], **rounding}
    for path, value in changes.items():
        node: Any = to_json(port.config)
        for part in path.split("."):
            node = node[part]
        assert node != value, path
    assert override(port.config, changes) == original.config
    for ours, theirs in zip(family.ask(port).values(), family.ask(original).values(), strict=True):
        assert ours.shape == theirs.shape
        assert not torch.allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ORIGINAL)
def test_what_the_port_computes_otherwise_is_refused_unless_allowed(name: str) -> None:
    original = from_transformers(FAMILIES[name]().model(), numerics="original")
    only = ORIGINAL[name]
    if only:
        with pytest.raises(ValueError, match="computes otherwise: ") as refusal:
            to_transformers(original)
        for field, value in only.items():
            assert f"{field} is {value!r}, transformers has" in str(refusal.value)
    hf_model = to_transformers(original, exact=False)
    # What the port can say in its config it does say.
    assert hf_model.config.hidden_act == "gelu_pytorch_tanh"
    assert hf_model.config.attention_probs_dropout_prob == 0


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("text", "encoder.dropout", 0.5),
        ("text", "decoder.num_heads", 4),
        ("text", "decoder.widening_factor", 2),
        ("text-classes", "decoder.activation", "gelu_tanh"),
        ("image-pixels", "inputs.stride", 2),
        ("image-pixels", "inputs.positioned.positions.max_resolution", [32, 40]),
        ("image-conv1x1", "inputs.image_size", [4, 9]),
        ("image-conv", "inputs.num_stages", 2),
        ("flow", "outputs.scale", 0.5),
        ("multimodal", "inputs.mask_probabilities.audio", 1.0),
        ("multimodal", "queries.queries.video.positions.endpoint", True),
    ],
)
def test_other_models_are_refused_with_what_is_different(name: str, path: str, value: Any, exact: bool) -> None:
    config = override(config_from_transformers(FAMILIES[name]().model()), {path: value})
    with pytest.raises(ValueError, match=f"computes otherwise: (.*; )?{path} is "):
        to_transformers(PerceiverIO(config), exact=exact)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("inputs.mean", [0.5]),
        ("inputs.image_size", [32, 40]),
        ("inputs.positioned.positions.max_resolution", None),
        ("encoder.mlp_init_scale", 0.5),
        ("queries.init_scale", 1.0),
    ],
)
def test_what_makes_no_difference_is_allowed(path: str, value: Any) -> None:
    config = override(config_from_transformers(FAMILIES["image-pixels"]().model()), {path: value})
    to_transformers(PerceiverIO(config))


def test_forms_that_transformers_lacks_are_refused() -> None:
    config = config_from_transformers(FAMILIES["image-pixels"]().model())
    with pytest.raises(ValueError, match="read once and share"):
        rows(override(config, {"encoder.num_cross_attends": 2}))
    with pytest.raises(ValueError, match="no 'average' decoder"):
        rows(override(config, {"decoder": {"kind": "average"}, "queries": {"kind": "none"}}))
    with pytest.raises(ValueError, match="no model image-patches -> label; known = text -> text"):
        rows(replace(config, inputs=PatchInputConfig.example()))
    # Values of another width than the latents do not fit the port's self-attention.
    with pytest.raises(ValueError, match="does not fit the model"):
        to_transformers(PerceiverIO(override(config, {"encoder.qk_channels": 24})))


def test_models_and_activations_that_cannot_be_read_are_refused() -> None:
    config = transformers.PerceiverConfig(**ENCODER)
    with pytest.raises(ValueError, match=r"PerceiverModel is no model that can be read; known = \['PerceiverFor"):
        from_transformers(transformers.PerceiverModel(config))
    for numerics in ("transformers", "original"):
        with pytest.raises(ValueError, match=r"hidden_act 'relu' has no counterpart; known = \['gelu'"):
            from_transformers(FAMILIES["text"]().model(hidden_act="relu"), numerics=numerics)


def test_subclasses_are_read() -> None:
    class Mine(transformers.PerceiverForMaskedLM):
        pass

    family = FAMILIES["text"]()
    hf_model = Mine(transformers.PerceiverConfig(**{**ENCODER, **family.fields}))
    assert config_from_transformers(hf_model) == config_from_transformers(family.model())
