"""Byte-level language models."""

from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.adapters.text import TextInputConfig, TextNeighboursQueryConfig, TextOutputConfig, TextQueryConfig
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import LearnedPositionConfig, PositionedConfig
from perceivers.zoo.spec import ZOO, Spec, add_mini


def _text_input(
    max_length: int, num_channels: int, *, embedding_init_scale: float = 1.0, position_init_scale: float = 0.02
) -> TextInputConfig:
    positions = LearnedPositionConfig(num_channels=num_channels, init_scale=position_init_scale)
    return TextInputConfig(
        max_length=max_length,
        num_channels=num_channels,
        positioned=PositionedConfig(positions=positions, combine="add"),
        embedding_init_scale=embedding_init_scale,
    )


ZOO.add(
    "language",
    Spec(
        name="language",
        task="fill-mask",
        summary="Masked language modelling on UTF-8 bytes (Perceiver IO Base)",
        licence="CC BY 4.0",
        hub_id="deepmind/language-perceiver",
        config=PerceiverConfig(
            inputs=_text_input(2048, 768),
            encoder=EncoderConfig(
                num_latents=256,
                latent_channels=1280,
                num_blocks=1,
                num_layers_per_block=26,
                num_cross_heads=8,
                num_self_heads=8,
                qk_channels=256,
                v_channels=1280,
            ),
            queries=TextQueryConfig(max_length=2048, positions=LearnedPositionConfig(num_channels=768)),
            decoder=CrossAttentionDecoderConfig(num_heads=8, qk_channels=256, v_channels=768),
            outputs=TextOutputConfig(),
        ),
    ),
)

ZOO.add(
    "language-small",
    Spec(
        name="language-small",
        task="fill-mask",
        summary="Masked language modelling on windows of 128 bytes, sized for a CPU",
        # Until the cross-attentions have found their places, such a model knows no more than how often each byte
        # occurs. One head, few layers, a latent for two bytes and positions as large as the embeddings find them
        # in hundreds of steps; four heads and six layers do not in thousands.
        config=PerceiverConfig(
            inputs=_text_input(128, 64, embedding_init_scale=0.1, position_init_scale=0.1),
            encoder=EncoderConfig(
                num_latents=64,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=2,
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
                qk_channels=128,
                v_channels=128,
            ),
            queries=TextQueryConfig(max_length=128, positions=LearnedPositionConfig(num_channels=64, init_scale=0.1)),
            decoder=CrossAttentionDecoderConfig(num_heads=1, qk_channels=128, v_channels=128, widening_factor=2),
            outputs=TextOutputConfig(),
        ),
    ),
)

_TEXT_CLASSIFIER = PerceiverConfig(
    inputs=_text_input(256, 128, embedding_init_scale=0.1),
    encoder=EncoderConfig(
        num_latents=64,
        latent_channels=192,
        num_blocks=1,
        num_layers_per_block=6,
        num_cross_heads=4,
        num_self_heads=4,
        self_widening_factor=2,
    ),
    queries=LearnedQueryConfig(num_channels=192),
    decoder=CrossAttentionDecoderConfig(num_heads=4, query_residual=True),
    outputs=LabelOutputConfig(num_classes=2),
)

ZOO.add(
    "language-neighbours-small",
    Spec(
        name="language-neighbours-small",
        task="fill-mask",
        summary="Masked language modelling on windows of 512 bytes, queries bring their neighbours, sized for a CPU",
        # Over 512 bytes, queries of a position alone find nothing in a thousand steps. What stands around a hidden byte
        # answers much of it at once, and the latents are asked for the rest.
        config=PerceiverConfig(
            inputs=_text_input(512, 64, embedding_init_scale=0.1, position_init_scale=0.1),
            encoder=EncoderConfig(
                num_latents=128,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=3,
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
                qk_channels=128,
                v_channels=128,
            ),
            queries=TextNeighboursQueryConfig(
                max_length=512,
                num_before=8,
                num_after=16,
                positions=LearnedPositionConfig(num_channels=128, init_scale=0.1),
            ),
            decoder=CrossAttentionDecoderConfig(
                num_heads=1, qk_channels=128, query_residual=True, widening_factor=2, final_channels=64
            ),
            outputs=TextOutputConfig(),
        ),
    ),
)

add_mini(
    "text-mini",
    "language-neighbours-small",
    "Masked language modelling on English novels and plays, windows of 512 bytes",
    licence="Apache-2.0",
)

ZOO.add(
    "text-classifier-small",
    Spec(
        name="text-classifier-small",
        task="text-classification",
        summary="Byte-level text classifier for up to 256 bytes, sized for a CPU",
        config=_TEXT_CLASSIFIER,
    ),
)

ZOO.add(
    "multitask-text-small",
    Spec(
        name="multitask-text-small",
        task="multitask-text-classification",
        summary="The byte-level text classifier with a query a task, sized for a CPU",
        config=_TEXT_CLASSIFIER,
    ),
)

ZOO.add(
    "token-classifier-small",
    Spec(
        name="token-classifier-small",
        task="token-classification",
        summary="Byte-level tagger of words in texts of up to 384 bytes, sized for a CPU",
        # From so little data no query finds its word among the latents by the position alone: it brings the word's
        # letters along, and asks the latents what is around them.
        config=PerceiverConfig(
            inputs=_text_input(384, 64, embedding_init_scale=0.1, position_init_scale=0.1),
            encoder=EncoderConfig(
                num_latents=64,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=3,
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
            ),
            queries=TextNeighboursQueryConfig(
                max_length=384,
                num_before=8,
                num_after=16,
                positions=LearnedPositionConfig(num_channels=256, init_scale=0.1),
            ),
            decoder=CrossAttentionDecoderConfig(num_heads=1, query_residual=True, widening_factor=2),
            outputs=LabelOutputConfig(num_classes=2),
        ),
    ),
)

ZOO.add(
    "question-answering-small",
    Spec(
        name="question-answering-small",
        task="question-answering",
        summary="Answers to questions in windows of 1,024 bytes, sized for a CPU",
        config=PerceiverConfig(
            inputs=_text_input(1024, 64, embedding_init_scale=0.1, position_init_scale=0.1),
            encoder=EncoderConfig(
                num_latents=64,
                latent_channels=128,
                num_blocks=1,
                num_layers_per_block=3,
                num_cross_heads=1,
                num_self_heads=4,
                self_widening_factor=2,
            ),
            queries=TextNeighboursQueryConfig(
                max_length=1024,
                num_before=4,
                num_after=12,
                positions=LearnedPositionConfig(num_channels=64, init_scale=0.1),
            ),
            decoder=CrossAttentionDecoderConfig(num_heads=1, query_residual=True, widening_factor=2),
            outputs=LabelOutputConfig(num_classes=2),
        ),
    ),
)
