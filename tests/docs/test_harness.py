"""What runs the documentation sees what is wrong with it: otherwise its tests could not fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from doc_blocks import ROOT, SHELL, Block, commands, pages, read_blocks
from doc_files import FILES, RUNS, make_files, named_in
from doc_runs import CHECKS, Page, check_output

PAGE = ROOT / "docs" / "page.md"
RunBlock = Callable[[str, str], None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunBlock:
    page = Page(tmp_path, tmp_path / "hub", monkeypatch)
    return lambda language, text: page.run(Block(PAGE, 7, language, text))


def test_all_pages_are_walked() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()}
    assert {"README.md", "CONTRIBUTING.md", "notebooks/README.md", "docs/index.md", "docs/tasks/fill-mask.md"} <= names


def test_blocks_are_found_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        "# Title\n\n```python\na = 1\n```\n\n- list\n\n  ```bash\n  perceivers tasks\n  ```\n\n"
        "<!-- not run: it needs a cluster -->\n```\nsrun perceivers\n```\n",
        encoding="utf-8",
    )
    blocks = read_blocks(path)
    assert [(block.line, block.language, block.text) for block in blocks] == [
        (3, "python", "a = 1"),
        (9, "bash", "perceivers tasks"),
        (14, "", "srun perceivers"),
    ]
    assert [block.skipped for block in blocks] == [None, None, "it needs a cluster"]
    path.write_text("```python\na = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="never closed"):
        read_blocks(path)


def test_commands_are_read_as_a_shell_reads_them() -> None:
    text = 'mkdir a; cp b a   # both\ncat "a b" | perceivers predict \\\n    x -\n'
    found = commands(Block(PAGE, 1, "bash", text))
    assert [(command.line, command.stages) for command in found] == [
        (2, [["mkdir", "a"]]),
        (2, [["cp", "b", "a"]]),
        (3, [["cat", "a b"], ["perceivers", "predict", "x", "-"]]),
    ]
    shown = commands(Block(PAGE, 1, "console", "$ perceivers tasks\none\ntwo\n$ perceivers models"))
    assert [command.output for command in shown] == ["one\ntwo", None]
    with pytest.raises(ValueError, match="a console block has commands after"):
        commands(Block(PAGE, 1, "console", "perceivers tasks"))


@pytest.mark.parametrize(
    ("language", "text", "message"),
    [
        ("python", "\nraise KeyError('x')", r"docs/page\.md:9: KeyError"),
        ("python", "print(1 + 1)  # 3", r"docs/page\.md:8: shown is\n3\nprinted was\n2"),
        ("python", "print([0.25, 1])  # [0.3..., 1]", "printed was"),
        ("bash", "perceivers predict no-such-model a", r"page\.md:7 \(line 8\)"),
        ("bash", "perceivers tasks --colour", "No such option"),
        ("bash", "perceivers bench --colour", "no such option|No such option"),
        ("bash", "make coffee", "make has no target 'coffee'"),
        ("bash", 'pip install "perceivers[coffee]"', "is none of"),
        ("bash", "python benchmarks/absent.py", "no file of the repository"),
        ("bash", "python benchmarks/units.py --colour", "has no option --colour"),
        ("bash", "torchrun --colour -m perceivers.cli tasks", "."),
        ("bash", "git clone https://example.org/perceivers", "the repository is"),
        ("bash", "sing", "'sing' is neither run nor checked"),
        ("console", "$ perceivers --version\nperceivers 0.0.0", r"printed was\nperceivers"),
        ("json", '{"a": 1,}', "JSONDecodeError"),
        ("yaml", "task: fill-mask\ncolour: red\ndata: {source: x}", "colour"),
        ("ruby", "puts 1", "no block of language 'ruby'"),
    ],
)
def test_what_is_wrong_is_seen(run: RunBlock, language: str, text: str, message: str) -> None:
    with pytest.raises((AssertionError, SystemExit), match=message):
        run(language, text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "print([0.25, 1])  # [0.2..., 1]\nx = 3  # 4"),
        ("python", "for i in range(2):\n    print(i)"),
        ("bash", 'make demo   # minutes\npip install "perceivers[train,video]" jupyterlab'),
        ("bash", "mkdir new; perceivers --version | cat"),
        ("console", "$ perceivers --version\nperceivers ..."),
        ("json", '{"a": 1}\n{"a": 2}'),
        ("yaml", "task: fill-mask\ndata: {source: x}\ntrain: {max_steps: 3}"),
        ("text", "anything"),
    ],
)
def test_what_is_right_passes(run: RunBlock, language: str, text: str) -> None:
    run(language, text)


def test_names_are_whole_paths() -> None:
    assert named_in("predict runs/digits photos/ --data-option photos=PHOTOS", [*FILES, *RUNS]) == [
        "photos/",
        "PHOTOS",
        "runs/digits",
    ]
    assert not named_in("my-photo.jpg MORE_SQUAD runs/digits-two photo.jpgs", [*FILES, *RUNS])


def test_files_are_made_once(tmp_path: Path) -> None:
    make_files("perceivers predict fill-mask messages.txt", tmp_path)
    (tmp_path / "messages.txt").write_text("mine", encoding="utf-8")
    make_files("messages.txt", tmp_path)
    assert (tmp_path / "messages.txt").read_text(encoding="utf-8") == "mine"


def test_output_has_wildcards() -> None:
    check_output("a ... c", "a b\nc", "here")
    with pytest.raises(AssertionError, match="here"):
        check_output("a ... d", "a b c", "here")


def test_every_check_has_a_command_to_look_at() -> None:
    shell = [block for page in pages() for block in read_blocks(page) if block.language in SHELL]
    first = {stage[0] for block in shell for command in commands(block) for stage in command.stages}
    assert set(CHECKS) <= first
