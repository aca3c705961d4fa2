"""Decoders: what they answer, and that the way for very many queries answers the same."""

from dataclasses import replace

import pytest
import torch

from model_examples import DECODER, ENCODER, example_batch, model_around, seeded
from perceivers.adapters.image import GridQueryConfig, PixelInputConfig, PixelOutputConfig
from perceivers.adapters.label import LabelOutputConfig, NoQueryConfig
from perceivers.adapters.text import TextInputConfig, TextOutputConfig
from perceivers.decoders import AverageDecoderConfig
from perceivers.model import PerceiverIO

IMAGE = model_around(inputs=PixelInputConfig.example())
# Twelve answers, three times as many as latents.
GRID = replace(model_around(queries=GridQueryConfig.example(), outputs=PixelOutputConfig.example()), decoder=DECODER)


@pytest.mark.parametrize("final_channels", [None, 5])
def test_very_many_queries_are_answered_as_few_are(final_channels: int | None) -> None:
    model = seeded(replace(GRID, decoder=replace(DECODER, final_channels=final_channels))).eval()
    with torch.no_grad():
        latents = model.encode(example_batch(model))
        queries = model.queries(latents.tokens)
        assert model.decoder.takes_very_many()
        assert model.decoder.asker(queries, latents.values) is not None
        rows = model.outputs(model.decoder(queries, latents.values), queries)
        torch.testing.assert_close(model.decode(latents), rows.unflatten(1, (3, 4)), rtol=1e-5, atol=1e-5)
    assert model.decoder.num_channels == (final_channels or model.queries.num_channels)


def test_few_queries_and_several_heads_have_no_way_for_very_many() -> None:
    few = seeded(replace(GRID, encoder=replace(ENCODER, num_latents=7))).eval()
    latents = few.encode(example_batch(few))
    assert few.decoder.asker(few.queries(latents.tokens), latents.values) is None
    heads = seeded(replace(GRID, decoder=replace(DECODER, num_heads=2, qk_channels=8)))
    assert not heads.decoder.takes_very_many()


def test_hidden_queries_take_nothing_from_the_latents() -> None:
    config = model_around(inputs=TextInputConfig.example(), outputs=TextOutputConfig())
    model = seeded(config).eval()
    batch = example_batch(model)
    batch["keep_mask"][:, -1] = False
    with torch.no_grad():
        latents = model.encode(batch)
        queries = model.queries(latents.tokens)
        weights = model.decoder.weights(queries, latents.values)
        answers = model.decoder(queries, latents.values)
        others = model.decoder(queries, torch.randn_like(latents.values))
    assert not weights[:, -1].any()
    torch.testing.assert_close(answers[:, -1], others[:, -1], rtol=0, atol=0)
    assert not torch.allclose(answers[:, 0], others[:, 0])


def test_averaged_head_is_a_linear_layer_on_the_mean_latent() -> None:
    config = replace(
        IMAGE, queries=NoQueryConfig(), decoder=AverageDecoderConfig(), outputs=LabelOutputConfig(num_classes=5)
    )
    model = seeded(config).eval()
    batch = example_batch(model)
    latents = model.encode(batch)
    linear = model.outputs.get_submodule("linear")
    torch.testing.assert_close(model.decode(latents), linear(latents.values.mean(dim=1)))
    assert not list(model.decoder.parameters())
    with pytest.raises(ValueError, match=r"the 'average' decoder reads no queries \(8 channels\); use 'none' queries"):
        PerceiverIO(replace(IMAGE, decoder=AverageDecoderConfig()))
