"""The model as a whole: its story, the original Perceiver as settings, masks, and every field of its configs."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from model_examples import ENCODER, change_shows, example_batch, fields_of, model_around, seeded
from perceivers.adapters.image import PixelInputConfig
from perceivers.adapters.text import TextInputConfig, TextOutputConfig
from perceivers.model import EncoderConfig, PerceiverConfig, PerceiverIO
from perceivers.nn import record_attention

# Widths that differ on each side, so that defaults taken from one side or the other show.
TEXT = model_around(outputs=TextOutputConfig())
IMAGE = model_around(inputs=PixelInputConfig.example())
# What an empty input leaves shows only where inputs can be empty.
ENCODER_FIELDS = [field for field in fields_of(ENCODER, "encoder") if field[0] != "encoder.empty_rows"]


def with_encoder(config: PerceiverConfig, **changes: Any) -> PerceiverConfig:
    return replace(config, encoder=replace(config.encoder, **changes))


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("config", [TEXT, IMAGE], ids=["text", "image"])
def test_the_story(config: PerceiverConfig) -> None:
    """Calling the model is reading, processing, asking and answering."""
    model = seeded(config).eval()
    batch = example_batch(model)
    tokens = model.inputs(batch)
    latents = model.encoder.process(model.encoder.read(tokens), tokens)
    queries = model.queries(tokens)
    rows = model.outputs(model.decoder(queries, latents), queries)
    expected = model.outputs.arrange(rows, model.queries.output_grid(tokens))
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=0)
    torch.testing.assert_close(model.process(model.read(batch)).values, latents, rtol=0, atol=0)


def test_order_of_the_tokens_does_not_matter() -> None:
    """Positions are features, not places: latents see a set."""
    model = seeded(IMAGE).eval()
    tokens = model.inputs(example_batch(model))
    order = torch.randperm(tokens.values.shape[1])
    shuffled = replace(tokens, array=tokens.values[:, order])
    torch.testing.assert_close(model.encoder.read(tokens), model.encoder.read(shuffled), rtol=1e-5, atol=1e-5)


def test_padding_does_not_matter() -> None:
    model = seeded(TEXT).eval()
    batch = example_batch(model)
    keep_mask = batch["keep_mask"]
    changed = {**batch, "input_ids": torch.where(keep_mask, batch["input_ids"], 9)}
    torch.testing.assert_close(model(batch)[keep_mask], model(changed)[keep_mask])
    trimmed = {key: value[:, :-1] for key, value in batch.items()}
    torch.testing.assert_close(model(batch)[:, :-1], model(trimmed), rtol=1e-5, atol=1e-5)


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    model = seeded(TEXT).eval()
    batch = example_batch(model, 3)
    single = {key: value[1:2] for key, value in batch.items()}
    torch.testing.assert_close(model(batch)[1:2], model(single), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("share", "num_reads"), [("all", 1), ("after_first", 2), ("none", 4)])
def test_sharing_of_repeated_cross_attention(share: str, num_reads: int) -> None:
    base = with_encoder(IMAGE, num_blocks=4, num_cross_attends=4)
    model = seeded(with_encoder(base, share_cross_attends=share))
    assert len(model.encoder.cross_attends) == num_reads
    once = seeded(with_encoder(base, num_cross_attends=1))
    one_read = count(once.encoder.cross_attends)
    assert count(model) == count(once) + (num_reads - 1) * one_read


def test_sharing_differs_only_by_its_weights() -> None:
    """Equal copies give what sharing gives; a copy that differs shows where it is used."""
    configs = [
        with_encoder(IMAGE, num_blocks=3, num_cross_attends=3, share_cross_attends=share)
        for share in ("all", "after_first", "none")
    ]
    shared, after_first, apart = (seeded(config).eval() for config in configs)
    for model in (after_first, apart):
        state = model.state_dict()
        for name in state:
            source = name
            if name.startswith("encoder.cross_attends."):
                source = "encoder.cross_attends.0." + name.split(".", 3)[3]
            state[name] = shared.state_dict()[source]
        model.load_state_dict(state)
    batch = example_batch(shared)
    torch.testing.assert_close(after_first(batch), shared(batch))
    torch.testing.assert_close(apart(batch), shared(batch))
    with torch.no_grad():
        # Not the same for all channels: layer norms would take that out again.
        push = torch.linspace(-1, 1, ENCODER.latent_channels)
        after_first.encoder.cross_attends[1].get_parameter("mlp.narrow.bias").add_(push)
        apart.encoder.cross_attends[2].get_parameter("mlp.narrow.bias").add_(push)
    assert not torch.allclose(after_first(batch), shared(batch))
    assert not torch.allclose(apart(batch), shared(batch))
    assert not torch.allclose(apart(batch), after_first(batch))


def test_reads_happen_before_the_first_blocks() -> None:
    model = seeded(with_encoder(IMAGE, num_blocks=3, num_cross_attends=2)).eval()
    with record_attention(model, "encoder") as maps:
        model.encode(example_batch(model))
    assert list(maps.maps) == ["encoder.cross_attends.0.attention", "encoder.blocks.0.0.attention"]
    assert [len(seen) for seen in maps.maps.values()] == [2, 3]


def test_reading_again_differs_from_reading_once() -> None:
    """Sharing all reads adds no weights, so both models start alike."""
    once, twice = (seeded(with_encoder(IMAGE, num_cross_attends=n)).eval() for n in (1, 2))
    twice.load_state_dict(once.state_dict())
    batch = example_batch(once)
    assert not torch.allclose(once(batch), twice(batch))


def test_sharing_of_blocks() -> None:
    shared = seeded(with_encoder(IMAGE, num_blocks=3))
    apart = seeded(with_encoder(IMAGE, num_blocks=3, share_blocks=False))
    assert count(apart) == count(shared) + 2 * count(shared.encoder.blocks)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_cross_attends \(3\) must lie between 1 and num_blocks \(2\)"):
        replace(ENCODER, num_cross_attends=3)
    with pytest.raises(ValueError, match=r"num_cross_attends \(0\) must lie between 1 and num_blocks \(2\)"):
        replace(ENCODER, num_cross_attends=0)
    model = seeded(IMAGE)
    latents = model.encode(example_batch(model))
    with pytest.raises(ValueError, match=r"chunk_size \(0\) must be at least 1"):
        model.decode(latents, chunk_size=0)
    with pytest.raises(ValueError, match="where asks for output 3; outputs run from 0 to 2"):
        model.decode(latents, where=torch.tensor([3]))


@pytest.mark.parametrize(("path", "values"), ENCODER_FIELDS, ids=[path for path, _ in ENCODER_FIELDS])
def test_every_encoder_field_is_used(path: str, values: list[Any]) -> None:
    assert change_shows(IMAGE, path, values)


def test_an_empty_text_leaves_zeros_or_the_mean() -> None:
    """The latents of an empty text are those of no text at all, or of one whose bytes all count the same."""
    config = model_around(inputs=TextInputConfig.example())
    batch = {"input_ids": torch.arange(12)[None].expand(2, -1), "keep_mask": torch.ones(2, 12, dtype=torch.bool)}
    batch["keep_mask"][1] = False
    read: dict[str, torch.Tensor] = {}
    for empty_rows in ("zeros", "mean"):
        model = seeded(replace(config, encoder=replace(config.encoder, empty_rows=empty_rows))).eval()
        attention = model.encoder.cross_attends[0].get_submodule("attention")
        attention.register_forward_hook(lambda _, __, out, key=empty_rows: read.update({key: out}))
        model.read(batch)
        values = attention.get_submodule("value")(
            model.encoder.cross_attends[0].get_submodule("norm_kv")(model.inputs(batch).values)
        )
        mean = attention.get_submodule("output")(values.mean(dim=1))[1]
        expected = mean if empty_rows == "mean" else attention.get_parameter("output.bias")
        torch.testing.assert_close(read[empty_rows][1], expected.expand(len(model.encoder.latents), -1))
    torch.testing.assert_close(read["zeros"][0], read["mean"][0])


def test_every_encoder_field_is_described() -> None:
    doc = EncoderConfig.__doc__ or ""
    assert not [path for path, _ in fields_of(ENCODER, "encoder") if f"{path.split('.')[1]}:" not in doc]


def test_attention_and_mlp_scales_reach_their_weights() -> None:
    """Doubling a scale doubles the variance, of its own weights alone."""
    plain, wider = (
        seeded(with_encoder(IMAGE, latent_channels=64, attention_init_scale=scale)).encoder for scale in (1.0, 4.0)
    )
    for name, parameter in plain.named_parameters():
        factor = 2.0 if ".attention." in name and name.endswith("weight") else 1.0
        torch.testing.assert_close(wider.get_parameter(name), factor * parameter)


def test_latents_start_as_the_originals() -> None:
    torch.manual_seed(0)
    config = with_encoder(IMAGE, num_latents=512, latent_channels=1024)
    latents = PerceiverIO(config).encoder.latents.detach()
    assert float(latents.std()) == pytest.approx(0.01759, rel=0.01)
    assert float(latents.abs().max()) == pytest.approx(0.04, rel=2e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_model_follows_its_dtype(dtype: torch.dtype) -> None:
    model = seeded(IMAGE).eval()
    batch = example_batch(model)
    expected = model(batch)
    out = copy.deepcopy(model).to(dtype)(batch)
    assert out.dtype == dtype
    tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(out.float(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("config", [TEXT, IMAGE], ids=["text", "image"])
def test_mixed_precision_trains(config: PerceiverConfig) -> None:
    model = seeded(config).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(example_batch(model)).float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_text_without_anything_to_read_gives_finite_answers() -> None:
    config = model_around(inputs=TextInputConfig.example())
    model = seeded(config).eval()
    batch = example_batch(model)
    batch["keep_mask"] = torch.zeros_like(batch["keep_mask"])
    assert model(batch).isfinite().all()
