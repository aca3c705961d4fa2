"""Classifiers of clouds of points."""

from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.points import PointInputConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.zoo.citations import PERCEIVER, PERCEIVER_BIBTEX
from perceivers.zoo.spec import ZOO, Spec

ZOO.add(
    "points-small",
    Spec(
        name="points-small",
        task="point-cloud-classification",
        summary="Classifier for clouds of some hundred points, sized for a CPU",
        citation=PERCEIVER,
        bibtex=PERCEIVER_BIBTEX,
        config=PerceiverConfig(
            inputs=PointInputConfig(num_bands=8, max_resolution=16),
            encoder=EncoderConfig(
                num_latents=32,
                latent_channels=96,
                num_blocks=2,
                num_layers_per_block=2,
                num_cross_attends=2,
                share_cross_attends="after_first",
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
            ),
            queries=LearnedQueryConfig(num_channels=96),
            decoder=CrossAttentionDecoderConfig(num_heads=4, query_residual=True),
            outputs=LabelOutputConfig(num_classes=10),
        ),
    ),
)
