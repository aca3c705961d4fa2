"""`perceivers bulk`: a whole source, file by file."""

import json
from pathlib import Path

import pytest

from cli_examples import write_csv


def test_a_table_is_answered_file_by_file_and_the_same_command_goes_on(cli, trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "messages.csv"
    write_csv(table, ("message", "other"), [("good day", "x") for _ in range(7)])
    words = ("bulk", trained, table, "--output", tmp_path / "answers", "--rows-per-part", 3, "--json")
    result = cli(*words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"output": str(tmp_path / "answers"), "files": 3, "rows": 7, "errors": 0}
    assert result.stderr.count("wrote") == 3
    first = [json.loads(line) for line in (tmp_path / "answers/part-00000.jsonl").read_text().splitlines()]
    assert [row["input"] for row in first] == [f"{table}:{i}" for i in (2, 3, 4)]
    assert first[0]["result"][0]["label"] == "fine"
    (tmp_path / "answers/part-00001.jsonl").unlink()
    again = cli(*words)
    assert (again.stderr.count("wrote"), again.stderr.count("kept")) == (1, 2)


def test_processes_share_the_files(cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"bad night {i}\n" for i in range(6)))
    words = ("bulk", trained, lines, "--output", tmp_path / "answers", "--rows-per-part", 2, "--form", "parquet")
    assert "4 answers in 2 files" in cli(*words, "--shard", "0/2").stdout
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "2 answers in 1 files" in cli(*words).stdout
    found = sorted(path.name for path in (tmp_path / "answers").iterdir())
    assert found == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet", "plan.json"]


def test_what_does_not_fit_is_told(cli, trained: Path, tmp_path: Path) -> None:
    table = tmp_path / "messages.csv"
    write_csv(table, ("words", "other"), [("good day", "x"), ("", "y")])
    output = ("--output", tmp_path / "answers")
    lacking = cli("bulk", trained, table, *output)
    assert lacking.exit_code == 2
    assert "no column for 'text'" in lacking.stderr
    assert "--column text=<column>" in lacking.stderr
    found = cli("bulk", trained, table, "--column", "text=words", *output)
    assert found.exit_code == 1
    assert "2 answers in 1 files" in found.stdout
    assert "1 errors" in found.stdout
    for words, message in (
        (("--shard", "3/2"), "must have the form I/N"),
        (("--column", "colour=words"), "that text-classification does not have"),
        (("--form", "xml", "--output", tmp_path / "b"), "is not one of"),
    ):
        refused = cli("bulk", trained, table, *output, *words)
        assert refused.exit_code == 2
        assert message in refused.stderr.replace("\n", " ")
