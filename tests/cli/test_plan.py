"""`perceivers plan`: its tables, its JSON and its errors."""

import json

import pytest

from perceivers.planning import plan


def test_json_has_the_plan(cli) -> None:
    result = cli("plan", "digits-small", "--no-time", "--batch-size", 4, "--set", "encoder.num_latents=8", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    expected = plan("digits-small", batch_size=4, overrides={"encoder.num_latents": 8}, measure=False)
    assert found == {**json.loads(json.dumps(expected.to_json())), "paper": []}
    assert {"parameters", "flops", "activation_bytes"} <= set(found)


def test_the_paper_stands_beside_a_released_model(cli) -> None:
    paper = json.loads(cli("plan", "language", "--no-time", "--json").stdout)["paper"]
    assert [entry["flops"] for entry in paper] == [113_000_000_000]
    assert abs(paper[0]["matching_deviation"]) < 0.01
    # Of something else than what the paper counts, its figures say nothing.
    assert json.loads(cli("plan", "language", "--length", 512, "--no-time", "--json").stdout)["paper"] == []


def test_the_table_has_stages_totals_and_paper(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = cli("plan", "image-fourier", "--no-time")
    assert result.exit_code == 0, result.output
    for text in ("50176 x 261", "48,440,627", "406.1 G", "407 G", "-0.2%", "peak memory"):
        assert text in result.stdout
    assert "expected time" not in result.stdout


def test_time_and_tiles_are_told(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = cli("plan", "optical-flow-small", "--image-size", "150x300")
    assert result.exit_code == 0, result.output
    for text in ("6, one after the other", "expected time", "FLOP/s", "threads"):
        assert text in result.stdout


def test_training_shows_gradients_and_optimiser(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = cli("plan", "digits-small", "--training", "--no-time", "--outputs", "1")
    assert result.exit_code == 0, result.output
    for text in ("backward", "gradients", "AdamW"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-size", "224"], "error: --image-size '224' must have the form HxW, e.g. 436x1024\n"),
        (["--image-size", "0x9"], "error: --image-size '0x9' must have the form HxW, e.g. 436x1024\n"),
        (["--outputs", "many"], "error: --outputs 'many' must be a number from 1, or all\n"),
        (["--dtype", "int4"], "error: dtype 'int4' not found; choices = ['float32', 'bfloat16']\n"),
        (["--set", "encoder.num_latents"], "error: --set 'encoder.num_latents' must have the form name=value\n"),
    ],
)
def test_wrong_options_are_one_line(cli, options: list[str], message: str) -> None:
    result = cli("plan", "digits-small", "--no-time", *options)
    assert (result.exit_code, result.stderr) == (2, message)
