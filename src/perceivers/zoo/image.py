"""Image classifiers."""

from perceivers.adapters import InputConfig
from perceivers.adapters.image import Conv1x1InputConfig, ConvInputConfig, PatchInputConfig, PixelInputConfig
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig, NoQueryConfig
from perceivers.decoders import AverageDecoderConfig, CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, LearnedPositionConfig, PositionedConfig
from perceivers.zoo.citations import PERCEIVER, PERCEIVER_BIBTEX
from perceivers.zoo.spec import ZOO, Spec, add_mini

# Channel statistics of ImageNet, for values in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

# How the original prepares an image before it asks its classifiers.
_ORIGINAL_EVALUATION = {"fit": "center", "interpolation": "opencv"}

_IMAGENET_ENCODER = EncoderConfig(
    num_latents=512,
    latent_channels=1024,
    num_blocks=8,
    num_layers_per_block=6,
    num_cross_heads=1,
    num_self_heads=8,
)


def _fourier(resolution: int, num_bands: int = 64) -> PositionedConfig:
    positions = FourierPositionConfig(num_bands=num_bands, max_resolution=(resolution, resolution))
    return PositionedConfig(positions=positions)


def _imagenet(inputs: InputConfig, *, query_residual: bool) -> PerceiverConfig:
    return PerceiverConfig(
        inputs=inputs,
        encoder=_IMAGENET_ENCODER,
        queries=LearnedQueryConfig(num_channels=1024),
        decoder=CrossAttentionDecoderConfig(num_heads=1, query_residual=query_residual),
        outputs=LabelOutputConfig(num_classes=1000),
    )


ZOO.add(
    "image-fourier",
    Spec(
        name="image-fourier",
        task="image-classification",
        summary="ImageNet from raw pixels with Fourier positions",
        licence="CC BY 4.0",
        hub_id="deepmind/vision-perceiver-fourier",
        labels="imagenet1k",
        settings=_ORIGINAL_EVALUATION,
        config=_imagenet(
            PixelInputConfig(image_size=(224, 224), mean=_MEAN, std=_STD, positioned=_fourier(224)),
            query_residual=True,
        ),
    ),
)

ZOO.add(
    "image-learned",
    Spec(
        name="image-learned",
        task="image-classification",
        summary="ImageNet from a 1x1 convolution with learned positions: no knowledge of two dimensions",
        licence="CC BY 4.0",
        hub_id="deepmind/vision-perceiver-learned",
        labels="imagenet1k",
        settings=_ORIGINAL_EVALUATION,
        config=_imagenet(
            Conv1x1InputConfig(
                image_size=(224, 224),
                mean=_MEAN,
                std=_STD,
                num_channels=256,
                positioned=PositionedConfig(positions=LearnedPositionConfig(num_channels=256), project_channels=256),
            ),
            query_residual=False,
        ),
    ),
)

ZOO.add(
    "image-conv",
    Spec(
        name="image-conv",
        task="image-classification",
        summary="ImageNet from a convolution and max-pooling with Fourier positions",
        licence="CC BY 4.0",
        hub_id="deepmind/vision-perceiver-conv",
        labels="imagenet1k",
        settings=_ORIGINAL_EVALUATION,
        config=_imagenet(
            ConvInputConfig(image_size=(224, 224), mean=_MEAN, std=_STD, num_channels=64, positioned=_fourier(56)),
            query_residual=True,
        ),
    ),
)

_SMALL_ENCODER = EncoderConfig(
    num_latents=32,
    latent_channels=96,
    num_blocks=2,
    num_layers_per_block=3,
    num_cross_heads=1,
    num_self_heads=4,
    self_widening_factor=2,
)


def _small(inputs: InputConfig) -> PerceiverConfig:
    return PerceiverConfig(
        inputs=inputs,
        encoder=_SMALL_ENCODER,
        queries=LearnedQueryConfig(num_channels=96),
        decoder=CrossAttentionDecoderConfig(num_heads=4, query_residual=True),
        outputs=LabelOutputConfig(num_classes=10),
    )


ZOO.add(
    "image-small",
    Spec(
        name="image-small",
        task="image-classification",
        summary="Classifier for 64x64 images in 4x4 patches, sized for a CPU",
        config=_small(
            PatchInputConfig(
                image_size=(64, 64),
                patch_size=4,
                num_channels=64,
                mean=(0.5,),
                std=(0.25,),
                positioned=_fourier(16, num_bands=8),
            )
        ),
    ),
)

ZOO.add(
    "image-conv-small",
    Spec(
        name="image-conv-small",
        task="image-classification",
        summary="Classifier for 64x64 images from a convolution and max-pooling, sized for a CPU",
        config=_small(
            ConvInputConfig(
                image_size=(64, 64),
                num_channels=64,
                mean=(0.5,),
                std=(0.25,),
                positioned=_fourier(16, num_bands=8),
            )
        ),
    ),
)

add_mini(
    "image-mini",
    "image-conv-small",
    "Land use in satellite images of 64x64 pixels: ten classes of EuroSAT",
    licence="MIT",
)

ZOO.add(
    "digits-small",
    Spec(
        name="digits-small",
        task="image-classification",
        summary="Classifier for 8x8 grey digits in 2x2 patches, trained in a minute",
        config=PerceiverConfig(
            inputs=PatchInputConfig(
                image_size=(8, 8),
                image_channels=1,
                patch_size=2,
                num_channels=32,
                mean=(0.3,),
                std=(0.38,),
                positioned=_fourier(4, num_bands=2),
            ),
            encoder=EncoderConfig(
                num_latents=16,
                latent_channels=64,
                num_blocks=1,
                num_layers_per_block=3,
                num_cross_heads=4,
                num_self_heads=4,
                self_widening_factor=2,
                qk_channels=64,
                v_channels=64,
            ),
            queries=LearnedQueryConfig(num_channels=64),
            decoder=CrossAttentionDecoderConfig(num_heads=4, query_residual=True),
            outputs=LabelOutputConfig(num_classes=10),
        ),
    ),
)

ZOO.add(
    "image-original-small",
    Spec(
        name="image-original-small",
        task="image-classification",
        summary="The original Perceiver at small size: reads before each block, averages the latents",
        citation=PERCEIVER,
        bibtex=PERCEIVER_BIBTEX,
        config=PerceiverConfig(
            inputs=PixelInputConfig(
                image_size=(32, 32),
                mean=(0.5,),
                std=(0.25,),
                positioned=_fourier(32, num_bands=8),
            ),
            encoder=EncoderConfig(
                num_latents=32,
                latent_channels=96,
                num_blocks=4,
                num_layers_per_block=2,
                num_cross_attends=4,
                share_cross_attends="after_first",
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
            ),
            queries=NoQueryConfig(),
            decoder=AverageDecoderConfig(),
            outputs=LabelOutputConfig(num_classes=10),
        ),
    ),
)
