"""Configs of the original's golden runs, and the reader of their files.

The weight fill and the reader restate the rules that the golden files were made by; see
`tests/goldens/README.md`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perceivers.adapters import InputConfig
from perceivers.adapters.audio import AudioInputConfig, AudioOutputConfig
from perceivers.adapters.flow import FlowInputConfig, FlowOutputConfig, TokenQueryConfig
from perceivers.adapters.image import (
    Conv1x1InputConfig,
    ConvInputConfig,
    GridQueryConfig,
    PatchInputConfig,
    PixelInputConfig,
    PixelOutputConfig,
)
from perceivers.adapters.label import LabelInputConfig, LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.multimodal import MultimodalInputConfig, MultimodalOutputConfig, MultimodalQueryConfig
from perceivers.adapters.text import TextInputConfig, TextOutputConfig, TextQueryConfig
from perceivers.adapters.video import VideoInputConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, LearnedPositionConfig, PositionConfig, PositionedConfig

Json = dict[str, Any]

# Ours and the original's names.
_MODALITIES = {"audio": "audio", "video": "image", "label": "label"}

GOLDENS = Path(__file__).parent / "goldens"
# Full-size files are too large for the repository; where they exist, they lie beside it.
FULL_SIZE_GOLDENS = Path(__file__).resolve().parents[2] / "shared" / "goldens" / "golden"

# Largest difference, relative to the root mean square of the float64 truth. The smallest known
# mistake (the exact GELU instead of the original's approximation) is 20 times the float32 bound.
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-9}
GRADIENT_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
STATE_TOLERANCE = 1e-5


class Golden:
    """One golden file: recipe, inputs, filled weights and expected values."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {name: archive[name] for name in archive.files}
        self.recipe: Json = json.loads(str(self.arrays["recipe"]))
        self.noise: dict[str, float] = json.loads(str(self.arrays["f64_noise"]))

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters and state under the original's names."""
        names = {**self.recipe["params"], **self.recipe["state"]}
        return {name: fill(name, shape) for name, shape in names.items()}

    def inputs(self) -> dict[str, np.ndarray]:
        """Inputs by name, their checksums verified."""
        made = {spec["name"]: make_input(spec) for spec in self.recipe["inputs"]}
        for name, array in made.items():
            digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
            assert digest == self.recipe["input_sha256_16"][name], name
        return made

    def grad_norms(self) -> dict[str, float]:
        """Norm of each parameter's gradient under the original's names, in float64."""
        return json.loads(str(self.arrays["f64/grad_norms"]))

    def error(self, key: str, ours: torch.Tensor, *, truth: bool = False) -> float:
        """Largest difference to the expected value, relative to its root mean square."""
        prefix = "f64/" if truth else ""
        shape = tuple(int(n) for n in self.arrays[f"{key}#shape"]) if f"{key}#shape" in self.arrays else None
        flat = ours.detach().double().numpy().reshape(-1)
        if key in self.arrays:
            expected = self.arrays[prefix + key]
            shape = shape or expected.shape
        else:
            expected = self.arrays[f"{prefix}{key}#val"]
            flat = flat[self.arrays[f"{key}#idx"]]
        assert tuple(ours.shape) == shape, (key, ours.shape, shape)
        expected = expected.astype(np.float64).reshape(-1)
        return float(np.abs(flat - expected).max() / max(np.sqrt((expected**2).mean()), 1e-30))


def assert_matches_golden(
    golden: Golden, ours: Mapping[str, torch.Tensor], *, tolerance: float, truth: bool = True
) -> None:
    """Compare tensors by golden key, and name every one that is off.

    Args:
        golden: What to compare with.
        ours: Golden key -> our value.
        tolerance: Largest difference relative to the root mean square of the expected values.
        truth: Compare with the float64 run, not the float32 one, whose own noise is then allowed for.
    """
    allowed = {key: tolerance if truth else tolerance + golden.noise[key] for key in ours}
    errors = {key: golden.error(key, value, truth=truth) for key, value in ours.items()}
    # NaN compares as false: `not <=` catches it.
    off = {key: f"{error:.1e} > {allowed[key]:.1e}" for key, error in errors.items() if not error <= allowed[key]}
    assert not off, off


def primitive(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one building block, with its filled weights under `weights/<name>`."""
    with np.load(GOLDENS / "primitives.npz", allow_pickle=False) as archive:
        arrays = {key.removeprefix(f"{name}/"): archive[key] for key in archive.files if key.startswith(f"{name}/")}
        meta = json.loads(str(archive["meta"])).get(name, {})
    shapes = {**meta.get("params", {}), **meta.get("state", {})}
    return arrays | {f"weights/{key}": fill(key, shape) for key, shape in shapes.items()}


def fill(name: str, shape: list[int]) -> np.ndarray:
    """Return the deterministic weight called `name`."""
    module, leaf = name.rsplit("/", 1)
    if leaf == "counter":
        return np.full(shape, 7, dtype=np.int32)
    seed_name = re.sub(r"/hidden$", "/average", name)
    seed = int.from_bytes(hashlib.sha256(seed_name.encode()).digest()[:8], "little")
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape), dtype=np.float32)
    if leaf in ("hidden", "average"):
        if module.endswith("mean_ema"):
            return noise * np.float32(0.1)
        return np.float32(1) + np.abs(noise) * np.float32(0.1)
    if leaf == "w":
        gain = 1.5 if re.search(r"(^|/)attention/linear(_1)?$", module) else 1.0
        return noise * np.float32(gain / float(np.sqrt(int(np.prod(shape[:-1], dtype=np.int64)))))
    if leaf in ("b", "bias", "offset"):
        return noise * np.float32(0.02)
    if leaf == "scale":
        return np.float32(1) + noise * np.float32(0.1)
    if leaf in ("pos_embs", "embeddings"):
        return noise * np.float32(0.1)
    raise KeyError(name)


def make_input(spec: Json) -> np.ndarray:
    """Build one input from its recipe."""
    kind = spec["kind"]
    if kind in ("text_tokens", "text_mask"):
        ids = np.frombuffer(spec["text"].encode(), np.uint8).astype(np.int32) + 6
        for start, stop in spec.get("mask_spans", []):
            ids[start:stop] = 3
        row = np.zeros((1, spec["length"]), np.int32)
        row[0, : len(ids)] = ids if kind == "text_tokens" else 1
        more = [make_input({"kind": kind, "length": spec["length"], **extra}) for extra in spec.get("extra_rows", [])]
        return np.concatenate([row, *more])
    if kind == "arange":
        return np.arange(spec["start"], spec["stop"], dtype=np.int32)
    if kind == "indices":
        return np.array(spec["values"], dtype=np.int32)
    generator = np.random.Generator(np.random.PCG64(spec["seed"]))
    shape = tuple(spec["shape"])
    if kind == "normal":
        return generator.standard_normal(shape, dtype=np.float32)
    if kind == "uniform01":
        return generator.random(shape, dtype=np.float32)
    if kind == "uniform11":
        return generator.random(shape, dtype=np.float32) * 2 - 1
    raise KeyError(kind)


def batch_of(golden: Golden, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the golden's inputs as one of our batches."""
    inputs = golden.inputs()
    if golden.recipe["family"] == "flow":
        return {"frames": torch.from_numpy(inputs["images"]).to(dtype)}
    if golden.recipe["family"] == "video":
        video, audio = (torch.from_numpy(inputs[name]).to(dtype) for name in ("images", "audio"))
        return {"video": video, "audio": audio[..., 0]}
    if "images" in inputs:
        return {"image": torch.from_numpy(inputs["images"]).to(dtype)}
    return {
        "input_ids": torch.from_numpy(inputs["inputs"]).long(),
        "keep_mask": torch.from_numpy(inputs["input_mask"]).bool(),
    }


def where_of(golden: Golden) -> dict[str, torch.Tensor] | None:
    """Return which outputs the golden asks for; `None` asks for all."""
    if golden.recipe["family"] != "video":
        return None
    inputs = golden.inputs()
    names = {"audio": "subsampled_audio", "video": "subsampled_image"}
    return {**{ours: torch.from_numpy(inputs[name]).long() for ours, name in names.items()}, "label": torch.tensor([0])}


def outputs_of(answers: Any) -> dict[str, torch.Tensor]:
    """Return what a model answered to `where_of` under the golden's keys and in its form."""
    if isinstance(answers, torch.Tensor):
        return {"out/output": answers}
    return {
        "out/audio": answers["audio"].flatten(1),
        "out/image": answers["video"],
        "out/label": answers["label"][:, 0],
    }


def config_of(recipe: Json) -> PerceiverConfig:
    """Return our config for a golden."""
    config = recipe["config"]
    if recipe["family"] == "mlm":
        return _text(config)
    if recipe["family"] == "flow":
        return _flow(config)
    if recipe["family"] == "video":
        return _video(config, tuple(recipe["inputs"][0]["shape"][2:4]))
    image_size = tuple(recipe["inputs"][0]["shape"][1:3])
    return _image(config, image_size)


def _text(config: Json) -> PerceiverConfig:
    channels, length = config["d_model"], config["max_seq_len"]
    learned = LearnedPositionConfig(num_channels=channels)
    return PerceiverConfig(
        inputs=TextInputConfig(
            max_length=length,
            num_channels=channels,
            positioned=PositionedConfig(positions=learned, combine="add"),
        ),
        encoder=_encoder(config["encoder"]),
        queries=TextQueryConfig(max_length=length, positions=learned),
        decoder=_decoder(config["decoder"]),
        outputs=TextOutputConfig(),
    )


def _image(config: Json, image_size: tuple[int, int]) -> PerceiverConfig:
    decoder = config["decoder"]
    return PerceiverConfig(
        inputs=_image_input(config["input_preprocessor"], image_size),
        encoder=_encoder(config["encoder"]),
        queries=LearnedQueryConfig(num_channels=decoder["query_channels"]),
        decoder=_decoder(decoder),
        outputs=LabelOutputConfig(num_classes=config["num_classes"]),
    )


def _flow(config: Json) -> PerceiverConfig:
    positions = FourierPositionConfig(num_bands=config["num_bands"], max_resolution=tuple(config["max_resolution"]))
    return PerceiverConfig(
        inputs=FlowInputConfig(
            image_size=tuple(config["train_size"]),
            num_channels=config["num_channels"],
            # The golden's frames lie in [-1, 1] already.
            mean=(0.0,),
            std=(1.0,),
            positioned=PositionedConfig(positions=positions),
        ),
        encoder=_encoder(config["encoder"]),
        queries=TokenQueryConfig(),
        decoder=_decoder({"use_query_residual": False, **config["decoder"]}),
        outputs=FlowOutputConfig(scale=config["flow_scale_factor"] / config["rescale_factor"]),
    )


def _video(config: Json, image_size: tuple[int, int]) -> PerceiverConfig:
    frames, samples, per_patch = config["num_frames"], config["audio_samples"], config["samples_per_patch"]

    def image(endpoint: bool) -> FourierPositionConfig:
        resolution = tuple(config["image_res"])
        return FourierPositionConfig(num_bands=config["image_bands"], max_resolution=resolution, endpoint=endpoint)

    def audio(endpoint: bool) -> FourierPositionConfig:
        return FourierPositionConfig(num_bands=config["audio_bands"], max_resolution=(samples,), endpoint=endpoint)

    return PerceiverConfig(
        inputs=MultimodalInputConfig(
            inputs={
                "audio": AudioInputConfig(
                    num_samples=samples, samples_per_patch=per_patch, positioned=PositionedConfig(positions=audio(True))
                ),
                "video": VideoInputConfig(
                    num_frames=frames,
                    image_size=image_size,
                    patch_size=config["spatial_downsample"],
                    num_block_frames=config["temporal_downsample"],
                    positioned=PositionedConfig(positions=image(True)),
                ),
                "label": LabelInputConfig(num_classes=config["num_classes"]),
            },
            mask_probabilities={ours: config["mask_probs"][theirs] for ours, theirs in _MODALITIES.items()},
            min_padding=config["min_padding_size"],
        ),
        encoder=_encoder(config["encoder"]),
        queries=MultimodalQueryConfig(
            queries={
                "audio": GridQueryConfig(grid_shape=(samples // per_patch,), positions=audio(False)),
                "video": GridQueryConfig(grid_shape=(frames, *image_size), positions=image(False)),
                "label": LearnedQueryConfig(num_channels=config["label_query_channels"]),
            },
            min_padding=config["decoder_min_padding_size"],
        ),
        decoder=replace(
            _decoder({"use_query_residual": False, **config["decoder"]}), final_channels=config["output_num_channels"]
        ),
        outputs=MultimodalOutputConfig(
            outputs={
                "audio": AudioOutputConfig(samples_per_patch=per_patch),
                "video": PixelOutputConfig(),
                "label": LabelOutputConfig(num_classes=config["num_classes"]),
            }
        ),
    )


def _encoder(encoder: Json) -> EncoderConfig:
    return EncoderConfig(
        num_latents=encoder["z_index_dim"],
        latent_channels=encoder["num_z_channels"],
        num_blocks=encoder["num_blocks"],
        num_layers_per_block=encoder["num_self_attends_per_block"],
        num_cross_heads=encoder["num_cross_attend_heads"],
        num_self_heads=encoder["num_self_attend_heads"],
        cross_widening_factor=encoder["cross_attend_widening_factor"],
        self_widening_factor=encoder["self_attend_widening_factor"],
        qk_channels=encoder.get("qk_channels"),
        v_channels=encoder.get("v_channels"),
        cross_attention_shape=encoder.get("cross_attention_shape_for_attn", "kv"),
        query_residual=encoder.get("use_query_residual", True),
    )


def _decoder(decoder: Json) -> CrossAttentionDecoderConfig:
    return CrossAttentionDecoderConfig(
        num_heads=decoder.get("num_heads", 1),
        qk_channels=decoder.get("qk_channels"),
        v_channels=decoder.get("v_channels"),
        query_residual=decoder["use_query_residual"],
    )


def _image_input(prep: Json, image_size: tuple[int, int]) -> InputConfig:
    positioned = PositionedConfig(
        positions=_positions(prep),
        project_channels=prep.get("project_pos_dim") if prep.get("project_pos_dim", -1) > 0 else None,
        num_extra_layers=prep.get("n_extra_pos_mlp", 0),
        combine=prep.get("concat_or_add_pos", "concat"),
    )
    common: Json = {"image_size": image_size, "positioned": positioned}
    downsample = prep.get("spatial_downsample", 4 if prep["prep_type"] == "conv" else 1)
    if prep["prep_type"] == "pixels":
        return PixelInputConfig(stride=downsample, **common)
    if prep["prep_type"] == "conv1x1":
        return Conv1x1InputConfig(num_channels=prep["num_channels"], stride=downsample, **common)
    if prep["prep_type"] == "patches":
        width = prep["num_channels"] if prep.get("conv_after_patching") else None
        return PatchInputConfig(patch_size=downsample, num_channels=width, **common)
    return ConvInputConfig(
        num_channels=prep.get("num_channels", 64),
        num_stages=round(np.log(downsample) / np.log(4)),
        use_batch_norm=prep.get("conv2d_use_batchnorm", True),
        **common,
    )


def _positions(prep: Json) -> PositionConfig:
    if prep["position_encoding_type"] == "trainable":
        learned = prep["trainable_position_encoding_kwargs"]
        return LearnedPositionConfig(num_channels=learned["num_channels"], init_scale=learned["init_scale"])
    fourier = prep["fourier_position_encoding_kwargs"]
    return FourierPositionConfig(
        num_bands=fourier["num_bands"],
        max_resolution=tuple(fourier["max_resolution"]) if fourier.get("max_resolution") else None,
        sine_only=fourier.get("sine_only", False),
        concat_positions=fourier.get("concat_pos", True),
    )
