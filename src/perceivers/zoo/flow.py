"""Optical flow."""

from perceivers.adapters.flow import FlowInputConfig, FlowOutputConfig, TokenQueryConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig, PositionedConfig
from perceivers.zoo.spec import ZOO, Spec, add_mini

ZOO.add(
    "optical-flow",
    Spec(
        name="optical-flow",
        task="optical-flow",
        summary="Optical flow between two frames of 368x496 pixels, trained on AutoFlow",
        licence="CC BY 4.0",
        hub_id="deepmind/optical-flow-perceiver",
        config=PerceiverConfig(
            inputs=FlowInputConfig(
                image_size=(368, 496),
                positioned=PositionedConfig(
                    positions=FourierPositionConfig(num_bands=64, max_resolution=(368, 496)),
                ),
            ),
            encoder=EncoderConfig(
                num_latents=2048,
                latent_channels=512,
                num_blocks=1,
                num_layers_per_block=24,
                num_cross_heads=1,
                num_self_heads=16,
            ),
            queries=TokenQueryConfig(),
            decoder=CrossAttentionDecoderConfig(num_heads=1),
            outputs=FlowOutputConfig(),
        ),
    ),
)

ZOO.add(
    "optical-flow-small",
    Spec(
        name="optical-flow-small",
        task="optical-flow",
        summary="Optical flow between frames of 96x128 pixels, sized for a CPU",
        config=PerceiverConfig(
            inputs=FlowInputConfig(
                image_size=(96, 128),
                positioned=PositionedConfig(
                    positions=FourierPositionConfig(num_bands=16, max_resolution=(96, 128)),
                ),
            ),
            encoder=EncoderConfig(
                num_latents=256,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=6,
                num_cross_heads=1,
                num_self_heads=8,
            ),
            queries=TokenQueryConfig(),
            decoder=CrossAttentionDecoderConfig(num_heads=1),
            outputs=FlowOutputConfig(),
        ),
    ),
)

ZOO.add(
    "optical-flow-whole",
    Spec(
        name="optical-flow-whole",
        task="optical-flow",
        summary="Optical flow of frames read as a whole at 24x32 pixels, sized for training on a CPU",
        config=PerceiverConfig(
            inputs=FlowInputConfig(
                image_size=(24, 32),
                # Two pixels in each direction: most motions at this size.
                patch_size=5,
                num_channels=128,
                # At the usual 0.5 the differences between frames are small beside the positions.
                std=(0.15,),
                positioned=PositionedConfig(
                    positions=FourierPositionConfig(num_bands=8, max_resolution=(24, 32)),
                ),
            ),
            encoder=EncoderConfig(
                num_latents=64,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=3,
                num_cross_heads=4,
                num_self_heads=4,
                self_widening_factor=2,
                qk_channels=128,
                v_channels=128,
            ),
            queries=TokenQueryConfig(),
            # The pixel itself is added to what it reads: small motions show in its own neighbourhood.
            decoder=CrossAttentionDecoderConfig(
                num_heads=4, qk_channels=128, v_channels=128, widening_factor=4, query_residual=True
            ),
            outputs=FlowOutputConfig(scale=1.0, zero_init=False),
        ),
    ),
)

add_mini(
    "flow-mini",
    "optical-flow-whole",
    "Optical flow of frames of any size, read as a whole at 24x32 pixels",
    licence="Apache-2.0",
)
