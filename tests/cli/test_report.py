"""The building blocks of the report page."""

import base64
from pathlib import Path

from perceivers.cli.report import Cell, Picture, code, folded, page, paragraph, section, table, tiles

HOSTILE = "<script>&\"'"


def test_all_text_is_escaped() -> None:
    parts = [
        table([HOSTILE], [[HOSTILE], [Cell(HOSTILE, True)]]),
        tiles({HOSTILE: HOSTILE}),
        section(HOSTILE, paragraph(HOSTILE), code(HOSTILE)),
        folded(HOSTILE, ""),
        Picture(name="x", alt=HOSTILE, light=b"", dark=b"", width=1).html(HOSTILE),
    ]
    document = page(HOSTILE, HOSTILE, parts, HOSTILE)
    assert "<script>" not in document
    # Table 3, tiles 2, section 3, folded 1, picture 2, page 4 (its title stands twice): nothing is lost.
    assert document.count("&lt;script&gt;&amp;&quot;&#x27;") == 15


def test_tables_mark_cells_and_name_rows() -> None:
    marked = table(["a", "b"], [["1", Cell("2", True)], ["3", Cell("4", False)]])
    assert '<td class="right">2</td>' in marked
    assert '<td class="wrong">4</td>' in marked
    named = table((), [("name", "value")])
    assert named.count("<tr>") == 1
    assert '<th scope="row">name</th><td>value</td>' in named


def test_the_first_tile_is_the_main_one() -> None:
    html = tiles({"accuracy": "98 %", "errors": "6"})
    assert html.index('"tile main"') < html.index("98 %") < html.index('"tile"') < html.index(">6<")


def test_a_picture_is_embedded_and_saved_for_light_and_dark(tmp_path: Path) -> None:
    picture = Picture(name="curve", alt="a curve", light=b"light", dark=b"dark", width=300)
    html = picture.html("what is seen")
    assert f'<img src="data:image/png;base64,{base64.b64encode(b"light").decode()}" alt="a curve" width="300">' in html
    dark = base64.b64encode(b"dark").decode()
    assert f'media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}"' in html
    assert "<figcaption>what is seen</figcaption>" in html
    picture.save(tmp_path / "pictures")
    assert (tmp_path / "pictures" / "curve.png").read_bytes() == b"light"
    assert (tmp_path / "pictures" / "curve-dark.png").read_bytes() == b"dark"
