"""Encoders of sets of units, for agents; `perceivers.rl` trains with them."""

from perceivers.adapters.units import UnitInputConfig, UnitOutputConfig, UnitQueryConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.zoo.spec import ZOO, Spec

# Appendix B of Perceiver IO: in AlphaStar, whose entities are embedded 256 wide, 3 layers and 32 latents take the place
# of the Transformer, all else is as for ImageNet. How wide the latents are is not said, but 1024 as for ImageNet would
# take 2.6 GFLOP for 512 units. Table 9 counts 0.93; of the usual widths 384 comes closest, with 0.94.
ZOO.add(
    "units",
    Spec(
        name="units",
        task=None,
        summary="Encoder of up to 512 units as in the StarCraft II agent",
        config=PerceiverConfig(
            inputs=UnitInputConfig(unit_channels=256, num_channels=256),
            encoder=EncoderConfig(
                num_latents=32,
                latent_channels=384,
                num_blocks=1,
                num_layers_per_block=3,
                num_cross_heads=1,
                num_self_heads=8,
            ),
            queries=UnitQueryConfig(num_channels=256),
            decoder=CrossAttentionDecoderConfig(num_heads=1, query_residual=True),
            outputs=UnitOutputConfig(num_channels=256),
        ),
    ),
)

ZOO.add(
    "units-small",
    Spec(
        name="units-small",
        task=None,
        summary="Encoder of some tens of units, sized for a CPU",
        config=PerceiverConfig(
            inputs=UnitInputConfig(unit_channels=16, num_channels=64),
            encoder=EncoderConfig(
                num_latents=16,
                latent_channels=64,
                num_blocks=1,
                num_layers_per_block=2,
                num_cross_heads=1,
                num_self_heads=4,
            ),
            queries=UnitQueryConfig(num_channels=64),
            decoder=CrossAttentionDecoderConfig(num_heads=1, query_residual=True),
            outputs=UnitOutputConfig(num_channels=64),
        ),
    ),
)
