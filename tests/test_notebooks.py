"""The notebooks: what is stored is clean, and each runs from top to bottom, offline, on a few examples."""

import ast
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from perceivers.processing import read_image
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import warp

FOLDER = Path(__file__).parents[1] / "notebooks"

BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/perceivers/perceivers/blob/main/notebooks/{name})"
)
SETUP = """\
import sys

if "google.colab" in sys.modules:  # Colab has neither the library nor the data yet.
    !git clone -q https://github.com/perceivers/perceivers
    %cd perceivers/notebooks
    %pip install -q "..[train,video,detection,lora,rl]\""""
# What is longer belongs into the library.
MOST_LINES = 25


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one notebook must show, and how it is made small for a test; from `tests/notebooks/<notebook>.yaml`.

    Args:
        limiting: The cell that is put after the parameters; `{output}` becomes the path of a temporary folder, quoted.
        parts: Texts that it shows.
        num_pictures: Pictures that it shows at least.
        files: What a run writes into the folder.
        max_bytes: Size of the stored file.
    """

    limiting: str
    parts: tuple[str, ...]
    num_pictures: int
    files: tuple[str, ...] = ()
    max_bytes: int = 600_000


def expectations() -> dict[str, Expected]:
    """Return what is expected of each notebook, by the name of its file."""
    paths = sorted((Path(__file__).parent / "notebooks").glob("*.yaml"))
    read = {f"{path.stem}.ipynb": yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths}
    return {
        name: Expected(**{**data, "parts": tuple(data["parts"]), "files": tuple(data.get("files", ()))})
        for name, data in read.items()
    }


NOTEBOOKS = expectations()


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def shown(notebook: NotebookNode) -> str:
    """All text that the notebook shows."""
    return "\n".join(out.get("text", "") + out.get("data", {}).get("text/plain", "") for out in outputs(notebook))


def num_pictures(notebook: NotebookNode) -> int:
    return sum(any(kind.startswith("image/") for kind in out.get("data", {})) for out in outputs(notebook))


def tagged(notebook: NotebookNode, tag: str) -> int:
    """Return the place of the one cell with a tag."""
    (place,) = (i for i, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", []))
    return place


def code_of(notebook: NotebookNode) -> ast.Module:
    """Return the code of all cells together, magics as the calls that they stand for."""
    plain = TransformerManager().transform_cell
    return ast.parse("".join(plain(cell.source) for cell in notebook.cells if cell.cell_type == "code"))


def private_imports(code: ast.AST) -> list[str]:
    """Return what is imported of which a part begins with an underscore."""
    found: list[str] = []
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in found if any(part.startswith("_") for part in name.split("."))]


def long_functions(code: ast.AST) -> list[str]:
    """Return the functions and methods of more than `MOST_LINES` lines."""
    functions = [node for node in ast.walk(code) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES]


def assert_key_outputs(notebook: NotebookNode, expected: Expected) -> None:
    text = shown(notebook)
    assert not [part for part in expected.parts if part not in text]
    assert num_pictures(notebook) >= expected.num_pictures


def test_every_notebook_is_expected() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_notebook_is_whole_and_clean(name: str) -> None:
    path = FOLDER / name
    assert path.stat().st_size < NOTEBOOKS[name].max_bytes
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [out for out in outputs(notebook) if out.output_type == "error" or out.get("name") == "stderr"]
    stored = path.read_text(encoding="utf-8")
    assert not [place for place in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "Warning") if place in stored]
    assert_key_outputs(notebook, NOTEBOOKS[name])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_opens_in_colab(name: str) -> None:
    notebook = read(name)
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    badge, empty, title, *_ = first.source.splitlines()
    assert (badge, empty, title[:2]) == (BADGE.format(name=name), "", "# ")
    setup = tagged(notebook, "setup")
    assert notebook.cells[setup].cell_type == "code"
    assert notebook.cells[setup].source == SETUP
    assert setup < tagged(notebook, "parameters")
    before = [cell for cell in notebook.cells[:setup] if cell.cell_type == "code"]
    assert not before, "nothing else can run before the library is there"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_leaves_to_the_library_what_is_its(name: str) -> None:
    code = code_of(read(name))
    assert not private_imports(code)
    assert not long_functions(code)


def test_checks_of_code_find_what_they_look_for() -> None:
    body = "\n".join("    pass" for _ in range(MOST_LINES))
    cells = [
        "%matplotlib inline\nimport numpy as np\nfrom perceivers.tasks.pipeline import _hand_out\nimport a._b",
        f"def long():\n{body}\n\n\nclass A:\n    def short(self):\n        !ls\n",
    ]
    code = code_of(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells]))
    assert private_imports(code) == ["perceivers.tasks.pipeline._hand_out", "a._b"]
    assert long_functions(code) == ["long"]


@pytest.mark.parametrize(("name", "size"), [("train.csv", 1200), ("test.csv", 300)])
def test_shipped_texts_keep_the_share_of_spam(name: str, size: int) -> None:
    with (FOLDER / "data" / "sms_spam" / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == size
    assert sum(row["label"] == "spam" for row in rows) / size == pytest.approx(0.124, abs=0.002)


@pytest.mark.parametrize(("split", "count"), [("train", 8), ("test", 4)])
def test_shipped_pairs_move_as_their_flow_says(split: str, count: int) -> None:
    flows = sorted((FOLDER / "data" / "optical_flow" / "small_pairs" / split).glob("*_flow.npz"))
    assert len(flows) == count
    for path in flows:
        first, second = (read_image(str(path).replace("flow.npz", f"img{i}.jpg")) for i in (1, 2))
        warped, outside = warp(second, read_flow(path).flow)
        before, after = (np.abs(frame.astype(float) - first)[~outside].mean() for frame in (second, warped))
        assert after < 0.7 * before, path.name


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Released weights that lie in the cache would take minutes.
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    notebook = read(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    expected = NOTEBOOKS[name]
    changed = nbformat.v4.new_code_cell(expected.limiting.replace("{output}", repr(str(tmp_path))))
    notebook.cells.insert(tagged(notebook, "parameters") + 1, changed)

    # Raises when a cell fails.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()

    assert_key_outputs(notebook, expected)
    for file in expected.files:
        assert (tmp_path / file).is_file()
