"""Video with sound and label, auto-encoded."""

from dataclasses import dataclass, replace

from perceivers.adapters.audio import AudioInputConfig, AudioOutputConfig
from perceivers.adapters.image import GridQueryConfig, PixelOutputConfig
from perceivers.adapters.label import LabelInputConfig, LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.multimodal import MultimodalInputConfig, MultimodalOutputConfig, MultimodalQueryConfig
from perceivers.adapters.video import VideoInputConfig, VideoOutputConfig
from perceivers.config import override
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.zoo.spec import ZOO, Spec, add_mini


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """What a window of a clip looks like.

    Args:
        num_frames: Frames.
        side: Height and width of a frame.
        num_samples: Samples of sound.
        num_classes: Labels.
    """

    num_frames: int
    side: int
    num_samples: int
    num_classes: int


_SAMPLES_PER_PATCH, _BLOCK = 16, 4


def _autoencoder(
    clip: _Clip,
    encoder: EncoderConfig,
    decoder: CrossAttentionDecoderConfig,
    *,
    bands: tuple[int, int],
    label_channels: int,
    hides: tuple[float, ...],
    answers_blocks: bool = False,
) -> PerceiverConfig:
    """Return a model that auto-encodes such windows.

    Args:
        clip: The windows.
        encoder: The latents.
        decoder: What answers.
        bands: Frequencies of positions in frames, and in sound.
        label_channels: Width of the label's query.
        hides: The share of audio, video and label that is hidden.
        answers_blocks: Ask for blocks of pixels, of values around 0, and not for each pixel.
    """
    side = clip.side // _BLOCK if answers_blocks else clip.side
    half = (0.5,) if answers_blocks else None

    def frames(*, endpoint: bool) -> FourierPositionConfig:
        resolution = (clip.num_frames, clip.side // _BLOCK, clip.side // _BLOCK)
        return FourierPositionConfig(num_bands=bands[0], max_resolution=resolution, endpoint=endpoint)

    def sound(*, endpoint: bool) -> FourierPositionConfig:
        return FourierPositionConfig(num_bands=bands[1], max_resolution=(clip.num_samples,), endpoint=endpoint)

    return PerceiverConfig(
        inputs=MultimodalInputConfig(
            inputs={
                "audio": AudioInputConfig(
                    num_samples=clip.num_samples,
                    samples_per_patch=_SAMPLES_PER_PATCH,
                    positioned=PositionedConfig(positions=sound(endpoint=True)),
                ),
                "video": VideoInputConfig(
                    num_frames=clip.num_frames,
                    image_size=(clip.side, clip.side),
                    mean=half or (0.0,),
                    std=half or (1.0,),
                    positioned=PositionedConfig(positions=frames(endpoint=True)),
                ),
                "label": LabelInputConfig(num_classes=clip.num_classes),
            },
            mask_probabilities=dict(zip(("audio", "video", "label"), hides, strict=True)),
        ),
        encoder=encoder,
        # The original asks for single positions only, and those it counts without the end of the axis.
        queries=MultimodalQueryConfig(
            queries={
                "audio": GridQueryConfig(
                    grid_shape=(clip.num_samples // _SAMPLES_PER_PATCH,), positions=sound(endpoint=False)
                ),
                "video": GridQueryConfig(grid_shape=(clip.num_frames, side, side), positions=frames(endpoint=False)),
                "label": LearnedQueryConfig(num_channels=label_channels),
            }
        ),
        decoder=decoder,
        outputs=MultimodalOutputConfig(
            outputs={
                "audio": AudioOutputConfig(samples_per_patch=_SAMPLES_PER_PATCH),
                "video": VideoOutputConfig(patch_size=_BLOCK) if answers_blocks else PixelOutputConfig(),
                "label": LabelOutputConfig(num_classes=clip.num_classes),
            }
        ),
    )


ZOO.add(
    "video-autoencoding",
    Spec(
        name="video-autoencoding",
        task="video-autoencoding",
        summary="Video, sound and label of Kinetics-700 into 784 latents and back",
        licence="CC BY 4.0",
        hub_id="deepmind/multimodal-perceiver",
        labels="kinetics700",
        config=_autoencoder(
            _Clip(num_frames=16, side=224, num_samples=30720, num_classes=700),
            EncoderConfig(
                num_latents=784,
                latent_channels=512,
                num_blocks=1,
                num_layers_per_block=8,
                num_cross_heads=1,
                num_self_heads=8,
            ),
            CrossAttentionDecoderConfig(num_heads=1, final_channels=512),
            bands=(32, 192),
            label_channels=1024,
            hides=(0.0, 0.0, 1.0),
        ),
    ),
)

ZOO.add(
    "video-autoencoding-small",
    Spec(
        name="video-autoencoding-small",
        task="video-autoencoding",
        summary="Video of 8 frames of 48x48 pixels, sound at 16 kHz and label, auto-encoded, sized for a CPU",
        config=_autoencoder(
            _Clip(num_frames=8, side=48, num_samples=5120, num_classes=10),
            EncoderConfig(
                num_latents=128,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=4,
                num_cross_heads=1,
                num_self_heads=4,
            ),
            CrossAttentionDecoderConfig(num_heads=1, final_channels=128),
            bands=(12, 48),
            label_channels=128,
            hides=(0.0, 0.0, 0.5),
        ),
    ),
)

ZOO.add(
    "clips-small",
    Spec(
        name="clips-small",
        task="video-autoencoding",
        summary="Video of 8 frames of 32x32 pixels, sound at 2 kHz and label, auto-encoded, sized for a CPU",
        config=_autoencoder(
            _Clip(num_frames=8, side=32, num_samples=2048, num_classes=4),
            EncoderConfig(
                num_latents=32,
                latent_channels=96,
                num_blocks=1,
                num_layers_per_block=1,
                num_cross_heads=4,
                num_self_heads=4,
                qk_channels=96,
                v_channels=96,
            ),
            # The place itself is added to what it reads there: edges are where a code and a place meet.
            CrossAttentionDecoderConfig(
                num_heads=4, qk_channels=96, v_channels=96, widening_factor=4, query_residual=True, final_channels=96
            ),
            bands=(8, 32),
            label_channels=96,
            hides=(0.0, 0.0, 0.5),
            answers_blocks=True,
        ),
    ),
)

ZOO.add(
    "clips-short-code",
    replace(
        ZOO["clips-small"],
        name="clips-short-code",
        summary="The model of clips with a code of 8 x 16 numbers, sized for a CPU",
        config=override(ZOO["clips-small"].config, {"encoder.num_latents": 8, "encoder.latent_channels": 16}),
    ),
)

add_mini(
    "video-mini",
    "clips-short-code",
    "Clips of 8 frames of 32x32 pixels with sound and label, through 128 numbers and back",
    licence="Apache-2.0",
)
