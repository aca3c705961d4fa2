"""`perceivers evaluate` and `perceivers predict` on a model that the command line trained."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli_examples import write_csv
from perceivers.cli.show import result_lines


@pytest.fixture(scope="session")
def image_model(cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells dark images from light ones."""
    home = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 200)):
        (home / "data" / label).mkdir(parents=True)
        for i in range(16):
            pixels = noise.integers(low, low + 50, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "data" / label / f"{i}.png")
    result = cli(
        "train", "image-classification", "--model", "digits-small", "--data", home / "data", "--max-steps", 30,
        "--batch-size", 8, "--learning-rate", 0.01, "--tracker", "none", "--output", home / "run",
        "--set", "train.eval_every=30", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return home / "run"


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_white_space_in_an_answer_is_seen() -> None:
    result = [{"token_str": "a", "score": 0.5}, {"token_str": " ", "score": 0.25}, {"token_str": "\n", "score": 0.125}]
    assert result_lines(result).splitlines() == [" 50.00%  a", ' 25.00%  " "', ' 12.50%  "\\n"']


def test_small_scores_keep_their_order() -> None:
    result = [{"token_str": "ab", "score": 3e-7}, {"token_str": "cd", "score": 1e-9}]
    assert result_lines(result).splitlines() == [" 3e-05%  ab", " 1e-07%  cd"]


def test_entities_are_printed_with_what_they_are() -> None:
    result = [{"entity_group": "place", "score": 0.5, "word": "New York", "start": 3, "end": 11}]
    assert result_lines(result) == " 50.00%  place  New York"


def test_evaluate(cli, trained: Path, texts: Path) -> None:
    report = json.loads(cli("evaluate", trained, "--data", texts, "--json").stdout)
    assert (report["model"], report["task"], report["examples"]) == (str(trained), "text-classification", 8)
    assert report["metrics"]["accuracy"] == 1.0
    table = cli("evaluate", trained, "--data", texts, "--batch-size", 3, "--limit", 5)
    assert table.exit_code == 0, table.output
    assert "scored on 5" in table.stdout
    assert "1.0000  <- score" in table.stdout


def test_evaluate_takes_splits_columns_and_whole_files(cli, trained: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "other.csv", ("body", "kind"), [("good day", "fine"), ("bad night", "poor")] * 5)
    columns = ("--column", "text=body", "--column", "label=kind")
    held_out = json.loads(cli("evaluate", trained, "--data", tmp_path / "other.csv", *columns, "--json").stdout)
    everything = json.loads(
        cli("evaluate", trained, "--data", tmp_path / "other.csv", *columns, "--all", "--json").stdout
    )
    assert (held_out["examples"], everything["examples"]) == (2, 10)
    words = cli("evaluate", trained, "--data", tmp_path / "other.csv", *columns).stdout
    assert "--all scores every example" in words
    assert "--all" not in cli("evaluate", trained, "--data", tmp_path / "other.csv", *columns, "--all").stdout
    (tmp_path / "both").mkdir()
    for name, count in (("train", 6), ("test", 3)):
        write_csv(tmp_path / "both" / f"{name}.csv", ("text", "label"), [("good", "fine"), ("bad", "poor")] * count)
    for options, count in (((), 6), (("--split", "train"), 12), (("--all",), 18)):
        report = json.loads(cli("evaluate", trained, "--data", tmp_path / "both", *options, "--json").stdout)
        assert report["examples"] == count
    result = cli("evaluate", trained, "--data", tmp_path, "--split", "summer")
    assert result.exit_code == 2


def test_evaluate_changes_settings(cli, trained: Path, texts: Path) -> None:
    plain, smooth = (
        json.loads(cli("evaluate", trained, "--data", texts, *options, "--json").stdout)
        for options in ((), ("--set", "byte_dropout=0.5"))
    )
    assert smooth == plain  # It counts while training only.
    result = cli("evaluate", trained, "--data", texts, "--set", "colour=red")
    assert result.exit_code == 2
    assert "no field 'colour'" in result.output


def test_evaluate_refuses_labels_that_the_model_does_not_know(cli, trained: Path, tmp_path: Path) -> None:
    rows = [("good day", "fine"), ("bad night", "poor"), ("so so", "middling")] * 3
    write_csv(tmp_path / "new.csv", ("text", "label"), rows)
    result = cli("evaluate", trained, "--data", tmp_path / "new.csv")
    assert result.exit_code == 2
    assert "label 'middling' is not one of the known labels ['fine', 'poor']" in result.stderr


def test_predict_text_and_stdin(cli, trained: Path) -> None:
    result = cli("predict", trained, "good day", "-", "--json", "--batch-size", 2, stdin="bad night\n\ngood day\n")
    assert result.exit_code == 0, result.output
    answers = lines(result.stdout)
    assert [answer["input"] for answer in answers] == ["good day", "bad night", "good day"]
    assert [answer["result"][0]["label"] for answer in answers] == ["fine", "poor", "fine"]
    assert all(sum(entry["score"] for entry in answer["result"]) == pytest.approx(1) for answer in answers)


def test_predict_prints_answers_below_their_input(cli, trained: Path) -> None:
    long = "good day " * 20
    result = cli("predict", trained, "good day", long, "--top-k", 1, "--task", "text-classification")
    assert result.exit_code == 0
    first, answer, second, other = result.stdout.splitlines()
    assert (first, second.strip()) == ("good day", long.strip())
    for line in (answer, other):
        assert re.fullmatch(r"  +[0-9.]+%  (fine|poor)", line)
    assert answer.endswith("fine")


def test_predict_goes_on_after_an_unreadable_input(cli, image_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    for name, value in (("a", 10), ("c", 240)):
        Image.new("L", (16, 12), value).save(folder / f"{name}.png")
    (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    result = cli("predict", image_model, folder, tmp_path / "absent.png", "--json", "--picture", tmp_path / "out")
    assert result.exit_code == 1
    answers = lines(result.stdout)
    assert [Path(answer["input"]).name for answer in answers] == ["a.png", "c.png"]
    assert [answer["result"][0]["label"] for answer in answers] == ["dark", "light"]
    model, *errors = result.stderr.splitlines()
    assert model == f"model   {image_model} (folder)"
    assert len(errors) == 2
    assert "b.png" in errors[0]
    assert "absent.png" in errors[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_pictures_have_names_of_their_own(cli, image_model: Path, trained: Path, tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / folder / "same.png")
    out = tmp_path / "out"
    names = (tmp_path / "x", tmp_path / "y")
    assert cli("predict", image_model, *names, "--picture", out).exit_code == 0
    assert cli("predict", trained, "good day? / yes!", "--picture", out).exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == ["good-day-yes.png", "same-2.png", "same.png"]
    for path in out.iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.width > 100) == ("PNG", True)


def test_predict_stdin_of_file_names(cli, image_model: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 250).save(tmp_path / "one.png")
    result = cli("predict", image_model, "-", "--json", stdin=f"{tmp_path / 'one.png'}\n{tmp_path / 'no.png'}\n")
    assert result.exit_code == 1
    assert [answer["result"][0]["label"] for answer in lines(result.stdout)] == ["light"]
    assert "no.png" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{tmp}", "x"), "is no saved model"),
        (("digits-small", "x"), "digits-small"),
        (("{trained}", "x", "--task", "fill-mask"), "was trained for 'text-classification', not 'fill-mask'"),
        (("{trained}", "x", "--task", "poetry"), "task 'poetry' not found"),
        (("{trained}", "x", "--device", "toaster"), "device 'toaster' cannot be used"),
    ],
)
def test_predict_mistakes(cli, trained: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = cli("predict", *(word.format(tmp=tmp_path, trained=trained) for word in words))
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_an_empty_stdin_is_reported(cli, trained: Path) -> None:
    result = cli("predict", trained, "-", stdin="")
    assert result.exit_code == 1
    assert "nothing to predict on" in result.stderr
