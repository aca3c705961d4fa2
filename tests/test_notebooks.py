"""The notebooks: what is stored is clean, and each runs from top to bottom, offline, on a few examples."""

import csv
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = ("fine_tune_images.ipynb", "fine_tune_text.ipynb")
LIMITED = "EPOCHS = 1\nLIMIT = 80\nOUTPUT = {output!r}"


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def shown(notebook: NotebookNode) -> str:
    """All text that the notebook shows."""
    return "\n".join(out.get("text", "") + out.get("data", {}).get("text/plain", "") for out in outputs(notebook))


def num_pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in out.get("data", {}) for out in outputs(notebook))


def parameters_place(notebook: NotebookNode) -> int:
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    return place


def assert_key_outputs(notebook: NotebookNode) -> None:
    text = shown(notebook)
    for part in ("parameters  ", "steps {'accuracy'", "macro F1", "logistic regression", "'score': ", "'f1': "):
        assert part in text
    assert "model.safetensors" in text
    assert num_pictures(notebook) >= 5


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_notebook_is_whole_and_clean(name: str) -> None:
    path = FOLDER / name
    assert path.stat().st_size < 600_000
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [out for out in outputs(notebook) if out.output_type == "error" or out.get("name") == "stderr"]
    stored = path.read_text(encoding="utf-8")
    assert not [place for place in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "Warning") if place in stored]
    assert_key_outputs(notebook)


@pytest.mark.parametrize(("name", "size"), [("train.csv", 1200), ("test.csv", 300)])
def test_shipped_texts_keep_the_share_of_spam(name: str, size: int) -> None:
    with (FOLDER / "data" / "sms_spam" / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == size
    assert sum(row["label"] == "spam" for row in rows) / size == pytest.approx(0.124, abs=0.002)


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = read(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    changed = nbformat.v4.new_code_cell(LIMITED.format(output=str(tmp_path)))
    notebook.cells.insert(parameters_place(notebook) + 1, changed)

    # Raises when a cell fails.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()

    assert_key_outputs(notebook)
    for model in ("library", "plain"):
        assert (tmp_path / model / "model.safetensors").is_file()
