"""The notebooks: what is stored is clean, and each runs from top to bottom, offline, on a few examples."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from perceivers.processing import read_image
from perceivers.processing.flow import read_flow
from perceivers.processing.flow_pictures import warp

FOLDER = Path(__file__).parents[1] / "notebooks"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What one notebook must show, and how it is made small for a test.

    Args:
        limiting: The cell that is put after the parameters; `{output!r}` becomes a temporary folder.
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


FINE_TUNING = Expected(
    limiting="EPOCHS = 1\nLIMIT = 80\nOUTPUT = {output!r}",
    parts=(
        "parameters  ",
        "steps {'accuracy'",
        "macro F1",
        "logistic regression",
        "'score': ",
        "'f1': ",
        "model.safetensors",
    ),
    num_pictures=5,
    files=("library/model.safetensors", "plain/model.safetensors"),
)
NOTEBOOKS = {
    "fine_tune_images.ipynb": FINE_TUNING,
    "fine_tune_text.ipynb": FINE_TUNING,
    "language_and_images.ipynb": Expected(
        limiting=(
            'TEXT_MODEL = "language-small"\n'
            'IMAGE_MODELS = ("image-original-small", "image-small", "digits-small")\n'
            'FOURIER_MODEL = "image-small"'
        ),
        parts=(
            "0xe6  0x9d  0xb1",
            "[3, 3, 3, 3, 3, 3, 3] at bytes (10, 17)",
            "bytes (51, 60) of 60 are hidden",
            "5,345 bytes; 'water' is hidden 7 times",
            "столица",
            "random weights",
            "{'input_ids': (1, 60), 'keep_mask': (1, 60)}",
            "rows sum to 1.0000",
            "CrossAttentionDecoder",
            "coffee cup",
            "best label",
            "any size",
            "process: GFLOPs",
        ),
        num_pictures=9,
        max_bytes=1_500_000,
    ),
    "optical_flow.ipynb": Expected(
        limiting='ARCHITECTURE = "optical-flow-small"\nSTEPS = 20\nOUTPUT = {output!r}',
        parts=(
            "[(0, 0), (0, 264), (0, 528), (68, 0), (68, 264), (68, 528)]",
            "'mean_motion': 19.6289",
            "second frame, warped   1.95",
            "WEIGHTS: ",
            "fl_all",
            "no motion",
            "kitti.png  read back: largest difference 0.00",
            "8 training and 4 evaluation examples",
            "steps, test pairs: {'epe': ",
            "(20, 28, 2) in 1 tile",
            "(0, 32), (0, 64), (6, 0)",
            "6 tiles of Sintel",
        ),
        num_pictures=12,
        files=("pair.flo", "pair.npy", "pair.kitti.png", "pair.sheet.png", "small/model.safetensors"),
        max_bytes=1_500_000,
    ),
    "video_autoencoding.ipynb": Expected(
        limiting='ARCHITECTURE = "video-autoencoding-small"\nSTEPS = 20\nOUTPUT = {output!r}',
        parts=(
            "note: 24 frames a second resampled to 25 by nearest frame",
            "note: 44100 Hz resampled to ",
            "WEIGHTS: ",
            "queries at a time",
            "most memory so far",
            "mean colour, silence",
            "share of the label tokens hidden in training",
            "audio  largest difference ",
            "6 windows",
            "after training",
            "clip.spectrogram.png",
            "read back: 50 frames, sound: True",
        ),
        num_pictures=8,
        files=("clip.mp4", "clip.gif", "clip.wav", "clip.json"),
        max_bytes=1_500_000,
    ),
}


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
    changed = nbformat.v4.new_code_cell(expected.limiting.format(output=str(tmp_path)))
    notebook.cells.insert(parameters_place(notebook) + 1, changed)

    # Raises when a cell fails.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()

    assert_key_outputs(notebook, expected)
    for file in expected.files:
        assert (tmp_path / file).is_file()
