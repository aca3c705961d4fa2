import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from perceivers.adapters.image import ConvInputConfig
from perceivers.config import override
from perceivers.model import PerceiverConfig, PerceiverIO
from perceivers.train.config import OptimizerConfig, ScheduleConfig
from perceivers.train.optim import make_optimizer, make_schedule, parameter_groups, schedule_factor
from perceivers.zoo import ZOO
from train_examples import TINY


def grouped_names(config: PerceiverConfig) -> tuple[set[str], set[str]]:
    with torch.device("meta"):
        model = PerceiverIO(config)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, spared = parameter_groups(model, OptimizerConfig(weight_decay=0.1))
    assert decayed["weight_decay"] == 0.1
    assert spared["weight_decay"] == 0.0
    groups = [[names[id(parameter)] for parameter in group["params"]] for group in (decayed, spared)]
    assert sorted(groups[0] + groups[1]) == sorted(names.values())
    return set(groups[0]), set(groups[1])


def test_groups_of_the_language_model() -> None:
    decayed, spared = grouped_names(override(ZOO["language-small"].config, TINY))
    linears = ("attention.query", "attention.key", "attention.value", "attention.output", "mlp.widen", "mlp.narrow")
    layers = ("encoder.cross_attends.0", "encoder.blocks.0.0", "decoder.cross_attend")
    assert decayed == {"inputs.embedding.weight"} | {f"{a}.{b}.weight" for a in layers for b in linears}
    norms = {f"{a}.{b}" for a in (layers[0], layers[2]) for b in ("norm_q", "norm_kv", "norm_mlp")}
    norms |= {f"{layers[1]}.{b}" for b in ("norm", "norm_mlp")}
    assert spared == {
        "inputs.positioned.positions.table",
        "queries.positions.table",
        "encoder.latents",
        "outputs.bias",
        *(f"{a}.{b}.bias" for a in layers for b in linears),
        *(f"{norm}.{leaf}" for norm in norms for leaf in ("weight", "bias")),
    }


def test_groups_of_image_models() -> None:
    decayed, spared = grouped_names(override(ZOO["image-learned"].config, {"encoder.num_layers_per_block": 1}))
    assert {"inputs.linear.weight", "inputs.positioned.project.weight", "outputs.linear.weight"} <= decayed
    assert {"inputs.positioned.positions.table", "queries.table", "encoder.latents", "inputs.linear.bias"} <= spared
    config = override(ZOO["image-conv"].config, {"encoder.num_layers_per_block": 1})
    assert isinstance(config.inputs, ConvInputConfig)
    decayed, spared = grouped_names(config)
    assert "inputs.conv.convs.0.weight" in decayed
    assert {"inputs.conv.norms.0.weight", "inputs.conv.norms.0.bias"} <= spared


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    decayed, spared = parameter_groups(model, OptimizerConfig(weight_decay=0.1))
    assert decayed["params"] == [model.weight]
    assert spared["params"] == []


def test_lower_layers_learn_slower() -> None:
    config = override(ZOO["image-learned"].config, {**TINY, "encoder.num_blocks": 2, "encoder.num_layers_per_block": 2})
    with torch.device("meta"):
        model = PerceiverIO(config)
    groups = parameter_groups(model, OptimizerConfig(learning_rate=1.0, layer_decay=0.5))
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["outputs.linear.weight"] == found["decoder.cross_attend.norm_q.bias"] == found["queries.table"] == 1
    assert found["encoder.blocks.0.1.norm.weight"] == found["encoder.blocks.0.1.mlp.widen.weight"] == 0.5
    assert found["encoder.blocks.0.0.attention.query.weight"] == 0.25
    assert found["encoder.latents"] == found["encoder.cross_attends.0.mlp.widen.bias"] == 0.125
    assert found["inputs.linear.weight"] == found["inputs.positioned.positions.table"] == 0.125
    assert groups[0]["lr"] == 1  # The rate that is logged.
    with pytest.raises(ValueError, match=r"layer_decay \(1.5\) must lie above 0"):
        OptimizerConfig(layer_decay=1.5)


def test_adamw_takes_its_settings_and_decays_one_group() -> None:
    config = OptimizerConfig(learning_rate=0.5, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-6)
    model = nn.Linear(3, 3)
    optimizer = make_optimizer(model, config)
    assert isinstance(optimizer, torch.optim.AdamW)
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.5, (0.8, 0.9), 1e-6)
        assert group["fused"]
    before = model.weight.clone(), model.bias.clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    # Without a gradient only decay moves the weights: by learning rate times decay.
    torch.testing.assert_close(model.weight, before[0] * (1 - 0.5 * 0.1))
    torch.testing.assert_close(model.bias, before[1])


def test_adamw_is_fused_where_the_device_can() -> None:
    with torch.device("meta"):
        optimizer = make_optimizer(nn.Linear(3, 3), OptimizerConfig())
    assert [group["fused"] for group in optimizer.param_groups] == [False, False]


@pytest.mark.parametrize("size", [0.1, 100.0])
def test_lamb_is_that_of_the_paper(size: float) -> None:
    """LAMB (arXiv:1904.00962): a matrix moves by the learning rate times its own norm, whatever the gradient's size."""
    torch.manual_seed(0)
    model = nn.Linear(16, 16, bias=False)
    with torch.no_grad():
        model.weight.mul_(size)
    config = OptimizerConfig(name="lamb", learning_rate=0.01, weight_decay=0.3, betas=(0.8, 0.9), eps=1e-6)
    optimizer = make_optimizer(model, config)
    expected = model.weight.detach().clone()
    mean, square = torch.zeros_like(expected), torch.zeros_like(expected)
    for _ in range(3):
        gradient = torch.randn_like(expected) * 1e3
        mean = 0.8 * mean + 0.2 * gradient
        square = 0.9 * square + 0.1 * gradient**2
        direction = mean / (square.sqrt() + 1e-6) + 0.3 * expected
        expected = expected - 0.01 * expected.norm() * direction / direction.norm()
        model.weight.grad = gradient
        optimizer.step()
    torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-4, atol=1e-5 * size)


def test_muon_moves_the_matrices_of_linear_layers_and_adamw_the_rest() -> None:
    config = OptimizerConfig(name="muon", weight_decay=0.1)
    model = PerceiverIO(override(ZOO["language-small"].config, TINY))
    matrices, others, spared = parameter_groups(model, config)
    assert [group["use_muon"] for group in (matrices, others, spared)] == [True, False, False]
    assert [group["weight_decay"] for group in (matrices, others, spared)] == [0.1, 0.1, 0.0]
    linear = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    assert {id(weight) for weight in matrices["params"]} == {id(weight) for weight in linear}
    assert [id(weight) for weight in others["params"]] == [id(model.get_parameter("inputs.embedding.weight"))]
    everything = [parameter for group in (matrices, others, spared) for parameter in group["params"]]
    assert len(everything) == len(list(model.parameters()))


def test_muon_makes_steps_of_one_size_in_every_direction() -> None:
    """arXiv:2502.16982: all singular values of a step are about 0.2 sqrt(longer side) times the learning rate."""
    torch.manual_seed(0)
    model = nn.Linear(24, 16)
    optimizer = make_optimizer(model, OptimizerConfig(name="muon", learning_rate=0.01, weight_decay=0.0))
    before = model.weight.detach().clone()
    left, _, right = torch.linalg.svd(torch.randn(16, 24), full_matrices=False)
    gradient = left @ torch.diag(torch.linspace(1, 30, 16)) @ right
    model.weight.grad, model.bias.grad = gradient, torch.full((16,), 3.0)
    bias = model.bias.detach().clone()
    optimizer.step()
    values = torch.linalg.svdvals(before - model.weight.detach())
    size = 0.01 * 0.2 * math.sqrt(24)
    # Newton's iteration stops between 0.7 and 1.2 of it.
    assert ((values > 0.6 * size) & (values < 1.3 * size)).all()
    # Biases take AdamW's first step: the learning rate, against the gradient's sign.
    torch.testing.assert_close(model.bias.detach(), bias - 0.01)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Shares of the peak at steps 0, 9 (end of the warm-up), 10, 55 (middle of the rest), 100.
        ("constant", (0.1, 1.0, 1.0, 1.0, 1.0)),
        ("linear", (0.1, 1.0, 1.0, 0.6, 0.2)),
        ("cosine", (0.1, 1.0, 1.0, 0.6, 0.2)),
        ("inverse_sqrt", (0.1, 1.0, 1.0, math.sqrt(10 / 55), math.sqrt(10 / 100))),
        # Constant to step 60, then a cosine over the last 40.
        ("constant_cosine", (0.1, 1.0, 1.0, 1.0, 0.2)),
    ],
)
def test_schedules_at_key_points(name: str, expected: tuple[float, ...]) -> None:
    config = ScheduleConfig(name=name, warmup_fraction=0.1, constant_fraction=0.5, final_factor=0.2)
    found = [schedule_factor(config, step, 100) for step in (0, 9, 10, 55, 100)]
    assert found == pytest.approx(expected)
    rest = [schedule_factor(config, step, 100) for step in range(10, 101)]
    assert all(a >= b for a, b in pairwise(rest))


def test_constant_cosine_falls_after_its_plateau() -> None:
    config = ScheduleConfig(name="constant_cosine", warmup_fraction=0.1, constant_fraction=0.5)
    assert schedule_factor(config, 60, 100) == 1.0
    assert schedule_factor(config, 80, 100) == pytest.approx(0.5)
    assert schedule_factor(config, 100, 100) == pytest.approx(0.0)


def test_no_warmup_starts_at_the_peak() -> None:
    for name in ("constant", "linear", "cosine", "constant_cosine", "inverse_sqrt"):
        assert schedule_factor(ScheduleConfig(name=name, warmup_fraction=0.0), 0, 10) == 1.0


def test_the_schedule_moves_both_groups() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), OptimizerConfig(learning_rate=2.0))
    schedule = make_schedule(optimizer, ScheduleConfig(name="linear", warmup_fraction=0.0), 4)
    rates = []
    for _ in range(5):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates == [[2.0, 2.0], [1.5, 1.5], [1.0, 1.0], [0.5, 0.5], [0.0, 0.0]]
