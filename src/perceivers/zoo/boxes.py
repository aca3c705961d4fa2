"""Detectors."""

from perceivers.adapters.boxes import AnchorQueryConfig, BoxOutputConfig
from perceivers.adapters.image import ConvInputConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.zoo.spec import ZOO, Spec

ZOO.add(
    "boxes-small",
    Spec(
        name="boxes-small",
        task="object-detection",
        summary="Detector for 144x192 images, sized for a CPU: two convolutions, 108 tokens, each of which asks once",
        config=PerceiverConfig(
            inputs=ConvInputConfig(
                image_size=(144, 192),
                num_channels=64,
                num_stages=2,
                mean=(0.5,),
                std=(0.25,),
                positioned=PositionedConfig(
                    positions=FourierPositionConfig(num_bands=8, max_resolution=(16, 16)),
                ),
            ),
            encoder=EncoderConfig(
                num_latents=96,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=4,
                num_cross_heads=4,
                num_self_heads=4,
                self_widening_factor=2,
                qk_channels=128,
                v_channels=128,
            ),
            queries=AnchorQueryConfig(num_channels=128),
            decoder=CrossAttentionDecoderConfig(num_heads=4, widening_factor=2, query_residual=True),
            outputs=BoxOutputConfig(num_classes=3, hidden_channels=128),
        ),
    ),
)
