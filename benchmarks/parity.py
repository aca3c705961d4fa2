"""Measure where `transformers` computes otherwise than the original: the table of docs/parity.md.

python benchmarks/parity.py

Small models with random weights (seed 0), in float64 on the CPU; needs `transformers`. A difference is the largest
one, relative to the root mean square of what the original gives.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers.models.perceiver import modeling_perceiver as port

from perceivers.config import override
from perceivers.model import PerceiverIO
from perceivers.processing.image import fit_image
from perceivers.processing.text import ByteTokenizer
from perceivers.zoo import ZOO

SEED = 0
SMALL = {"encoder.num_latents": 32, "encoder.latent_channels": 64, "encoder.num_layers_per_block": 2}
TEXT = {
    **SMALL,
    "inputs.max_length": 64,
    "queries.max_length": 64,
    "encoder.qk_channels": 64,
    "encoder.v_channels": 64,
}


def main() -> None:
    """Print the table."""
    for number, measure in enumerate(MEASURES, start=1):
        torch.manual_seed(SEED)
        print(f"{number:2}. {measure()}")


def small(name: str, changes: Mapping[str, Any]) -> tuple[PerceiverIO, dict[str, Any]]:
    """Return a small sister of a released model, with random weights, and a batch for it."""
    model = PerceiverIO(override(ZOO[name].config, changes)).double().eval()
    fill(model)
    batch = {
        key: value.double() if value.is_floating_point() else value
        for key, value in model.inputs.example_batch(2).items()
    }
    return model, batch


def fill(model: nn.Module) -> None:
    """Give all weights random values of the size that trained ones have."""
    with torch.no_grad():
        for parameter in model.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(torch.randn_like(parameter) * scale + (parameter.dim() == 1) * parameter)


@torch.inference_mode()
def difference(model: PerceiverIO, path: str, value: Any, batch: dict[str, Any]) -> tuple[Tensor, float]:
    """Return the model's own answers, and how far one field of its config moves them."""
    other = PerceiverIO(override(model.config, {path: value})).double().eval()
    other.load_state_dict(model.state_dict())
    answers = model(batch)
    return answers, relative(other(batch), answers)


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference in units of the root mean square."""
    return float((found - expected).abs().max() / expected.square().mean().sqrt())


def gelu() -> str:
    """Form of the GELU, in encoder and decoder."""
    model, batch = small("image-fourier", {**SMALL, "queries.num_channels": 64, "inputs.image_size": [32, 32]})
    _, moved = difference(model, "encoder.activation", "gelu_erf", batch)
    return f"GELU: erf instead of tanh in the encoder moves the logits by {moved:.1e}"


def query_residual() -> str:
    """Learned positions: the query is added to what it reads."""
    changes = {**SMALL, "queries.num_channels": 64, "inputs.image_size": [32, 32]}
    model, batch = small("image-learned", changes)
    _, moved = difference(model, "decoder.query_residual", True, batch)
    return f"query residual of the classifier with learned positions: {moved:.1e}"


def padding() -> str:
    """Convolution and pooling at the edges."""
    model, batch = small("image-conv", {**SMALL, "queries.num_channels": 64})
    _, moved = difference(model, "inputs.same_padding", False, batch)
    grids = [
        PerceiverIO(override(model.config, {"inputs.same_padding": same})).inputs.grid_shape for same in (True, False)
    ]
    return f"padding of the convolution: {moved:.1e}, grid {grids[0]} instead of {grids[1]} in the port"


def query_mask() -> str:
    """Answers for padding."""
    model, batch = small("language", TEXT)
    keep_mask = torch.ones_like(batch["input_ids"], dtype=torch.bool)
    keep_mask[1, 20:] = False
    batch = {**batch, "keep_mask": keep_mask}
    other = PerceiverIO(override(model.config, {"queries.mask_padding": False})).double().eval()
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        ours, theirs = model(batch), other(batch)
    shown, padded = relative(theirs[keep_mask], ours[keep_mask]), relative(theirs[~keep_mask], ours[~keep_mask])
    return f"query mask of the language model: padded rows move by {padded:.1e}, others by {shown:.1e}"


def flow_scale() -> str:
    """The factor on the flow."""
    changes = {**SMALL, "inputs.image_size": [16, 24], "encoder.num_self_heads": 4}
    model, batch = small("optical-flow", changes)
    answers, _ = difference(model, "outputs.scale", 1 / 100, batch)
    other = PerceiverIO(override(model.config, {"outputs.scale": 1 / 100})).double().eval()
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        ratio = answers / other(batch)
    return f"scale of the flow: the port's is smaller by {float(ratio.mean()):.6g}"


def all_outputs() -> str:
    """The multimodal model asked for everything."""
    fields: dict[str, Any] = {
        "num_latents": 8,
        "d_latents": 32,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 4,
        "num_cross_attention_heads": 1,
        "num_labels": 5,
        "num_frames": 2,
        "audio_samples_per_frame": 32,
        "samples_per_patch": 16,
        "image_size": 4,
        "output_shape": [1, 2, 16, 16],
    }
    config = transformers.PerceiverConfig(**fields)
    model = port.PerceiverForMultimodalAutoencoding(config).eval()
    inputs = {"image": torch.rand(1, 2, 3, 16, 16), "audio": torch.rand(1, 64, 1), "label": torch.zeros(1, 5)}
    try:
        with torch.inference_mode():
            logits = model(inputs=inputs).logits
    except (RuntimeError, ValueError, IndexError) as error:
        return f"multimodal decoding of everything: the port fails ({str(error).splitlines()[0][:90]})"
    return f"multimodal decoding of everything: the port gives { ({key: tuple(x.shape) for key, x in logits.items()}) }"


def stride() -> str:
    """Pixels with a stride."""
    preprocessor = port.PerceiverImagePreprocessor(
        transformers.PerceiverConfig(), prep_type="pixels", spatial_downsample=2, in_channels=3,
        fourier_position_encoding_kwargs={"num_bands": 2, "max_resolution": [4, 4], "concat_pos": True},
    )  # fmt: skip
    with torch.inference_mode():
        tokens = preprocessor(torch.rand(2, 3, 8, 8))[0]
    return (
        f"pixels with a stride of 2: from two images of 8 x 8 the port makes {len(tokens)} x {tokens.shape[1]} tokens, "
        "the original 2 x 16"
    )


def positions() -> str:
    """Positions that the user gives."""
    encoding = port.PerceiverFourierPositionEncoding(num_bands=2, max_resolution=[4], concat_pos=True)
    given = torch.rand(2, 4, 1)
    found = encoding(index_dims=[4], batch_size=2, device=torch.device("cpu"), dtype=torch.float32, pos=given)
    # The first feature is the position itself; the sines and cosines follow.
    equal = bool(torch.equal(found[0, :, 1:], found[1, :, 1:]))
    apart = float((given[0] - given[1]).abs().max())
    return f"given positions: two rows that are {apart:.2f} apart have equal sines and cosines in the port: {equal}"


def preparation() -> str:
    """Special tokens, and resizing."""
    ids = transformers.PerceiverTokenizer()("It was the best of times.")["input_ids"]
    ours = ByteTokenizer().encode("It was the best of times.")
    noise = np.random.default_rng(SEED).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    pillow, opencv = (
        fit_image(noise, (224, 224), 3, how="center", interpolation=how).astype(float) for how in ("pillow", "opencv")
    )
    return (
        f"tokenizer: {len(ids)} ids instead of {len(ours)}; resizing noise of 300 x 400: mean difference of "
        f"{np.abs(pillow - opencv).mean():.1f} of 255"
    )


def empty_rows() -> str:
    """A text that is masked as a whole, and dropout."""
    model, batch = small("language", TEXT)
    keep_mask = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    masked = PerceiverIO(override(model.config, {"queries.mask_padding": False})).double().eval()
    masked.load_state_dict(model.state_dict())
    _, moved = difference(masked, "encoder.empty_rows", "mean", {**batch, "keep_mask": keep_mask})
    dropout = transformers.PerceiverConfig().attention_probs_dropout_prob
    return f"a text that is masked as a whole: {moved:.1e}; attention dropout while training: {dropout} instead of 0"


def initial_weights() -> str:
    """What weights start from."""
    fields: dict[str, Any] = {
        "num_latents": 8,
        "d_latents": 256,
        "num_self_attends_per_block": 1,
        "num_cross_attention_heads": 1,
    }
    theirs = port.PerceiverForImageClassificationFourier(transformers.PerceiverConfig(**fields))
    changes = {"encoder.num_latents": 8, "encoder.latent_channels": 256, "encoder.num_layers_per_block": 1}
    ours = PerceiverIO(override(ZOO["image-fourier"].config, {**changes, "queries.num_channels": 256}))
    weight = theirs.state_dict()["perceiver.encoder.self_attends.0.attention.self.query.weight"]
    mine = ours.state_dict()["encoder.blocks.0.0.attention.query.weight"]
    return (
        f"deviation of a query weight with 256 inputs: {float(weight.std()):.4f} in the port, {float(mine.std()):.4f} "
        f"here (1/sqrt(256) = {256**-0.5:.4f})"
    )


def rounding() -> str:
    """Fourier positions: built in float64, or in float32."""
    changes = {**SMALL, "encoder.num_self_heads": 8}
    model, batch = small("video-autoencoding", changes)
    places = (
        *("inputs.inputs.audio.positioned.positions", "inputs.inputs.video.positioned.positions"),
        *("queries.queries.audio.positions", "queries.queries.video.positions"),
    )
    rounded = PerceiverIO(override(model.config, {f"{place}.precision": "float32" for place in places}))
    rounded.double().eval().load_state_dict(model.state_dict())
    where = {"audio": torch.arange(0, 1920, 7), "video": torch.arange(0, 802816, 997), "label": torch.tensor([0])}
    with torch.no_grad():
        expected, got = (one.decode(one.encode(batch), where=where) for one in (model, rounded))
    moved = {name: relative(got[name], expected[name]) for name in expected}
    return f"rounding of positions in float32: {', '.join(f'{name} {value:.1e}' for name, value in moved.items())}"


MEASURES: tuple[Callable[[], str], ...] = (
    gelu,
    query_residual,
    padding,
    query_mask,
    flow_scale,
    all_outputs,
    stride,
    positions,
    preparation,
    empty_rows,
    initial_weights,
    rounding,
)

if __name__ == "__main__":
    main()
