"""`perceivers train`: from options and recipes to a folder with a model."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from cli_examples import write_csv
from perceivers.cli import runs


@pytest.fixture
def options(texts: Path, small: tuple[str, ...]) -> tuple[object, ...]:
    return ("text-classification", "--data", texts, "--max-steps", 1, "--tracker", "none", *small)


def test_prints_data_size_scores_and_how_to_use_the_model(cli, options, tmp_path: Path) -> None:
    result = cli("train", *options, "--output", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["model"] == str(tmp_path / "run")
    assert report["predict"] == f"perceivers predict {tmp_path / 'run'} TEXT"
    assert (report["task"], report["steps"], report["stopped_early"]) == ("text-classification", 1, False)
    assert sorted(report["metrics"]) == ["accuracy", "f1"]
    assert "32 training and 8 evaluation examples, 2 labels" in result.stderr
    assert f"{report['parameters']:,} parameters" in result.stderr


def test_prints_a_score_table(cli, options, tmp_path: Path) -> None:
    result = cli("train", *options, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "32 training" in result.stdout
    assert "<- score" in result.stdout
    assert f"perceivers predict {tmp_path / 'run'} TEXT" in result.stdout


def test_quiet_prints_the_result_only(cli, options, tmp_path: Path) -> None:
    result = cli("train", *options, "--output", tmp_path / "run", "--quiet")
    assert result.stderr == ""
    assert "32 training" not in result.stdout
    assert "accuracy" in result.stdout


def test_every_option_reaches_the_recipe(cli, texts: Path, small, tmp_path: Path) -> None:
    result = cli(
        "train", "text-classification", "--data", texts, "--train-split", "train", "--eval-split", "test",
        "--column", "text=text", "--limit", 6, "--model", "text-classifier-small", *small, "--epochs", 1,
        "--batch-size", 3, "--learning-rate", 0.002, "--optimizer", "lamb", "--schedule", "linear", "--seed", 5,
        "--mixed-precision", "no", "--tracker", "none", "--set", "train.optimizer.eps=1e-6",
        "--activation-checkpointing", "--no-compile",
        "--set", "settings.byte_dropout=0.2", "--output", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert recipe["model"] == "text-classifier-small"
    assert recipe["data"]["columns"] == {"text": "text"}
    assert (recipe["data"]["train_split"], recipe["data"]["eval_split"], recipe["data"]["limit"]) == (
        "train",
        "test",
        6,
    )
    assert recipe["overrides"]["encoder.num_latents"] == 4
    assert recipe["settings"] == {"byte_dropout": 0.2}
    train = recipe["train"]
    assert (train["epochs"], train["max_steps"], train["batch_size"], train["seed"]) == (1.0, None, 3, 5)
    assert (train["optimizer"]["name"], train["optimizer"]["learning_rate"]) == ("lamb", 0.002)
    assert train["optimizer"]["eps"] == 1e-6
    assert (train["schedule"]["name"], train["mixed_precision"], train["tracker"]) == ("linear", "no", None)
    assert (train["activation_checkpointing"], train["compile"]) == (True, False)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["task"]["byte_dropout"] == 0.2


def test_options_change_a_recipe_and_epochs_replace_its_steps(cli, texts: Path, small, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("task: text-classification\ndata: {source: nowhere}\ntrain: {max_steps: 500, tracker: null}\n")
    result = cli(
        "train", "--recipe", recipe, "--data", texts, "--epochs", 1, "--batch-size", 16, *small,
        "--output", tmp_path / "run", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["steps"] == 2


def test_the_run_is_named_after_its_recipe(cli, texts: Path, small, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--data", texts, "--max-steps", 1, "--tracker", "none", "--quiet", *small)
    assert cli("train", "--recipe", "sms-spam", *options).exit_code == 0
    assert cli("train", "text-classification", *options).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["sms-spam", "text-classification"]


def test_trains_on_a_folder_of_images(cli, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label, value in (("dark", 20), ("light", 230)):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for i in range(2):
                Image.new("L", (8, 8), value + i).save(tmp_path / "data" / split / label / f"{i}.png")
    result = cli(
        "train", "image-classification", "--model", "digits-small", "--data", tmp_path / "data", "--max-steps", 1,
        "--batch-size", 4, "--tracker", "none", "--output", tmp_path / "run", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["predict"].endswith(" IMAGE")


def test_a_held_folder_is_refused_resumed_or_overwritten(cli, options, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (folder / "notes.txt").write_text("mine")
    refused = cli("train", *options, "--output", folder)
    assert refused.exit_code == 2
    assert "--resume, --overwrite or another --output" in refused.stderr

    resumed = cli("train", "--output", folder, "--resume", "--json", "--epochs", 13)
    assert resumed.exit_code == 0, resumed.output
    assert "resume  step-00000048" in resumed.stderr
    assert json.loads(resumed.stdout)["steps"] == 52

    overwritten = cli("train", *options, "--output", folder, "--overwrite", "--json")
    assert json.loads(overwritten.stdout)["steps"] == 1
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000001"]
    assert (folder / "notes.txt").read_text() == "mine"


def test_another_run_is_not_resumed(cli, options, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    result = cli(
        "train", *options, "--output", tmp_path / "run", "--resume", "--set", "overrides.encoder.num_latents=5"
    )
    assert result.exit_code == 2
    assert "holds a run with overrides" in result.stderr


def test_ctrl_c_says_how_to_go_on(cli, options, tmp_path: Path, monkeypatch) -> None:
    def interrupted(self: object, *, resume: bool = False) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("perceivers.train.loop.Trainer.run", interrupted)
    result = cli("train", *options, "--output", tmp_path / "run")
    assert result.exit_code == 130
    assert f"perceivers train --output {tmp_path / 'run'} --resume" in result.stderr


def test_the_command_to_use_the_model_can_be_pasted(cli, options, tmp_path: Path) -> None:
    result = cli("train", *options, "--output", tmp_path / "my run", "--json")
    assert json.loads(result.stdout)["predict"] == f"perceivers predict '{tmp_path / 'my run'}' TEXT"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name a task or a --recipe"),
        (("text-classification",), "name the data of 'text-classification' with --data"),
        (("--recipe", "no-such-recipe"), "'no-such-recipe' is neither a file nor one of"),
        (
            ("text-classification", "--data", "{texts}", "--column", "text"),
            "--column 'text' must have the form name=value",
        ),
        (("text-classification", "--data", "{texts}", "--column", "text=body"), "no column 'body'"),
        (("text-classification", "--data", "{texts}", "--set", "train.speed=1"), "no field 'speed'"),
        (("text-classification", "--data", "{texts}", "--set", "train.seed=[1"), "--set train.seed is no YAML"),
        (("text-classification", "--data", "{texts}", "--set", "settings.x=1"), "unknown fields ['x']"),
        (("text-classification", "--data", "{texts}", "--set", "overrides=3"), "overrides = 3 must be an object"),
        (("text-classification", "--data", "{texts}", "--model", "huge"), "model 'huge' is not in the zoo"),
        (
            ("text-classification", "--data", "{texts}", "--optimizer", "sgd"),
            "'sgd' is not one of ['adamw', 'lamb', 'muon']",
        ),
        (("text-classification", "--data", "{texts}", "--resume", "--overwrite"), "give one of them"),
    ],
)
def test_mistakes(cli, texts: Path, tmp_path: Path, words: tuple[str, ...], message: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("train", *(word.format(texts=texts) if word == "{texts}" else word for word in words))
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_bad_data_leaves_the_older_run_alone(cli, options, small, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    write_csv(tmp_path / "bad.csv", ("text", "label"), [("good day", "fine"), ("", "poor")])
    result = cli("train", "text-classification", "--data", tmp_path / "bad.csv", "--output", folder, "--overwrite")
    assert result.exit_code == 2
    assert "bad.csv, line 3" in result.stderr
    assert runs.latest_checkpoint(folder / "checkpoints") is not None


def test_seeds_print_mean_and_deviation(cli, options, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = cli("train", *options, "--seeds", 2, "--output", folder, "--quiet")
    assert result.exit_code == 0, result.output
    assert "seed-0" in result.stdout
    assert "±" in result.stdout
    report = json.loads(cli("train", *options, "--seeds", 2, "--output", folder, "--resume", "--json").stdout)
    assert list(report["runs"]) == ["seed-0", "seed-1"]
    refused = cli("train", *options, "--seeds", 2, "--output", folder)
    assert refused.exit_code == 2
    assert "already holds a run" in refused.stderr
    assert cli("train", *options, "--folds", 2, "--output", folder, "--overwrite", "--quiet").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["fold-0", "fold-1", "recipe.yaml", "summary.json"]


def test_seeds_or_folds_not_both(cli, options, tmp_path: Path) -> None:
    result = cli("train", *options, "--seeds", 2, "--folds", 2, "--output", tmp_path / "run")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


def test_only_a_part_is_trained(cli, options, tmp_path: Path) -> None:
    result = cli("train", *options, "--trainable", "lora", "--layer-decay", 0.8, "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "of them trained (lora)" in result.stdout
    recipe = yaml.safe_load((tmp_path / "run/recipe.yaml").read_text())
    assert (recipe["train"]["trainable"], recipe["train"]["optimizer"]["layer_decay"]) == ("lora", 0.8)
