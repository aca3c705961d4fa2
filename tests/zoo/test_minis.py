"""The models that ship with the package: they are there, they are what their facts say, and they answer offline."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import perceivers
from perceivers.cli.app import app
from perceivers.data import DataConfig, load_data
from perceivers.data.samples import sample, sample_names
from perceivers.pretrained.folder import load_folder, own_tensors, read_config
from perceivers.pretrained.source import open_source
from perceivers.processing.flow import read_flow
from perceivers.tasks import TASKS
from perceivers.tasks.base import task_from_json
from perceivers.train import evaluate
from perceivers.train.recipe import load_recipe, prepare_run
from perceivers.zoo import MINI, ZOO, bundled_folder, bundled_models, mini_of, read_facts

ROOT = Path(__file__).parents[2]
MINIS = [spec.name for spec in bundled_models()]
SHARED_DATA = ROOT.parent / "shared" / "data"
# How each is scored again: the data beside the repository, its split, and settings with the scores that they give.
SCORED: dict[str, tuple[str, str | None, dict[str, dict[str, Any]]]] = {
    "text-mini": ("text_lm", None, {"word_": {}, "byte_": {"masking": "bytes"}}),
    "image-mini": ("image_classification/eurosat", None, {"": {}}),
    "flow-mini": ("optical_flow/warped_pairs", "test", {"": {}}),
}


@pytest.fixture(scope="module")
def bundler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle_mini", ROOT / "benchmarks" / "bundle_mini.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_a_mini_for_each_of_these_tasks() -> None:
    assert {mini_of(spec.task or ""): spec.task for spec in bundled_models()} == {
        "audio-mini": "audio-classification",
        "flow-mini": "optical-flow",
        "image-mini": "image-classification",
        "text-mini": "fill-mask",
        "video-mini": "video-autoencoding",
    }


@pytest.mark.parametrize("name", MINIS)
def test_weights_are_small_and_of_the_zoos_model(name: str) -> None:
    folder = bundled_folder(name)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "facts.json", "model.safetensors")
    ]
    assert (folder / "model.safetensors").stat().st_size <= 8_000_000
    config, task = read_config(folder)
    assert config == ZOO[name].config
    assert task is not None
    assert task["name"] == ZOO[name].task
    model, _ = load_folder(folder)
    assert all(tensor.isfinite().all() for tensor in own_tensors(model).values())


def test_all_weights_together_are_small() -> None:
    files = (path for name in MINIS for path in bundled_folder(name).iterdir())
    assert sum(path.stat().st_size for path in files) <= 30_000_000


@pytest.mark.parametrize("name", MINIS)
def test_the_card_says_what_the_facts_say(name: str, bundler: ModuleType) -> None:
    """Where this fails, run: python benchmarks/bundle_mini.py."""
    _, task = load_folder(bundled_folder(name))
    labels = tuple((task or {}).get("labels") or ())
    card = (bundled_folder(name) / "README.md").read_text(encoding="utf-8")
    assert card == bundler.card(ZOO[name], read_facts(name), labels)


@pytest.mark.parametrize("name", MINIS)
def test_the_facts_are_complete(name: str) -> None:
    facts = read_facts(name)
    assert ZOO[name].licence
    assert facts.steps > 0
    assert facts.minutes > 0
    assert facts.limits
    assert all(facts.scores.values())
    for scores in facts.baselines.values():
        assert scores
        assert set(scores) <= set(facts.scores)
    for command in facts.commands:
        words = command.split()
        assert words[:3] == ["perceivers", "train", "--recipe"]
        load_recipe(words[3])
    assert all(command.startswith(f"perceivers evaluate {name} --data ") for command in facts.score_commands)


def test_no_facts_without_weights() -> None:
    with pytest.raises(ValueError, match=r"'language' does not ship with the package; choices = \['audio-mini', "):
        read_facts("language")


@pytest.mark.parametrize("name", MINIS)
def test_a_mini_is_loaded_by_its_name_and_as_the_mini_of_its_task(name: str) -> None:
    opened = open_source(name)
    assert opened.origin == f"{name} (in the package)"
    pipe = perceivers.pipeline(ZOO[name].task, "mini")
    assert pipe.origin == opened.origin
    assert pipe.task.name == ZOO[name].task
    for weight, other in zip(opened.model.parameters(), perceivers.load(name).parameters(), strict=True):
        assert weight.equal(other)


def test_names_that_cannot_be_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'mini' is the mini of a task, and no task is named; choices = \['audio-mi"):
        perceivers.load(MINI)
    with pytest.raises(ValueError, match=r"no model for 'text-classification' ships with the package; choices = \["):
        perceivers.pipeline("text-classification", "mini")
    with pytest.raises(ValueError, match="'text-mini' ships with the package"):
        perceivers.load("text-mini", revision="main")
    with pytest.raises(ValueError, match=r"no model with weights; choices = \[.*'image-fourier'.*'image-mini'"):
        perceivers.load("no-such-mini")


def test_scores_of_clips_are_those_of_the_facts() -> None:
    """The clips are made by the package, so that this needs no other data."""
    pipe = perceivers.pipeline("video-autoencoding", "mini")
    found = evaluate(pipe.task, pipe.model, load_data(DataConfig(source="clips"), ("video", "label")).eval)
    assert found == pytest.approx(read_facts("video-mini").scores, abs=0.02)
    baseline = read_facts("video-mini").baselines["128 principal components, as many as the code has numbers"]
    for name in ("video_psnr", "audio_psnr"):
        assert found[name] > baseline[name]


@pytest.mark.shared
@pytest.mark.parametrize("name", SCORED)
def test_scores_are_those_of_the_facts(name: str) -> None:
    source, split, variants = SCORED[name]
    if not (SHARED_DATA / source).is_dir():
        pytest.skip("the data lies beside the repository only")
    opened = open_source(name)
    found = {}
    for prefix, settings in variants.items():
        task = task_from_json({**(opened.task or {}), **settings}, opened.model.config)
        data = DataConfig(source=str(SHARED_DATA / source), eval_split=split)
        rows = load_data(data, task.roles_for(opened.model.config), optional_roles=task.optional_roles).eval
        found |= {f"{prefix}{metric}": value for metric, value in evaluate(task, opened.model, rows).items()}
    scores = read_facts(name).scores
    assert {metric: found[metric] for metric in scores} == pytest.approx(scores, rel=2e-3)


@pytest.mark.shared
def test_scores_of_sounds_are_those_of_the_facts() -> None:
    files = sorted((SHARED_DATA / "audio_classification" / "fsdd" / "test").glob("*.wav"))
    if not files:
        pytest.skip("the data lies beside the repository only")
    opened = open_source("audio-mini")
    task = task_from_json(opened.task or {}, opened.model.config)
    rows = [{"audio": str(path), "label": int(path.name[0])} for path in files]
    found = evaluate(task, opened.model, rows)
    assert found == pytest.approx(read_facts("audio-mini").scores, rel=2e-3)


def test_sounds_are_heard() -> None:
    pipe = perceivers.pipeline("audio-classification", "mini")
    names = [name for name in sample_names() if name.startswith("sounds/")]
    heard = [pipe(sample(name))[0]["label"] == name.removeprefix("sounds/")[0] for name in names]
    assert len(heard) == 10
    assert sum(heard) >= 9


def test_images_are_seen() -> None:
    pipe = perceivers.pipeline("image-classification", "mini")
    names = [name for name in sample_names() if name.startswith("images/")]
    seen = [pipe(sample(name))[0]["label"] == name.removeprefix("images/").partition("_")[0] for name in names]
    assert len(seen) == 10
    assert sum(seen) >= 6


def test_motion_is_seen() -> None:
    result = perceivers.pipeline("optical-flow", "mini")(sample("flow/photo1.jpg"), sample("flow/photo2.jpg"))
    truth = read_flow(sample("flow/photo-motion.png")).flow
    error, still = (np.linalg.norm(truth - flow, axis=-1).mean() for flow in (result.flow, np.zeros_like(truth)))
    assert error < 0.7 * still


def test_words_are_words() -> None:
    pipe = perceivers.pipeline("fill-mask", "mini")
    rows = [json.loads(line) for line in sample("text/passages.jsonl").read_text(encoding="utf-8").splitlines()]
    results = pipe([{"text": row["text"], "hide": row["hide"]} for row in rows])
    assert all(
        len(entry["token_str"]) == len(row["hide"]) for row, run in zip(rows, results, strict=True) for entry in run
    )
    # Of the best answers most are English words; these stand in every old book.
    known = {"there", "from", "with", "that", "their", "the last", "was and", "that Mr.", "when", "would"}
    assert sum(run[0]["token_str"] in known for run in results) >= 4


@pytest.mark.parametrize(
    ("model", "fresh"), [("mini", False), ("text-mini", False), ("language-neighbours-small", True)]
)
def test_training_goes_on_from_a_mini(model: str, fresh: bool, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("It was the best of times, it was the worst of times.\n" * 400)
    changes = {"model": model, "data.source": str(tmp_path / "lines.txt")}
    run = prepare_run(load_recipe("books-512", changes))
    trained = perceivers.load("text-mini")
    same = run.model.get_parameter("encoder.latents").equal(trained.get_parameter("encoder.latents"))
    assert same is not fresh
    assert run.fresh == ()
    if not fresh:
        assert run.about.start == f"the weights of '{model}'"
        assert run.task.settings.beams == 16


def test_a_mini_starts_other_tasks(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text,label\n" + "come home,ham\nwin now,spam\n" * 10)
    changes = {"model": "text-mini", "data.source": str(tmp_path / "texts.csv")}
    run = prepare_run(load_recipe("sms-spam", changes))
    trained = perceivers.load("text-mini")
    assert run.model.get_parameter("encoder.latents").equal(trained.get_parameter("encoder.latents"))
    assert {name.partition(".")[0] for name in run.fresh} == {"queries", "decoder", "outputs"}


def test_the_list_says_what_ships() -> None:
    result = CliRunner().invoke(app, ["models", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(result.output)}
    assert {name for name, entry in entries.items() if entry["bundled"]} == set(MINIS)
    for name in MINIS:
        facts = read_facts(name)
        assert entries[name]["scores"] == facts.scores
        assert entries[name]["baselines"] == facts.baselines
        assert entries[name]["licence"] == ZOO[name].licence
        assert entries[name]["commands"] == list(facts.commands)
    printed = CliRunner().invoke(app, ["models"]).output
    assert "weights: in this package, Apache-2.0" in " ".join(printed.split())


def test_a_mini_answers_on_the_command_line() -> None:
    path = str(sample("sounds/7_jackson_4.wav"))
    result = CliRunner().invoke(app, ["predict", "audio-classification", path, "--model", "mini", "--json"])
    assert result.exit_code == 0, result.output
    line = next(line for line in result.output.splitlines() if line.startswith("{"))
    assert json.loads(line)["result"][0]["label"] == "7"


def test_sample_clips_come_back_with_their_kind() -> None:
    pipe = perceivers.pipeline("video-autoencoding", "mini")
    names = [name for name in sample_names() if name.startswith("clips/")]
    results = pipe([sample(name) for name in names])
    kinds = [name.removeprefix("clips/").partition("_")[0] for name in names]
    assert kinds == sorted(pipe.task.labels or ())
    assert [result.best_labels[0]["label"] for result in results] == kinds
    assert all(result.has_audio and result.video_psnr > 20 and result.audio_psnr > 23 for result in results)


def test_samples_have_a_licence() -> None:
    told = sample("README.md").read_text(encoding="utf-8")
    assert {name.split("/")[0] for name in sample_names()} == {"clips", "flow", "images", "sounds", "text"}
    assert all(f"`{name.split('/')[0]}/" in told for name in sample_names())
    with pytest.raises(ValueError, match=r"sample 'cat.jpg' not found; choices = \['clips/circle_8.mp4', "):
        perceivers.sample("cat.jpg")


def test_tasks_without_a_mini_are_told_apart() -> None:
    with_mini = {spec.task for spec in bundled_models()}
    for name in set(TASKS) - with_mini:
        with pytest.raises(ValueError, match=f"no model for '{name}' ships"):
            mini_of(name)


def test_facts_are_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceivers.zoo.facts.bundled_folder", lambda name: tmp_path)
    (tmp_path / "facts.json").write_text(json.dumps({"about": "x"}))
    with pytest.raises(ValueError, match=r"facts\.json of text-mini"):
        read_facts("text-mini")
