"""Sources of data: what is found, how it is split, and which columns come out."""

import json
from collections import Counter
from pathlib import Path

import datasets
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from perceivers.data import SOURCES, DataConfig, DataError, Splits, load_data

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEXT_LABEL = ("text", "label")
IMAGE_LABEL = ("image", "label")
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data beside the repository")


def load(source: Path | str, roles: tuple[str, ...], **fields: object) -> Splits:
    return load_data(DataConfig(source=str(source), **fields), roles)


def write_images(folder: Path, count: int = 5, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (4, 4), (i, number, 0)).save(folder / name / f"{i}.png")


def write_csv(path: Path, count: int = 10, header: str = "text,label") -> Path:
    path.write_text(header + "\n" + "".join(f"text {i},{'good' if i % 2 else 'bad'}\n" for i in range(count)))
    return path


def test_digits() -> None:
    splits = load("digits", IMAGE_LABEL)
    assert "digits" in SOURCES
    assert (len(splits.train), len(splits.eval)) == (1437, 360)
    assert splits.labels == tuple("0123456789")
    assert splits.train.column_names == ["image", "label"]
    assert splits.train[0]["image"].size == (8, 8)
    assert splits.train[0]["image"].getextrema()[1] > 200
    assert "digits" in splits.description
    shares = Counter(splits.eval["label"])
    assert min(shares.values()) >= 34


def test_a_csv_is_split_by_class_and_the_same_way_each_time(tmp_path: Path) -> None:
    rows = [f"text {i},{'rare' if i % 10 == 0 else 'common'}" for i in range(100)]
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["text,label", *rows]))
    first, again, other = (load(path, TEXT_LABEL, seed=seed) for seed in (0, 0, 1))
    assert first.labels == ("common", "rare")
    assert Counter(first.eval["label"]) == {0: 18, 1: 2}
    assert Counter(first.train["label"]) == {0: 72, 1: 8}
    assert first.eval["text"][:] == again.eval["text"][:] != other.eval["text"][:]
    assert not set(first.train["text"]) & set(first.eval["text"])


def test_a_class_of_one_example_is_trained_on(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv", 20)
    path.write_text(path.read_text() + "only one,single\n")
    splits = load(path, TEXT_LABEL)
    assert splits.labels == ("bad", "good", "single")
    assert "only one" in splits.train["text"]


def test_csv_quoting_is_kept(tmp_path: Path) -> None:
    text = 'a "quoted", text\nover two lines; é'
    (tmp_path / "train.csv").write_text(
        'text,label\n"' + text.replace('"', '""') + '",x\nplain,y\n', encoding="utf-8-sig"
    )
    write_csv(tmp_path / "test.csv", 2).write_text("text,label\nb,x\n")
    assert load(tmp_path, TEXT_LABEL).train[0]["text"] == text


def test_json_lines_may_hold_any_line_separator_inside(tmp_path: Path) -> None:
    rows = [{"text": f"a\u2028b\x85c {i}", "label": i % 2} for i in range(10)]
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    splits = load(path, TEXT_LABEL)
    assert len(splits.train) + len(splits.eval) == 10
    assert splits.train[0]["text"].startswith("a\u2028b\x85c")
    assert splits.labels == ("0", "1")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_every_kind_of_table_gives_the_same(tmp_path: Path, kind: str) -> None:
    for name, start in (("train", 0), ("test", 6)):
        rows = [{"review": f"text {i}", "stars": str(i % 3), "other": "x"} for i in range(start, start + 6)]
        path = tmp_path / f"{name}.{kind}"
        if kind in ("csv", "tsv"):
            separator = "," if kind == "csv" else "\t"
            path.write_text("\n".join(separator.join(cells) for cells in [list(rows[0]), *map(dict.values, rows)]))
        elif kind == "parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        else:
            path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    splits = load(tmp_path, TEXT_LABEL, columns={"label": "stars"})
    assert splits.train["text"][:] == [f"text {i}" for i in range(6)]
    assert splits.train["label"][:] == [0, 1, 2, 0, 1, 2]
    assert splits.eval["text"][0] == "text 6"
    assert splits.labels == ("0", "1", "2")


def test_numbered_labels_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{i % 12}\n" for i in range(48)))
    assert load(path, TEXT_LABEL).labels == tuple(str(i) for i in range(12))


@pytest.mark.parametrize("name", ["test", "val", "validation", "valid", "dev", "eval"])
def test_names_of_the_evaluation_split(tmp_path: Path, name: str) -> None:
    write_csv(tmp_path / "train.csv", 6)
    write_csv(tmp_path / f"{name}.csv", 4)
    splits = load(tmp_path, TEXT_LABEL)
    assert (len(splits.train), len(splits.eval)) == (6, 4)


def test_splits_can_be_named(tmp_path: Path) -> None:
    for name, count in (("train", 6), ("dev", 4), ("test", 2)):
        write_csv(tmp_path / f"{name}.csv", count)
    assert len(load(tmp_path, TEXT_LABEL, eval_split="dev").eval) == 4
    with pytest.raises(DataError, match=r"'nope'.*dev.*test"):
        load(tmp_path, TEXT_LABEL, eval_split="nope")


def test_image_folders(tmp_path: Path) -> None:
    write_images(tmp_path / "train")
    write_images(tmp_path / "val", 2)
    (tmp_path / "train" / "cat" / ".DS_Store").write_text("left behind")
    splits = load(tmp_path, IMAGE_LABEL)
    assert (len(splits.train), len(splits.eval)) == (10, 4)
    assert splits.labels == ("cat", "dog")
    assert isinstance(splits.train.features["image"], datasets.Image)
    assert splits.train[9]["image"].getpixel((0, 0)) == (4, 1, 0)
    assert splits.train[9]["label"] == 1


def test_class_folders_without_splits(tmp_path: Path) -> None:
    write_images(tmp_path)
    splits = load(tmp_path, IMAGE_LABEL)
    assert Counter(splits.train["label"]) == {0: 4, 1: 4}
    assert Counter(splits.eval["label"]) == {0: 1, 1: 1}


def test_images_named_in_a_table_lie_beside_it(tmp_path: Path) -> None:
    write_images(tmp_path / "pictures")
    rows = [f"pictures/{name}/{i}.png,{name}" for name in ("cat", "dog") for i in range(5)]
    (tmp_path / "all.csv").write_text("\n".join(["file,label", *rows]))
    splits = load(tmp_path / "all.csv", IMAGE_LABEL)
    assert splits.train[0]["image"].size == (4, 4)


def test_text_is_cut_without_loss(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {i}.\x0cÉtude {'word ' * (i % 7)}" for i in range(60)) + "\n\n\n" + " \n" * 30
    (tmp_path / "book.train.txt").write_text(text, encoding="utf-8")
    (tmp_path / "book.valid.txt").write_text("The end.\n")
    splits = load(tmp_path, ("text",), text_characters=100)
    assert "\n".join(splits.train["text"]) == text
    assert len(splits.train) > 10
    assert max(map(len, splits.train["text"])) < 300


def test_the_end_of_a_text_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("".join(f"line {i:03}\n" for i in range(100)))
    splits = load(path, ("text",), text_characters=90)
    assert "\n".join([*splits.train["text"], *splits.eval["text"]]) == path.read_text()


def test_books_are_joined_or_chosen(tmp_path: Path) -> None:
    for book in ("a", "b"):
        (tmp_path / f"{book}.train.txt").write_text(f"{book} train")
        (tmp_path / f"{book}.valid.txt").write_text(f"{book} valid")
    assert load(tmp_path, ("text",)).train["text"][:] == ["a train", "b train"]
    chosen = load(tmp_path, ("text",), subset="b")
    assert chosen.train["text"][:] == ["b train"]
    assert chosen.eval["text"][:] == ["b valid"]
    with pytest.raises(DataError, match=r"'c'.*\['a', 'b'\]"):
        load(tmp_path, ("text",), subset="c")


def test_limit_keeps_classes_mixed(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'a' if i < 50 else 'b'}\n" for i in range(100)))
    splits = load(path, TEXT_LABEL, limit=10)
    assert (len(splits.train), len(splits.eval)) == (10, 10)
    assert set(splits.train["label"]) == {0, 1}
    assert load(path, TEXT_LABEL, limit=10).train["text"][:] == splits.train["text"][:]


def test_labels_of_a_trained_model_settle_the_ids(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv")
    splits = load_data(DataConfig(source=str(path)), TEXT_LABEL, labels=("good", "other", "bad"))
    assert splits.labels == ("good", "other", "bad")
    assert set(splits.train["label"]) == {0, 2}


def test_hub_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features({"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["n", "p"])})
    part = datasets.Dataset.from_dict({"sentence": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    loaded = datasets.DatasetDict({"train": part, "validation": part.select([0])})
    monkeypatch.setattr("perceivers.data.opening.from_hub", lambda config: loaded)
    splits = load("someone/reviews", TEXT_LABEL)
    assert splits.train["text"][:] == ["a", "b", "c"]
    assert splits.train["label"][:] == [1, 0, 1]
    assert splits.labels == ("n", "p")
    assert len(splits.eval) == 1


def test_progress_bars_are_left_as_they_were(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "all.csv")
    assert not datasets.are_progress_bars_disabled()
    load(path, TEXT_LABEL)
    assert not datasets.are_progress_bars_disabled()


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize(
    ("source", "roles", "sizes", "num_labels"),
    [
        ("text_classification/banking77", TEXT_LABEL, (9992, 2002), 77),
        ("text_classification/sms_spam", TEXT_LABEL, (3870, 774), 2),
        ("image_classification/sign_digits", IMAGE_LABEL, (1500, 400), 10),
        ("object_detection/bccd", ("image",), (205, 72), None),
    ],
)
def test_shared_data(source: str, roles: tuple[str, ...], sizes: tuple[int, int], num_labels: int | None) -> None:
    splits = load(SHARED / source, roles)
    assert (len(splits.train), len(splits.eval)) == sizes
    assert (None if splits.labels is None else len(splits.labels)) == num_labels


@pytest.mark.shared
@needs_shared
def test_shared_books_lose_nothing() -> None:
    splits = load(SHARED / "text_lm", ("text",), subset="shakespeare")
    assert "\n".join(splits.train["text"]) == (SHARED / "text_lm" / "shakespeare.train.txt").read_text("utf-8")
