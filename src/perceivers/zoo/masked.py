"""Models that are pre-trained by masked auto-encoding."""

from perceivers.adapters.image import GridQueryConfig, PatchInputConfig, PixelOutputConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.zoo.spec import ZOO, Spec

ZOO.add(
    "image-masked-small",
    Spec(
        name="image-masked-small",
        task="masked-autoencoding",
        summary="Hidden 4x4 patches of 64x64 images from the others; input side and encoder are those of image-small",
        config=PerceiverConfig(
            inputs=PatchInputConfig(
                image_size=(64, 64),
                patch_size=4,
                num_channels=64,
                mean=(0.5,),
                std=(0.25,),
                positioned=PositionedConfig(
                    positions=FourierPositionConfig(num_bands=8, max_resolution=(16, 16)),
                ),
            ),
            encoder=EncoderConfig(
                num_latents=32,
                latent_channels=96,
                num_blocks=2,
                num_layers_per_block=3,
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
            ),
            queries=GridQueryConfig(grid_shape=(16, 16), positions=FourierPositionConfig(num_bands=24)),
            decoder=CrossAttentionDecoderConfig(num_heads=4, widening_factor=2, query_residual=True),
            outputs=PixelOutputConfig(num_channels=48),
        ),
    ),
)
