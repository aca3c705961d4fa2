"""The site: what its hooks write, and that no page is forgotten."""

import importlib.util
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer
import yaml

from doc_blocks import ROOT, Block, commands
from perceivers.cli.app import app
from perceivers.tasks import TASKS

pytest.importorskip("mkdocs")
DOCS = ROOT / "docs"
# Tests and `--plugin` register tasks as well, in this very process; those have no page.
DOCUMENTED = [name for name in TASKS if TASKS[name].__module__.startswith("perceivers.")]


class _Loader(yaml.SafeLoader):
    """Leaves the tags of MkDocs alone."""


_Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def config() -> dict[str, Any]:
    return yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Loader)


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_hook_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def entries(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [entry for part in parts for entry in entries(part)]


def test_every_page_is_in_the_navigation() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "pictures" not in path.parts}
    named = entries(config()["nav"])
    assert len(named) == len(set(named))
    assert set(named) == pages | {hook("command_line").PAGE}


def test_every_task_has_a_page() -> None:
    named = set(entries(config()["nav"]))
    assert {f"tasks/{name}.md" for name in DOCUMENTED} | {"tasks/features.md"} <= named
    table = (DOCS / "tasks" / "index.md").read_text(encoding="utf-8")
    assert not [name for name in DOCUMENTED if f"[`{name}`]({name}.md)" not in table]


def test_settings_on_a_tasks_page_exist() -> None:
    """The first column of the table of settings names fields of the task's settings, or of what these hold."""
    for name in DOCUMENTED:
        text = (DOCS / "tasks" / f"{name}.md").read_text(encoding="utf-8")
        rows = text.partition("## Settings worth knowing")[2].partition("##")[0].splitlines()
        named = [word for row in rows if row.startswith("| `") for word in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert named, name
        known = set(TASKS[name].Settings.__dataclass_fields__)
        assert not set(named) - known, name


def test_every_command_and_option_is_on_its_page() -> None:
    group: Any = typer.main.get_command(app)
    text = hook("command_line").page()
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert list(sections) == list(group.commands)
    for name, command in group.commands.items():
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"<code>{option}" in sections[name], f"{name} {option}"
        assert command.help.split(".")[0].split("`")[0] in sections[name]


def test_examples_in_the_help_have_options_that_exist() -> None:
    group: Any = typer.main.get_command(app)
    text = "\n".join(re.findall(r"```bash\n(.*?)```", hook("command_line").page(), flags=re.DOTALL))
    words = [stage for command in commands(Block(DOCS / "page.md", 1, "bash", text)) for stage in command.stages]
    examples = [stage[stage.index("perceivers.cli" if "-m" in stage else "perceivers") + 1 :] for stage in words
                if stage[0] != "cat"]  # fmt: skip
    assert {example[0] for example in examples} == set(group.commands)
    for name, *rest in examples:
        group.commands[name].make_context(name, rest)


def test_links_out_of_the_pages_become_addresses(caplog: pytest.LogCaptureFixture) -> None:
    module = hook("outside_links")
    site = SimpleNamespace(
        config_file_path=str(ROOT / "mkdocs.yml"),
        docs_dir=str(DOCS),
        repo_url="https://github.com/perceivers/perceivers",
    )

    def rewritten(text: str, page: str = "minis.md") -> str:
        return module.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=page)), site, None)

    base = "https://github.com/perceivers/perceivers"
    assert rewritten("[a](../README.md#training)") == f"[a]({base}/blob/main/README.md#training)"
    assert rewritten("[a](../../notebooks)", "tasks/features.md") == f"[a]({base}/tree/main/notebooks)"
    for text in ("[a](../minis.md#another-one)", "[a](https://a.org/../b)", "`../src`"):
        assert rewritten(text, "tasks/features.md") == text
    assert not caplog.records
    rewritten("[a](../absent.md)")
    assert "'../absent.md', which does not exist" in caplog.text


def test_addresses_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = config()
    assert f'Repository = "{found["repo_url"]}"' in project
    assert f'Documentation = "{found["site_url"].rstrip("/")}"' in project


def test_reference_names_what_the_rooms_offer() -> None:
    """Every public name of the package and of its main rooms stands on a page of the reference."""
    import perceivers
    import perceivers.train

    text = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    named = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)}
    assert not set(perceivers.__all__) - named - {"TASKS"}
    assert not set(perceivers.train.__all__) - named
