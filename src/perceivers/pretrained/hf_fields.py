"""The fields of a Perceiver's `config.json` in the layout of `transformers`: what they are when absent, what fits."""

from typing import Any

MODEL_TYPE = "perceiver"

# What a field is when the file does not name it.
DEFAULTS: dict[str, Any] = {
    "num_latents": 256,
    "d_latents": 1280,
    "d_model": 768,
    "num_blocks": 1,
    "num_self_attends_per_block": 26,
    "num_self_attention_heads": 8,
    "num_cross_attention_heads": 8,
    "qk_channels": None,
    "v_channels": None,
    "cross_attention_shape_for_attention": "kv",
    "self_attention_widening_factor": 1,
    "cross_attention_widening_factor": 1,
    "hidden_act": "gelu",
    "attention_probs_dropout_prob": 0.1,
    "use_query_residual": True,
    "vocab_size": 262,
    "max_position_embeddings": 2048,
    "image_size": 56,
    "train_size": [368, 496],
    "num_frames": 16,
    "audio_samples_per_frame": 1920,
    "samples_per_patch": 16,
    "output_shape": [1, 16, 224, 224],
    "output_num_channels": 512,
    "_label_trainable_num_channels": 1024,
    "num_labels": 2,
}

# Which side gives the cross-attention's default width.
_SHAPES = ("q", "kv")
# Whole numbers beyond this are no sizes.
_MAX_SIZE = 2**31


def is_like(value: Any, default: Any) -> bool:
    """Return whether `value` has the type of a field's default, and sizes are positive and of this world."""
    if default is None:
        return value is None or _is_size(value)
    if isinstance(default, list):
        return isinstance(value, list) and len(value) == len(default) and all(_is_size(item) for item in value)
    if isinstance(default, float):
        return type(value) in (int, float) and 0 <= value < 1
    if isinstance(default, bool):
        # Old files say 1 and 0.
        return type(value) in (int, bool) and value in (0, 1)
    if default in _SHAPES:
        return value in _SHAPES
    return _is_size(value) if type(default) is int else type(value) is type(default)


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value < _MAX_SIZE


def placeholders(count: int) -> tuple[str, ...]:
    """Return the names of outputs of which nobody said what they mean."""
    return tuple(f"LABEL_{i}" for i in range(count))
