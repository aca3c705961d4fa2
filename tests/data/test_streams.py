import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from perceivers.data.roles import DataError
from perceivers.data.streams import stream_rows, with_roles


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".txt":
        path.write_text("".join(f"{row['text']}\n\n" for row in rows))
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [mark.join(rows[0]), *(mark.join(f'"{value}"' for value in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet", ".txt"])
def test_rows_come_one_after_the_other(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"rows{suffix}", [{"text": f"été, {i}"} for i in range(600)])
    rows = stream_rows(str(path))
    name, row = next(rows)
    assert row == {"text": "été, 0"}
    assert name.startswith(f"{path}:")
    names, texts = zip(*((name, row["text"]) for name, row in rows), strict=True)
    assert list(texts) == [f"été, {i}" for i in range(1, 600)]
    assert len(set(names)) == 599


def test_columns_get_the_names_of_their_roles(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.jsonl", [{"photo": "a.png", "Note": "hello", "class": "cat"}])
    ((_, row),) = stream_rows(str(path))
    assert with_roles(row, ("image", "label", "text"), str(path), {}) == {
        "image": str(tmp_path / "a.png"),
        "label": "cat",
    }
    assert with_roles(row, ("text",), str(path), {"text": "Note"}) == {"text": "hello"}


def test_what_cannot_be_streamed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.xlsx").write_text("")
    with pytest.raises(DataError, match=r"files of kind '.xlsx' are not streamed; choices = \['.jsonl'"):
        next(stream_rows(str(tmp_path / "rows.xlsx")))
    path = write(tmp_path / "rows.csv", [{"text": "a", "label": "b"}])
    with pytest.raises(DataError, match="a table has no splits"):
        next(stream_rows(str(path), split="train"))
    path.write_text("text,label\na,b,c\n")
    with pytest.raises(DataError, match=r"rows.csv:2: the row has not as many values"):
        list(stream_rows(str(path)))
    (tmp_path / "rows.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="the file is no Parquet"):
        next(stream_rows(str(tmp_path / "rows.parquet")))
    for suffix in (".csv", ".jsonl", ".txt"):
        broken = tmp_path / f"latin{suffix}"
        broken.write_bytes("été\nété\n".encode("latin-1"))
        with pytest.raises(DataError, match="not UTF-8"):
            list(stream_rows(str(broken)))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"'nobody/nothing' is no folder or file, .* could not be loaded from the Hub"):
        next(stream_rows("nobody/nothing"))
