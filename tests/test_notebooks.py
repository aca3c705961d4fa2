"""The notebooks: what is stored is clean, and each runs from top to bottom, offline, on a few examples."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode

from perceivers.processing import read_image
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import warp

FOLDER = Path(__file__).parents[1] / "notebooks"


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


def parameters_place(notebook: NotebookNode) -> int:
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    return place


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
    notebook.cells.insert(parameters_place(notebook) + 1, changed)

    # Raises when a cell fails.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()

    assert_key_outputs(notebook, expected)
    for file in expected.files:
        assert (tmp_path / file).is_file()
