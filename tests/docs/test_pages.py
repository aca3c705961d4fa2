"""Every code block of the documentation runs, page by page, in the order in which it stands."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from doc_blocks import LANGUAGES, ROOT, pages, read_blocks
from doc_runs import Page
from web_pages import left_open

NAMES = [page.relative_to(ROOT).as_posix() for page in pages()]
# Blocks behind a comment `<!-- not run: reason -->`.
LEFT_OUT = 0
WITH_BLOCKS = [name for name in NAMES if read_blocks(ROOT / name)]


@pytest.mark.docs
@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_page_runs(name: str, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(tmp_path, released, monkeypatch)
    blocks = read_blocks(ROOT / name)
    with left_open() if any("gradio" in block.text for block in blocks) else nullcontext():
        for block in blocks:
            page.run(block)


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_blocks_are_of_known_languages(name: str) -> None:
    blocks = read_blocks(ROOT / name)
    assert not [block.place for block in blocks if block.language not in LANGUAGES]


def test_no_block_is_left_out() -> None:
    blocks = [block for name in WITH_BLOCKS for block in read_blocks(ROOT / name)]
    assert len([block.place for block in blocks if block.skipped is not None]) == LEFT_OUT
