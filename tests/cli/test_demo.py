"""The demo, in a few training steps: what it writes must be there, agree with the saved model, and be usable."""

import base64
import io
import json
import re
import shlex
import shutil
from contextlib import redirect_stdout
from dataclasses import dataclass
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import perceivers
from perceivers.cli.app import app
from perceivers.cli.demo import QUICK, as_arrays, compare, fit_baseline, look, run_demo
from perceivers.data import DataConfig, load_data
from perceivers.data.samples import sample_names
from perceivers.train import evaluate
from perceivers.zoo import bundled_models, read_facts

INSIDE = ("image/png", "video/mp4", "audio/wav")
MINIS = ("mini-clip", "mini-flow", "mini-images", "mini-sounds", "mini-words")
PICTURES = ("attention", "confusion-matrix", "errors", "learning-curve", *MINIS, "samples")


@dataclass(frozen=True)
class Demo:
    folder: Path
    printed: str

    @property
    def html(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    @property
    def metrics(self) -> dict[str, float]:
        return json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("a folder") / "demo"
    printed = io.StringIO()
    with redirect_stdout(printed):
        run_demo(folder, quick=True)
    return Demo(folder, printed.getvalue())


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray]:
    return as_arrays(load_data(DataConfig(source="digits"), ("image", "label")).eval)


def test_metrics_are_those_of_the_saved_model(demo: Demo) -> None:
    pipe = perceivers.pipeline("image-classification", demo.folder / "model")
    rows = load_data(DataConfig(source="digits"), ("image", "label")).eval
    metrics = demo.metrics
    assert list(metrics) == ["accuracy", "baseline_accuracy", "seconds", "seed", "test_examples", "parameters"]
    assert metrics["accuracy"] == pytest.approx(evaluate(pipe.task, pipe.model, rows)["accuracy"])
    assert metrics["test_examples"] == len(rows)
    assert metrics["parameters"] == sum(parameter.numel() for parameter in pipe.model.parameters())
    assert metrics["seconds"] > 0
    history = (demo.folder / "model" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(history[-1])["step"] == QUICK["train.max_steps"]


def test_the_samples_are_held_out_images_and_are_asked_by_path(
    demo: Demo, held_out: tuple[np.ndarray, np.ndarray]
) -> None:
    pipe = perceivers.pipeline(model=demo.folder / "model")
    paths = sorted((demo.folder / "samples" / "digits").iterdir())
    assert len(paths) == 12
    printed = [line.split() for line in demo.printed.splitlines() if ".png" in line]
    for path, words in zip(paths, printed, strict=True):
        index = int(path.stem.removeprefix("test-"))
        np.testing.assert_array_equal(np.asarray(Image.open(path)), held_out[0][index])
        answer, truth = pipe(path)[0], str(held_out[1][index])
        verdict = "right" if answer["label"] == truth else "wrong"
        assert words[-6:] == [answer["label"], f"{answer['score']:.1%}", *words[-4:-2], truth, verdict]


class Links(HTMLParser):
    """Collects what a page would load, and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]
        if tag not in ("meta", "img", "source", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_needs_no_other_file(demo: Demo) -> None:
    links = Links()
    links.feed(demo.html)
    assert not links.open
    assert "@import" not in demo.html
    assert "url(" not in demo.html
    kinds = {kind: [link for link in links.loads if link.startswith(f"data:{kind};base64,")] for kind in INSIDE}
    assert sum(map(len, kinds.values())) == len(links.loads)
    (film,), sounds = (
        [base64.b64decode(link.partition(",")[2]) for link in kinds[kind]] for kind in ("video/mp4", "audio/wav")
    )
    assert film == (demo.folder / "answers" / "clip" / "clip.side.mp4").read_bytes()
    assert sounds == [path.read_bytes() for path in sorted((demo.folder / "samples" / "sounds").iterdir())]
    inside = {base64.b64decode(link.partition(",")[2]) for link in kinds["image/png"]}
    beside = {path.name: path.read_bytes() for path in (demo.folder / "pictures").iterdir()}
    assert sorted(beside) == sorted(f"{name}{mode}.png" for name in PICTURES for mode in ("", "-dark"))
    assert inside == set(beside.values())


def test_the_shipped_models_are_asked(demo: Demo) -> None:
    files = {path.relative_to(demo.folder / "samples").as_posix() for path in (demo.folder / "samples").rglob("*.*")}
    assert {*sample_names(), "README.md"} <= files
    for spec in bundled_models():
        (line,) = (line for line in demo.printed.splitlines() if line.startswith(f"{spec.name} "))
        assert line.removeprefix(spec.name).strip()
        for limit in read_facts(spec.name).limits:
            assert escape(limit) in demo.html
    command = re.search(r"<pre>(perceivers predict audio-classification .*?)</pre>", demo.html)
    assert command is not None
    result = CliRunner().invoke(app, shlex.split(unescape(command[1]))[1:])
    assert result.exit_code == 0, result.output
    assert "in the package" in result.output


def test_the_report_and_the_terminal_tell_the_scores(demo: Demo) -> None:
    for text in (demo.html, demo.printed):
        assert f"{demo.metrics['accuracy']:.2%}" in text
        assert f"{demo.metrics['baseline_accuracy']:.2%}" in text
        assert f"{demo.metrics['parameters']:,}" in text
    assert "the score means nothing" in demo.html
    assert f"On all {demo.metrics['test_examples']} held-out images it gives the same label" in demo.html


def test_the_commands_in_the_report_run(demo: Demo) -> None:
    listing = unescape(re.findall(r"<pre>(.*?)</pre>", demo.html, re.DOTALL)[-1])
    commands = [shlex.split(line)[1:] for line in listing.splitlines() if line.startswith("perceivers ")]
    assert [words[0] for words in commands] == ["demo", "train", "evaluate", "predict"]
    for words in commands[2:]:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    code = listing[listing.index("import perceivers") :]
    answers: dict[str, object] = {}
    exec(code.replace("classify(", "answer = classify(", 1), answers)
    assert isinstance(answers["answer"], list)


def test_a_second_demo_replaces_the_first(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawing takes longer than the training, and is the same again.
    monkeypatch.setattr("perceivers.cli.demo.build_page", lambda findings, shown: ("a new page", []))
    monkeypatch.setattr("perceivers.cli.demo.ask_minis", lambda output: [])
    again = Demo(Path(shutil.copytree(demo.folder, tmp_path / "demo")), "")
    with redirect_stdout(io.StringIO()):
        run_demo(again.folder, quick=True)
    assert again.html == "a new page"
    assert {**again.metrics, "seconds": 0} == {**demo.metrics, "seconds": 0}
    old = {path.name for path in (demo.folder / "model" / "curves").rglob("events*")}
    new = {path.name for path in (again.folder / "model" / "curves").rglob("events*")}
    assert new
    assert not new & old
    assert not list(again.folder.rglob(".writing-*"))


def test_compare_returns_the_largest_difference_and_refuses_other_answers() -> None:
    ours = [[{"label": "a", "score": 0.7}, {"label": "b", "score": 0.3}]]
    close = [[{"label": "a", "score": 0.6}, {"label": "b", "score": 0.4}]]
    other = [[{"label": "b", "score": 0.6}, {"label": "a", "score": 0.4}]]
    assert compare(ours, ours) == 0
    assert compare(ours, close) == pytest.approx(0.1)
    with pytest.raises(RuntimeError, match=r"image 0: the model in memory says .*'a'.*the loaded one .*'b'"):
        compare(ours, other)


def test_attention_of_each_latent_is_a_share_of_the_grid(demo: Demo, held_out: tuple[np.ndarray, np.ndarray]) -> None:
    pipe = perceivers.pipeline(model=demo.folder / "model")
    gaze = look(pipe, held_out[0][0], "0")
    height, width = pipe.model.inputs(pipe.model.inputs.example_batch(1)).grid_shape
    assert gaze.maps.shape == (pipe.model.config.encoder.num_latents, height, width)
    np.testing.assert_allclose(gaze.maps.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_the_baseline_is_logistic_regression_on_pixels() -> None:
    noise = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = (noise.integers(0, 60, (90, 4, 4)) + 80 * labels[:, None, None]).astype(np.uint8)
    baseline = fit_baseline((images[:60], labels[:60]), (images[60:], labels[60:]))
    assert baseline.accuracy == 1
    assert baseline.parameters == 3 * 16 + 3
