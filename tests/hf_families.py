"""Small models of `transformers`, one of each kind, and what to ask of them and of their copies here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from perceivers.adapters.flow import neighbourhoods
from perceivers.model import PerceiverIO

transformers = pytest.importorskip("transformers")
modeling = transformers.models.perceiver.modeling_perceiver

ENCODER = {
    "num_latents": 5,
    "d_latents": 12,
    "num_blocks": 3,
    "num_self_attends_per_block": 2,
    "num_self_attention_heads": 3,
    "num_cross_attention_heads": 2,
    "self_attention_widening_factor": 2,
    "cross_attention_widening_factor": 3,
    "num_labels": 7,
}
GENERATOR = torch.Generator()


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=GENERATOR, dtype=torch.float64)


def integers(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=GENERATOR)


@dataclass
class Family:
    """A small model of the port, and one input for both sides."""

    class_name: str
    fields: dict[str, Any]
    batch: dict[str, Any]
    inputs: dict[str, Any]
    where: Any = None

    def model(self, **fields: Any) -> Any:
        """Return the port's model with all weights random, none of them the same."""
        config = transformers.PerceiverConfig(**{**ENCODER, **self.fields, **fields})
        torch.manual_seed(2)
        model = getattr(transformers, self.class_name)(config).eval()
        shake(model)
        return model

    def ask(self, model: PerceiverIO) -> dict[str, Tensor]:
        """Return our answers under the port's names."""
        batch = {name: cast(value, model) for name, value in self.batch.items()}
        answers = model.decode(model.encode(batch), where=self.where)
        if not isinstance(answers, dict):
            return {"logits": answers}
        return {"audio": answers["audio"].flatten(1), "image": answers["video"], "label": answers["label"][:, 0]}

    def ask_port(self, hf_model: Any) -> dict[str, Tensor]:
        """Return the port's answers."""
        inputs = {name: cast(value, hf_model) for name, value in self.inputs.items()}
        logits = hf_model(**inputs).logits
        logits = logits if isinstance(logits, dict) else {"logits": logits}
        # The port answers for all positions that a text could have.
        length = self.batch["input_ids"].shape[1] if self.class_name == "PerceiverForMaskedLM" else None
        return {name: value[:, :length] for name, value in logits.items()}


def shake(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
                tensor.add_(noise / 4 if name.endswith("var") else (noise - 0.5) / 2)
            else:
                tensor.fill_(3)


def cast(value: Any, model: nn.Module) -> Any:
    if isinstance(value, dict):
        return {name: cast(part, model) for name, part in value.items()}
    dtype = next(model.parameters()).dtype
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def text(class_name: str, **fields: Any) -> Family:
    GENERATOR.manual_seed(0)
    ids = integers(20, 3, 9)
    keep_mask = torch.ones(3, 9, dtype=torch.bool)
    keep_mask[1, 6:] = False
    keep_mask[2, 1:] = False
    return Family(
        class_name,
        {"d_model": 16, "vocab_size": 20, "max_position_embeddings": 11, **fields},
        {"input_ids": ids, "keep_mask": keep_mask},
        {"inputs": ids, "attention_mask": keep_mask.long()},
    )


def image(class_name: str, height: int, width: int, **fields: Any) -> Family:
    GENERATOR.manual_seed(0)
    pixels = uniform(2, height, width, 3)
    mean, std = (torch.tensor(values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    normalised = rearrange((pixels - mean) / std, "b h w c -> b c h w")
    return Family(class_name, fields, {"image": pixels}, {"inputs": normalised})


def flow() -> Family:
    GENERATOR.manual_seed(0)
    frames = uniform(2, 2, 6, 9, 3)
    patches = rearrange(neighbourhoods(frames * 2 - 1, 3), "b t h w c -> b t c h w")
    return Family("PerceiverForOpticalFlow", {"train_size": [6, 9]}, {"frames": frames}, {"inputs": patches})


def multimodal() -> Family:
    GENERATOR.manual_seed(0)
    video, audio = uniform(2, 3, 12, 12, 3), uniform(2, 60) * 2 - 1
    where = {"audio": integers(12, 5), "video": integers(3 * 10 * 8, 31), "label": torch.tensor([0])}
    inputs = {
        "image": rearrange(video, "b t h w c -> b t c h w"),
        "audio": audio[..., None],
        "label": torch.zeros(2, 7, dtype=torch.float64),
    }
    points = {"image": where["video"], "audio": where["audio"], "label": None}
    return Family(
        "PerceiverForMultimodalAutoencoding",
        {
            "num_frames": 3,
            "audio_samples_per_frame": 20,
            "samples_per_patch": 5,
            "image_size": 3,
            "output_shape": [1, 3, 10, 8],
            "output_num_channels": 9,
            "_label_trainable_num_channels": 6,
        },
        {"video": video, "audio": audio},
        {"inputs": inputs, "subsampled_output_points": points},
        where,
    )


CLASSIFIER = "PerceiverForImageClassification"
FAMILIES: dict[str, Callable[[], Family]] = {
    "text": lambda: text("PerceiverForMaskedLM", qk_channels=6, v_channels=12),
    "text-plain": lambda: text("PerceiverForMaskedLM", cross_attention_shape_for_attention="q"),
    "text-classes": lambda: text("PerceiverForSequenceClassification", use_query_residual=False),
    "image-pixels": lambda: image(f"{CLASSIFIER}Fourier", 5, 8, cross_attention_shape_for_attention="q"),
    "image-conv1x1": lambda: image(f"{CLASSIFIER}Learned", 6, 6, image_size=6),
    "image-conv": lambda: image(f"{CLASSIFIER}ConvProcessing", 21, 28, cross_attention_shape_for_attention="q"),
    "flow": flow,
    "multimodal": multimodal,
}
