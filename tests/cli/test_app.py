"""Help, version, lists, errors and the wiring of the demo."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import perceivers
from perceivers.tasks import TASKS
from perceivers.zoo import ZOO

COMMANDS = ("models", "tasks", "plan", "train", "evaluate", "predict", "demo")


def test_version(cli) -> None:
    result = cli("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, f"perceivers {perceivers.__version__}")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(cli, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert f"perceivers {command}" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from perceivers.cli.app import app; "
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0; "
        "found = {'torch', 'datasets', 'accelerate', 'numpy'} & set(sys.modules); assert not found, found"
    )
    source = str(Path(perceivers.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": source}
    )
    assert done.returncode == 0, done.stderr


def test_models_json_describes_the_whole_zoo(cli) -> None:
    entries = {entry["name"]: entry for entry in json.loads(cli("models", "--json").stdout)}
    assert sorted(entries) == list(ZOO)
    keys = ["name", "task", "parameters", "flops", "inputs", "outputs", "summary", "source", "licence", "citation"]
    keys += ["bundled"]
    more = ["scores", "baselines", "scored_on", "data", "data_licence", "commands"]
    assert all(list(entry) == keys + more * entry["bundled"] for entry in entries.values())
    # The published size of the model, which the released weights confirm.
    assert entries["language"]["parameters"] == 201_108_230
    assert entries["language"]["source"] == "deepmind/language-perceiver"
    assert entries["digits-small"]["source"] is None
    # 48 layers of six products with 1024 x 1024 weights on 512 latents are most of it.
    assert 48 * 6 * 1024**2 * 512 * 2 < entries["image-fourier"]["flops"] < 48 * 6 * 1024**2 * 512 * 2 * 1.4
    assert entries["image-fourier"]["inputs"] == {"kind": "image-pixels", "shapes": {"image": [224, 224, 3]}}
    assert entries["image-fourier"]["outputs"]["num_classes"] == 1000


def test_models_table_names_every_model(cli) -> None:
    result = cli("models")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in ZOO)
    assert "201.1 M" in result.stdout
    assert "120.9 GFLOP" in result.stdout


def test_tasks(cli) -> None:
    entries = {entry["name"]: entry for entry in json.loads(cli("tasks", "--json").stdout)}
    assert sorted(entries) == list(TASKS)
    assert entries["fill-mask"] == {
        "name": "fill-mask",
        "roles": ["text"],
        "optional_roles": [],
        "released_model": "language",
        "default_model": "language-small",
        "score": "bits_per_byte",
        "higher_is_better": False,
    }
    assert all(name in cli("tasks").stdout for name in TASKS)


def test_errors_are_one_line_on_stderr(cli) -> None:
    result = cli("train", "no-such-task", "--data", "x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: task 'no-such-task' not found; choices = [")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback(cli) -> None:
    assert isinstance(cli("--debug", "train", "no-such-task", "--data", "x").exception, ValueError)


def put_demo(monkeypatch: pytest.MonkeyPatch, run_demo: Callable[[Path, bool], None]) -> None:
    module = ModuleType("perceivers.cli.demo")
    vars(module)["run_demo"] = run_demo
    monkeypatch.setitem(sys.modules, "perceivers.cli.demo", module)


def test_a_missing_extra_is_named(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_demo(output: Path, quick: bool) -> None:
        raise ModuleNotFoundError("No module named 'kornia'", name="kornia.augmentation")

    put_demo(monkeypatch, run_demo)
    result = cli("demo")
    assert result.exit_code == 2
    assert result.stderr == "error: this needs 'kornia': pip install 'perceivers[train]'\n"


def test_demo_passes_its_options_on(cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[Path, bool]] = []
    put_demo(monkeypatch, lambda output, quick: calls.append((output, quick)))
    assert cli("demo", "--quick", "--output", tmp_path).exit_code == 0
    assert cli("demo").exit_code == 0
    assert calls == [(tmp_path, True), (Path("demo"), False)]
