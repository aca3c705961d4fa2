"""Runs what code blocks hold: Python in one namespace a page, commands in this process and offline.

A training run is shortened to two steps by the `Trainer` itself, so that it is the same for a command, a recipe and
Python. What cannot be run here is checked instead: launchers, `make`, `pip`, `python benchmarks/...`.
"""

import ast
import contextlib
import doctest
import glob
import io
import json
import re
import shlex
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub.constants as hub_constants
import pytest
import typer
from typer.testing import CliRunner

from doc_blocks import LANGUAGES, ROOT, Block, Command, commands
from doc_files import RUNS, make_files, named_in
from hub_server import serve
from perceivers.cli.app import app
from perceivers.data import GENERATED, SOURCES
from perceivers.train import TrainConfig, load_recipe
from perceivers.train.loop import Trainer

STEPS = 2
# Rows of data that makes itself, or lies in a package, which a test would wait for.
_LIMIT = 20
# These run for minutes or until they are stopped, and have tests of their own: their words are parsed.
_PARSED = ("app", "bench", "demo")
_REPOSITORY = "https://github.com/perceivers/perceivers"
# Ordinary tools of the shell, which run as they are.
_TOOLS = ("cat", "cp", "head", "mkdir")


def shortened(config: TrainConfig) -> TrainConfig:
    """Return a training run that is over at once."""
    return replace(
        config, max_steps=STEPS, batch_size=min(config.batch_size, 8 * config.accumulation), eval_every=None,
        checkpoint_every=None, num_workers=0, tracker=None,
    )  # fmt: skip


class Page:
    """A page that is being run.

    Args:
        folder: The current folder, which the page may fill.
        cache: Stands for the Hub's.
        patch: Undoes what is changed.
    """

    def __init__(self, folder: Path, cache: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.module = ModuleType("docs_page")
        patch.setitem(sys.modules, "docs_page", self.module)
        patch.chdir(folder)
        patch.setattr(hub_constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        patch.setenv("COLUMNS", "120")
        _shorten(patch)

    def run(self, block: Block) -> None:
        """Run or check one block.

        Raises:
            AssertionError: It is not what it says it is; the message names file and line.
        """
        assert block.language in LANGUAGES, f"{block.place}: no block of language '{block.language}'; {LANGUAGES}"
        if block.skipped is not None or block.language == "text":
            return
        try:
            if block.language == "python":
                self._prepare(block.text)
                if "stable_baselines3" in block.text:
                    _shorten_agents(self.patch)
                run_python(block, self.module)
            elif block.language == "json":
                for line in _documents(block.text):
                    json.loads(line)
            elif block.language == "yaml":
                self._check_recipe(block.text)
            else:
                for command in commands(block):
                    self._command(block, command)
        except AssertionError:
            raise
        except BaseException as error:
            raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error

    def _prepare(self, text: str) -> None:
        """Make the files that are named, and train the models."""
        make_files(text, self.folder)
        for name in named_in(text, RUNS):
            if not (self.folder / name).exists():
                make_files(RUNS[name], self.folder)
                self._perceivers(["train", *shlex.split(RUNS[name]), "--output", name, "--quiet"])

    def _check_recipe(self, text: str) -> None:
        path = self.folder / "recipe-of-the-page.yaml"
        path.write_text(text, encoding="utf-8")
        load_recipe(str(path))

    def _command(self, block: Block, command: Command) -> None:
        place = f"{block.place} (line {command.line})"
        printed = ""
        for stage in command.stages:
            words = _expanded(stage)
            # The run that a command makes need not be there.
            made = words[words.index("--output") + 1] if "--output" in words and "--resume" not in words else ""
            self._prepare(" ".join(word for word in words if word != made or "train" not in words))
            variables = [word for word in words if re.fullmatch(r"[A-Z_]+=\S*", word)]
            words = words[len(variables) :]
            words, target = (words[:-2], words[-1]) if ">" in words else (words, None)
            try:
                printed = self._stage(words, printed)
            except AssertionError as error:
                raise AssertionError(f"{place}: {shlex.join(words)}\n{error}") from error
            if target is not None:
                (self.folder / target).write_text(printed, encoding="utf-8")
        if command.output is not None and command.output.strip():
            check_output(command.output, printed, place)

    def _stage(self, words: list[str], stdin: str) -> str:
        """Run one command, and return what it prints."""
        name = words[0]
        if name == "perceivers":
            return self._perceivers(words[1:], stdin)
        if name in ("torchrun", "accelerate"):
            return self._launch(words)
        if name in _TOOLS:
            done = subprocess.run(words, input=stdin, capture_output=True, text=True, cwd=self.folder, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout
        assert name in CHECKS, f"'{name}' is neither run nor checked; choices = {sorted([*CHECKS, *_TOOLS])}"
        CHECKS[name](words[1:])
        return ""

    def _launch(self, words: list[str]) -> str:
        """Check the words for a launcher, and run what it would start as one process."""
        at = words.index("-m")
        assert words[at + 1] == "perceivers.cli", f"-m {words[at + 1]} is not perceivers.cli"
        _check_launcher(words[0], words[1:])
        own = words[at + 2 :]
        if "--fsdp" not in own:
            return self._perceivers(own)
        # One process has nobody to share with; everything before that is as it would be.
        done = CliRunner().invoke(app, own)
        assert done.exit_code == 2, done.output
        assert "launch more with torchrun" in done.stderr, done.stderr
        return ""

    def _perceivers(self, words: list[str], stdin: str = "") -> str:
        if words[0] in _PARSED:
            typer.main.get_command(app).commands[words[0]].make_context(words[0], list(words[1:]))
            return ""
        with contextlib.ExitStack() as stack:
            if words[0] == "push":
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.setattr(hub_constants, "ENDPOINT", stack.enter_context(serve()).address)
                patch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
                patch.setenv("HF_TOKEN", "secret")
            done = CliRunner().invoke(app, [*words, *_shortening(words)], input=stdin)
        if done.exit_code and done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.stdout


def _shortening(words: list[str]) -> list[str]:
    """Return what makes a command short, and lets the same run stand on a page twice."""
    if words[0] not in ("train", "evaluate"):
        return []
    more = [] if words[0] == "evaluate" or {"--resume", "--overwrite"} & set(words) else ["--overwrite"]
    recipe = words[words.index("--recipe") + 1] if "--recipe" in words else None
    source = words[words.index("--data") + 1] if "--data" in words else recipe and load_recipe(recipe).data.source
    return [*more, "--limit", str(_LIMIT)] if source in (*SOURCES, *GENERATED) and "--limit" not in words else more


def _shorten(patch: pytest.MonkeyPatch) -> None:
    begin = Trainer.__init__

    def begin_short(self: Trainer, *args: Any, **named: Any) -> None:
        arguments = [shortened(arg) if isinstance(arg, TrainConfig) else arg for arg in args]
        begin(self, *arguments, **{**named, "show_progress": False})

    patch.setattr(Trainer, "__init__", begin_short)


def _shorten_agents(patch: pytest.MonkeyPatch) -> None:
    from stable_baselines3 import PPO

    learn = PPO.learn

    def learn_short(self: PPO, total_timesteps: int, **named: Any) -> PPO:
        self.n_steps = self.rollout_buffer.buffer_size = self.batch_size = 16
        self.rollout_buffer.reset()
        return learn(self, 16, **named)

    patch.setattr(PPO, "learn", learn_short)


def run_python(block: Block, module: ModuleType) -> None:
    """Run a block statement by statement; a comment behind a `print` is what it prints."""
    comments = dict(_comments(block.text))
    page = block.place.rpartition(":")[0]
    for statement in ast.parse(block.text).body:
        tree = ast.Module([statement], type_ignores=[])
        ast.increment_lineno(tree, block.line)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(tree, str(block.path), "exec"), module.__dict__)
        except Exception as error:
            raise AssertionError(f"{page}:{statement.lineno}: {type(error).__name__}: {error}") from error
        said = comments.get(statement.end_lineno - block.line if statement.end_lineno else 0)
        is_print = isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("print(")
        if is_print and said is not None:
            check_output(said, printed.getvalue(), f"{page}:{statement.end_lineno}")


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def check_output(wanted: str, printed: str, place: str) -> None:
    """Compare what is shown with what was printed; `...` stands for anything.

    Raises:
        AssertionError: They differ.
    """
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(wanted.strip() + "\n", printed.strip() + "\n", options)
    assert same, f"{place}: shown is\n{wanted}\nprinted was\n{printed}"


def _documents(text: str) -> list[str]:
    """Return the documents of a block of JSON: one, or one a line."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines if len(lines) > 1 and all(line.startswith("{") and line.endswith("}") for line in lines) else [text]


def _expanded(words: list[str]) -> list[str]:
    found = [sorted(glob.glob(word)) if "*" in word else [] for word in words]
    if any("*" in word and not paths for word, paths in zip(words, found, strict=True)):
        make_files(" ".join(words), Path.cwd())
        found = [sorted(glob.glob(word)) if "*" in word else [] for word in words]
    return [path for word, paths in zip(words, found, strict=True) for path in paths or [word]]


def _check_launcher(name: str, words: list[str]) -> None:
    if name == "torchrun":
        from torch.distributed.run import get_args_parser

        get_args_parser().parse_args(words)
    else:
        from accelerate.commands.launch import launch_command_parser

        assert words[0] == "launch", f"accelerate {words[0]}"
        launch_command_parser().parse_args(words[1:])


def _check_make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for word in words:
        assert word in targets, f"make has no target '{word}'; targets = {targets}"


def _check_pip(words: list[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, flags=re.MULTILINE)
    assert words[0] == "install", f"pip {words[0]}"
    for word in words[1:]:
        wanted = re.fullmatch(r"(?:perceivers|\.)(?:\[([\w,]+)\])?(?: @ .+)?", word)
        named = wanted.group(1).split(",") if wanted and wanted.group(1) else []
        assert set(named) <= set(extras), f"{word} names an extra that is none of {extras}"
        assert wanted or re.fullmatch(r"-e|[\w-]+", word), f"pip install {word}"


def _check_python(words: list[str]) -> None:
    script = ROOT / words[0]
    assert script.is_file(), f"{words[0]} is no file of the repository"
    source = script.read_text(encoding="utf-8")
    for word in words[1:]:
        assert not word.startswith("--") or f'"{word}"' in source, f"{words[0]} has no option {word}"


def _check_pytest(words: list[str]) -> None:
    source = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    for word in words:
        assert not word.startswith("--") or f'"{word}"' in source, f"the tests have no option {word}"
        assert not word.startswith("tests/") or (ROOT / word).is_file(), f"{word} is no file of the tests"


def _check_jupyter(words: list[str]) -> None:
    assert words[0] == "lab"
    assert (ROOT / words[1]).is_dir()


def _check_git(words: list[str]) -> None:
    assert words[:2] == ["clone", _REPOSITORY], f"git {' '.join(words)}; the repository is {_REPOSITORY}"


def _check_folder(words: list[str]) -> None:
    assert words == ["perceivers"], "cd leads into the clone only"


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": _check_make,
    "pip": _check_pip,
    "pytest": _check_pytest,
    "python": _check_python,
    "jupyter": _check_jupyter,
    "git": _check_git,
    "cd": _check_folder,
}
