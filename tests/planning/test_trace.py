"""Operations against PyTorch's own counter, memory against sums done by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model_examples import example_batch, leaves, model_around, seeded
from perceivers.adapters.image import ConvInputConfig
from perceivers.planning.trace import AttentionPath, Tracer, attention_as, fuses
from perceivers.zoo import ZOO

CONFIGS = {
    "convolution": model_around(inputs=ConvInputConfig.example()),
    **{name: ZOO[name].config for name in ("digits-small", "image-original-small", "language-small")},
}


def flops_of(tracer: Tracer) -> int:
    return sum(cost.flops for cost in tracer.costs.values())


@pytest.mark.parametrize("training", [False, True], ids=["forward", "training"])
@pytest.mark.parametrize("name", CONFIGS)
def test_flops_are_those_of_pytorchs_counter_on_the_plain_path(name: str, training: bool) -> None:
    # Without gradients, the reference trips over parameters that want them.
    model = seeded(CONFIGS[name]).requires_grad_(training)
    batch = example_batch(model)
    reference = FlopCounterMode(display=False)
    tracer = Tracer()
    for mode in (reference, tracer):
        with sdpa_kernel(SDPBackend.MATH), torch.set_grad_enabled(training), mode:
            outputs = model(batch)
            if training:
                torch.stack([leaf.mean() for leaf in leaves(outputs)]).sum().backward()
    assert flops_of(tracer) > 0
    assert flops_of(tracer) == pytest.approx(reference.get_total_flops(), rel=0.01)


def attention_on_meta(path: AttentionPath, v_channels: int) -> Tracer:
    """Trace 2 heads of 4 queries over 6 elements, 8 wide."""
    q, k, v = (torch.empty(1, 2, rows, width, device="meta") for rows, width in ((4, 8), (6, 8), (6, v_channels)))
    with torch.no_grad(), attention_as(path), Tracer((q, k, v)) as tracer:
        functional.scaled_dot_product_attention(q, k, v)
    return tracer


def test_fused_attention_has_the_operations_of_plain_attention_and_no_matrix() -> None:
    plain, fused = attention_on_meta("plain", 8), attention_on_meta("fused", 8)
    assert flops_of(plain) == flops_of(fused) == 2 * 2 * 4 * 6 * (8 + 8)
    # The result (2 x 4 x 8) and one number a query for the backward pass.
    assert fused.peak_bytes == 4 * (64 + 8)
    # The matrix before and after softmax at least.
    assert plain.peak_bytes >= 4 * (48 + 48)


def test_attention_that_cpus_do_not_fuse_is_plain_on_both_paths() -> None:
    plain, fused = attention_on_meta("plain", 16), attention_on_meta("fused", 16)
    assert plain.costs[""].calls == fused.costs[""].calls


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("v_channels", [8, 16])
def test_what_is_fused_is_what_pytorch_fuses(v_channels: int, dropout: float) -> None:
    q, v = torch.rand(1, 2, 4, 8), torch.rand(1, 2, 4, v_channels)
    chosen = torch._fused_sdp_choice(q, q, v, dropout_p=dropout)
    assert fuses(q, q, v, dropout) == (chosen == SDPBackend.FLASH_ATTENTION.value)


def test_masked_attention_is_fused_too() -> None:
    q = torch.empty(1, 2, 4, 8, device="meta")
    keep = torch.empty(1, 1, 1, 4, dtype=torch.bool, device="meta")
    with attention_as("fused"), Tracer() as tracer:
        functional.scaled_dot_product_attention(q, q, q, attn_mask=keep)
    assert {call.kind for call in tracer.costs[""].calls} >= {"attention"}
    assert flops_of(tracer) == 2 * 2 * 4 * 4 * 16


def test_memory_is_counted_while_it_is_held() -> None:
    x = torch.zeros(1000)
    with Tracer([x]) as tracer:
        tracer.stage = "first"
        y = x + 1  # 4000 bytes
        view = y.view(10, 100)  # nothing new
        tracer.stage = "second"
        z = (view * 2).double()  # 4000 for the product, 8000 for the result; the product is dropped
        del y, view
        tracer.stage = "third"
        w = z + 1  # 8000
    assert tracer.costs["first"].peak_bytes == 4000
    assert tracer.costs["second"].peak_bytes == 4000 + 4000 + 8000
    assert tracer.costs["third"].peak_bytes == tracer.live_bytes == 8000 + 8000
    assert tracer.peak_bytes == 16000
    del w, z
    assert tracer.live_bytes == 0


def test_what_is_set_apart_is_counted_apart() -> None:
    with Tracer() as tracer:
        kept = torch.ones(100)
        tracer.set_apart(kept)
        tracer.set_apart(kept)
        other = torch.ones(50)
    assert (tracer.apart_bytes, tracer.live_bytes, tracer.peak_with_apart_bytes) == (400, 200, 600)
    del kept, other
    assert (tracer.apart_bytes, tracer.live_bytes) == (0, 0)


def test_bytes_moved_do_not_count_views_or_products() -> None:
    layer = nn.Linear(4, 8, bias=False)
    with torch.no_grad(), Tracer(layer.parameters()) as tracer:
        layer(torch.ones(3, 4)).view(24).relu()
    moved = {call.kind: call.sizes for call in tracer.costs[""].calls}
    assert moved["relu"] == (2 * 4 * 24,)
    assert moved["matmul"] == (1, 3, 4, 8)
    assert not {"view", "t"} & set(moved)
