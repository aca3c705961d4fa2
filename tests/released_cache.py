"""A cache laid out as the Hub's, with small models of the released families, written by `transformers` itself."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hf_families import ENCODER, shake

transformers = pytest.importorskip("transformers")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Class of `transformers`, and what makes it small, by the repository that holds the released one.
RELEASED: dict[str, tuple[str, dict[str, Any]]] = {
    "deepmind/language-perceiver": ("MaskedLM", {"d_model": 16, "max_position_embeddings": 64}),
    "deepmind/vision-perceiver-fourier": ("ImageClassificationFourier", {"num_labels": 1000}),
    "deepmind/vision-perceiver-learned": ("ImageClassificationLearned", {"num_labels": 1000, "image_size": 224}),
    "deepmind/vision-perceiver-conv": ("ImageClassificationConvProcessing", {"num_labels": 1000}),
    "deepmind/optical-flow-perceiver": ("OpticalFlow", {"train_size": [24, 32]}),
    "deepmind/multimodal-perceiver": (
        "MultimodalAutoencoding",
        {
            "num_frames": 2,
            "audio_samples_per_frame": 32,
            "samples_per_patch": 16,
            "image_size": 3,
            "output_shape": [1, 2, 12, 12],
            "output_num_channels": 9,
            "_label_trainable_num_channels": 6,
            "num_labels": 700,
        },
    ),
}


def hf_model(repo_id: str) -> Any:
    """Return the small model of `transformers` that stands for a released one, its weights random."""
    name, fields = RELEASED[repo_id]
    torch.manual_seed(0)
    model = getattr(transformers, f"PerceiverFor{name}")(
        transformers.PerceiverConfig(**{**ENCODER, "num_cross_attention_heads": 1, **fields})
    ).eval()
    shake(model)
    return model


def fill_cache(cache: Path) -> None:
    """Write all of them into the cache."""
    for repo_id in RELEASED:
        repository = cache / ("models--" + repo_id.replace("/", "--"))
        hf_model(repo_id).save_pretrained(repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
