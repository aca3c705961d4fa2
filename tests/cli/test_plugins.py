"""A modality and a task in one file outside the package are trained, scored and used by the command line."""

import json
from pathlib import Path

import pytest

from cli_examples import write_csv
from perceivers.adapters import InputConfig
from perceivers.data import ROLES
from perceivers.tasks import TASKS
from perceivers.zoo import ZOO

TOY = '''
"""Rising or falling: a modality (a few numbers), a role, a model and a task."""

from dataclasses import dataclass

import torch

from perceivers.adapters import InputAdapter, InputConfig, Tokens
from perceivers.adapters.label import LabelOutputConfig, LearnedQueryConfig
from perceivers.data.roles import ROLES, Role
from perceivers.decoders import CrossAttentionDecoderConfig
from perceivers.model import EncoderConfig, PerceiverConfig
from perceivers.nn.positions import FourierPositionConfig
from perceivers.tasks import TASKS
from perceivers.tasks.base import stack
from perceivers.tasks.classes import Classification, ClassificationSettings, target_of
from perceivers.tasks.drawing import draw_bars
from perceivers.zoo import ZOO, Spec


@dataclass(frozen=True, kw_only=True)
class SignalInputConfig(InputConfig, kind="toy-signal"):
    length: int

    def build(self):
        return SignalInput(self)

    @classmethod
    def example(cls):
        return cls(length=4)


class SignalInput(InputAdapter):
    def __init__(self, config):
        super().__init__()
        self.length = config.length
        self.positions = FourierPositionConfig(num_bands=2).build((config.length,))
        self.num_channels = 1 + self.positions.num_channels

    def forward(self, batch):
        signal = batch["signal"][..., None]
        places = torch.linspace(-1, 1, self.length)[None, :, None].expand(len(signal), -1, -1)
        values = torch.cat([signal, self.positions.at(places, signal)], dim=-1)
        return Tokens(values, None, signal, (self.length,))

    def example_batch(self, batch_size):
        return {"signal": torch.randn(batch_size, self.length)}


def check(value):
    return None if isinstance(value, str) else f"a signal must be numbers with spaces between, got {value!r}"


ROLES.add("signal", Role(names=("signal",), check=check))
ZOO.add(
    "toy-small",
    Spec(
        name="toy-small",
        task="toy",
        summary="Four numbers",
        config=PerceiverConfig(
            inputs=SignalInputConfig.example(),
            encoder=EncoderConfig(
                num_latents=4,
                latent_channels=16,
                num_blocks=1,
                num_layers_per_block=1,
                num_cross_heads=1,
                num_self_heads=2,
            ),
            queries=LearnedQueryConfig(num_channels=16),
            decoder=CrossAttentionDecoderConfig(num_heads=1, query_residual=True),
            outputs=LabelOutputConfig(num_classes=2),
        ),
    ),
)


@TASKS.register("toy")
class Toy(Classification[ClassificationSettings]):
    Settings = ClassificationSettings
    roles = ("signal", "label")
    input_role = "signal"
    default_model = "toy-small"

    @classmethod
    def example(cls):
        rows = [{"signal": "0 1 2 3", "label": 0}, {"signal": "3 2 1 0", "label": 1}]
        return cls.fit(ZOO["toy-small"].config, ("up", "down"), {}), rows

    def prepare(self, row):
        return {"signal": torch.tensor([float(word) for word in row["signal"].split()]), **target_of(row)}

    def collate(self, items):
        return {key: stack(items, key) for key in items[0]}

    def picture(self, value, result):
        return draw_bars(result)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin file; what it registers is forgotten after the test."""
    for registry in (TASKS, ZOO, ROLES, InputConfig.kinds):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    path = tmp_path / "toy.py"
    path.write_text(TOY, encoding="utf-8")
    return path


def test_one_file_is_enough_for_a_modality_and_a_task(cli, toy: Path, tmp_path: Path) -> None:
    rows = [(f"{i} {i + 1} {i + 2} {i + 3}", "up") for i in range(8)]
    rows += [(" ".join(reversed(signal.split())), "down") for signal, _ in rows]
    write_csv(tmp_path / "signals.csv", ("signal", "label"), rows)
    run = tmp_path / "run"
    trained = cli(
        "train", "toy", "--plugin", toy, "--data", tmp_path / "signals.csv", "--max-steps", 60, "--batch-size", 8,
        "--learning-rate", 0.01, "--tracker", "none", "--set", "train.eval_every=60", "--output", run, "--json",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    report = json.loads(trained.stdout)
    assert report["predict"] == f"perceivers predict {run} SIGNAL --plugin {toy}"

    scored = cli("evaluate", run, "--plugin", toy, "--data", tmp_path / "signals.csv", "--all", "--json")
    assert json.loads(scored.stdout)["metrics"]["accuracy"] == 1.0

    answer = cli("predict", run, "2 3 4 5", "x y", "--plugin", toy, "--json", "--picture", tmp_path / "out")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["result"][0]["label"] == "up"
    assert "x y" in answer.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["2-3-4-5.png"]

    wider = tmp_path / "wider"
    made = cli("convert", run, wider, "--to", "perceivers", "--num-labels", 3, "--plugin", toy)
    assert made.exit_code == 0, made.output
    assert json.loads((wider / "config.json").read_text())["model"]["outputs"]["num_classes"] == 3


def test_lists_show_what_a_plugin_brings(cli, toy: Path) -> None:
    assert "toy" in [entry["name"] for entry in json.loads(cli("tasks", "--plugin", toy, "--json").stdout)]
    entries = {entry["name"]: entry for entry in json.loads(cli("models", "--plugin", toy, "--json").stdout)}
    assert entries["toy-small"]["inputs"] == {"kind": "toy-signal", "shapes": {"signal": [4]}}


def test_without_its_plugin_a_model_is_refused_by_name(cli, tmp_path: Path) -> None:
    result = cli("train", "toy", "--data", tmp_path)
    assert result.exit_code == 2
    assert "task 'toy' not found" in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no Python file"),
        ("x = 1 +", "failed: SyntaxError"),
        ("import no_such_module", "failed: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise RuntimeError('not today')", "failed: RuntimeError: not today"),
    ],
)
def test_broken_plugins(cli, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    result = cli("tasks", "--plugin", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
