import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bench_fakes import MACHINE
from perceivers.benchmark import Row
from perceivers.benchmark.plots import write_plot
from perceivers.benchmark.report import COLUMNS, cells, notes, write_json, write_markdown

ROW = Row(
    workload="flow",
    peer="transformers",
    ratio_median=4.4149,
    ratio_min=4.0,
    ratio_max=14.62,
    ours_seconds=0.5,
    peer_seconds=123.4,
    ours_mib=1600.4,
    peer_mib=float("nan"),
    ours_extra_mib=265.2,
    peer_extra_mib=0.0,
    max_relative_error=1.24e-6,
    gflop=1822.6,
    peak_share=0.724,
    pairs=5,
    note="one tile",
    machine=MACHINE,
)
FAILED = Row(workload="text", peer="transformers", error="transformers: a | b", machine=MACHINE)
CURVE = [
    Row(
        workload="inputs",
        size=size,
        peer="transformers",
        ours_seconds=size / 1e5,
        peer_seconds=size / 1e4,
        ours_extra_mib=80.0,
        peer_extra_mib=size / 100,
        note="one layer",
        machine=MACHINE,
    )
    for size in (1024, 4096, 16384)
]


def test_a_row_in_words() -> None:
    assert dict(zip(COLUMNS, cells(ROW), strict=True)) == {
        "workload": "flow",
        "peer": "transformers",
        "peer / ours": "4.41 [4.00..14.6]",
        "of pairs": "5",
        "our time": "500 ms",
        "its time": "123 s",
        "our MiB": "265 (1,600)",
        "its MiB": "",
        "error": "1.2e-06",
        "GFLOP": "1,823",
        "of peak": "72%",
    }
    assert cells(FAILED)[2] == "failed"
    peak_alone = replace(ROW, ours_extra_mib=float("nan"))
    assert cells(peak_alone)[COLUMNS.index("our MiB")] == "(1,600)"
    assert cells(CURVE[1])[0] == "inputs 4,096"


def test_notes_say_each_thing_once() -> None:
    assert notes([ROW, FAILED, *CURVE]) == ["flow: one tile", "text: failed: transformers: a | b", "inputs: one layer"]


def test_json_is_a_list_with_the_fields_that_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "made" / "bench.json"
    write_json(path, [ROW, FAILED])
    first, second = json.loads(path.read_text(encoding="utf-8"))
    expected = {
        "workload": "flow",
        "peer": "transformers",
        "ratio_median": 4.4149,
        "ratio_min": 4.0,
        "ratio_max": 14.62,
    }
    expected |= {"ours_mib": 1600.4, "peer_mib": None, "max_relative_error": 1.24e-6, "pairs": 5, "note": "one tile"}
    assert expected.items() <= first.items()
    assert first["machine"]["cpu"] == "a | b"
    assert second["ratio_median"] is None
    assert second["error"] == "transformers: a | b"
    assert list(path.parent.iterdir()) == [path]


def test_markdown_has_machine_table_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "bench.md"
    write_markdown(path, [ROW, FAILED], MACHINE)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("a | b, 1 threads, Linux, 2026-01-02. torch 2.")
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert {line.count(" | ") for line in table} == {len(COLUMNS) - 1}
    assert "- text: failed: transformers: a | b" in lines


@pytest.mark.parametrize("rows", [[ROW, FAILED], CURVE, [ROW, *CURVE]], ids=["bars", "curves", "both"])
def test_pictures_are_drawn(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "bench.png"
    write_plot(path, rows, MACHINE)
    with Image.open(path) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24) or []}
        assert {(0x1F, 0x5F, 0xBF), (0xE0, 0x7B, 0x39)} <= colours
        assert picture.width == 1650
    write_plot(tmp_path / "bench.svg", rows, MACHINE)
    assert b"<svg" in (tmp_path / "bench.svg").read_bytes()


def test_pictures_need_figures_and_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"plot '.*bench\.gif' must end in one of \['\.png'"):
        write_plot(tmp_path / "bench.gif", [ROW], MACHINE)
    with pytest.raises(ValueError, match="nothing was measured"):
        write_plot(tmp_path / "bench.png", [FAILED], MACHINE)
    assert not list(tmp_path.iterdir())
