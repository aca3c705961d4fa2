import dataclasses
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from perceivers.data import DataConfig
from perceivers.train import Recipe, TrainConfig, prepare_run
from perceivers.train.card import About
from train_examples import TINY, tiny_trainer

CONFIG = TrainConfig(max_steps=2, batch_size=8, tracker=None)


def front(folder: Path) -> dict[str, object]:
    text = (folder / "README.md").read_text()
    return yaml.safe_load(text.split("---")[1])


def test_a_card_tells_what_was_measured_and_how(tmp_path: Path) -> None:
    folder = tmp_path / "shades"
    trainer = tiny_trainer(folder, dataclasses.replace(CONFIG, seed=4))
    trainer.about = About(data="shades", sizes="24 training and 9 evaluation examples", start="the weights of 'x'")
    result = trainer.run()
    card = ModelCard.load(folder / "README.md")
    card_scores = {found.metric_type: found.metric_value for found in card.data.eval_results or []}
    assert card_scores == pytest.approx(result.metrics, abs=1e-6)
    assert front(folder)["library_name"] == "perceivers"
    assert front(folder)["pipeline_tag"] == "image-classification"
    text = card.text
    for words in (
        f"| accuracy | {result.metrics['accuracy']:.4f} |",
        "evaluation split of shades (24 training and 9 evaluation examples)",
        "Labels: dark, grey, bright.",
        "| start | the weights of 'x' |",
        "| steps | 2 of 8 examples |",
        "| seed | 4 |",
        "perceivers predict shades IMAGE",
    ):
        assert words in text
    assert "flatter" not in text


def test_a_card_warns_of_scores_that_flatter(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, dataclasses.replace(CONFIG, select="best", trainable="outputs"))
    trainer.about = About(held_out=True)
    trainer.run()
    text = (tmp_path / "README.md").read_text()
    assert "the scores flatter" in text
    assert "cut off the same source" in text
    assert "| trained | the outputs alone |" in text


def test_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my notes")
    tiny_trainer(tmp_path, CONFIG).run()
    assert (tmp_path / "README.md").read_text() == "my notes"
    tiny_trainer(tmp_path / "own", CONFIG).run()
    before = (tmp_path / "own/README.md").read_text()
    tiny_trainer(tmp_path / "own", dataclasses.replace(CONFIG, max_steps=3)).run()
    assert (tmp_path / "own/README.md").read_text() != before


def test_where_data_lay_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "private" / "letters.csv"
    path.parent.mkdir()
    path.write_text("text,label\n" + "".join(f"letter {i},{'ab'[i % 2]}\n" for i in range(20)))
    overrides = {**TINY, "inputs.max_length": 16, "queries.num_channels": 16, "decoder.num_heads": 2}
    recipe = Recipe(task="text-classification", data=DataConfig(source=str(path)), overrides=overrides, train=CONFIG)
    prepare_run(recipe).trainer(tmp_path / "run", show_progress=False).run()
    text = (tmp_path / "run/README.md").read_text()
    assert "letters.csv (16 training and 4 evaluation examples, 2 labels)" in text
    assert "random weights of the form 'text-classifier-small'" in text
    assert str(tmp_path) not in text
