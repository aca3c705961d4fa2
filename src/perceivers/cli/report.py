"""The demo's report: one HTML page with its style and pictures inside, readable in light and dark."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from perceivers.cli.pictures import PALETTES, Palette
from perceivers.processing.files import write_whole

_STYLE = """
:root { color-scheme: light dark; --paper: #f5f7fa; --card: #ffffff; --ink: #1f2933; --faint: #5f6c7b;
  --line: #d9dee5; --accent: #2563a8; --good: #1f7a4d; --bad: #c2480c; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1318; --card: #171c23; --ink: #e6eaf0;
  --faint: #9aa7b5; --line: #343c47; --accent: #6fb1ee; --good: #5fcf95; --bad: #ff9a62; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h1.part { margin-top: 3rem; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; }
p { max-width: 46rem; margin: .4rem 0 .8rem; }
.lead, figcaption, footer { color: var(--faint); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.25rem 1.4rem; margin-top: 1.25rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin-top: 1.25rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: .86rem; }
.tile.main b { color: var(--accent); }
figure { margin: .6rem 0 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { font-size: .88rem; margin-top: .5rem; }
figure video { display: block; max-width: 100%; margin: 0 auto; image-rendering: pixelated; }
.sounds { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .6rem; margin-top: .6rem; }
.sounds audio { width: 100%; height: 2.2rem; }
.sounds span { color: var(--faint); font-size: .86rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--faint); font-weight: 600; }
td.right { color: var(--good); }
td.wrong { color: var(--bad); font-weight: 600; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  overflow-x: auto; font: .85rem/1.5 ui-monospace, monospace; margin: .5rem 0; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
summary { cursor: pointer; color: var(--accent); margin-top: .6rem; }
footer { font-size: .85rem; margin-top: 1.5rem; }
"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in both colourings.

    Args:
        name: Its file's name, without ending.
        alt: What is seen, for those who cannot see it.
        light: PNG for light pages.
        dark: PNG for dark pages.
        width: Width on the page in CSS pixels.
    """

    name: str
    alt: str
    light: bytes
    dark: bytes
    width: int

    def html(self, caption: str = "") -> str:
        """Return the figure with both pictures inside; the page shows the one that suits it."""
        dark, light = (f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in (self.dark, self.light))
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return (
            f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img src="{light}" alt="{escape(self.alt)}" width="{self.width}"></picture>{below}</figure>'
        )

    def save(self, folder: Path) -> None:
        """Write `NAME.png` and `NAME-dark.png`."""
        write_whole(folder / f"{self.name}.png", self.light)
        write_whole(folder / f"{self.name}-dark.png", self.dark)


def two_colourings(name: str, alt: str, width: int, drawing: Callable[[Palette], bytes]) -> Picture:
    """Draw a picture in both colourings.

    Args:
        name: As in `Picture`.
        alt: Likewise.
        width: Likewise.
        drawing: What draws it as PNG.
    """
    light, dark = (drawing(PALETTES[mode]) for mode in ("light", "dark"))
    return Picture(name=name, alt=alt, light=light, dark=dark, width=width)


@dataclass(frozen=True)
class Cell:
    """A table's cell that is marked as right or wrong."""

    text: str
    right: bool


def table(head: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> str:
    """Return a table; without a `head`, the first cell of each row names it."""
    parts = ["".join(f"<th>{escape(name)}</th>" for name in head)] if head else []
    for row in rows:
        cells = [_cell(value) for value in row]
        if not head:
            cells[0] = cells[0].replace("<td>", '<th scope="row">').replace("</td>", "</th>")
        parts.append("".join(cells))
    return '<div class="scroll"><table>' + "".join(f"<tr>{part}</tr>" for part in parts) + "</table></div>"


def tiles(numbers: Mapping[str, str]) -> str:
    """Return the headline numbers, name -> value; the first is the main one."""
    kinds = ["tile main", *["tile"] * (len(numbers) - 1)]
    parts = [
        f'<div class="{kind}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for kind, (name, value) in zip(kinds, numbers.items(), strict=True)
    ]
    return f'<div class="tiles">{"".join(parts)}</div>'


def section(title: str, *parts: str) -> str:
    """Return a titled card that holds `parts`, which are HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def heading(title: str, lead: str) -> str:
    """Return the heading of a part of the page, with a sentence or two below it."""
    return f'<h1 class="part">{escape(title)}</h1><p class="lead">{escape(lead)}</p>'


def paragraph(text: str) -> str:
    """Return plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def code(text: str) -> str:
    """Return text as it stands, in the typewriter's face."""
    return f"<pre>{escape(text)}</pre>"


def folded(summary: str, part: str) -> str:
    """Return `part`, which is HTML, folded away under `summary`."""
    return f"<details><summary>{escape(summary)}</summary>{part}</details>"


def film(mp4: bytes, caption: str, width: int) -> str:
    """Return a video with controls, which is inside the page.

    Args:
        mp4: The file.
        caption: What is seen and heard.
        width: Width on the page in CSS pixels.
    """
    source = f"data:video/mp4;base64,{base64.b64encode(mp4).decode()}"
    return (
        f'<figure><video controls loop src="{source}" width="{width}"></video>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def sounds(clips: Mapping[str, bytes]) -> str:
    """Return sounds with controls, name -> WAV file, which are inside the page."""
    parts = [
        f'<div><audio controls src="data:audio/wav;base64,{base64.b64encode(wav).decode()}"></audio>'
        f"<span>{escape(name)}</span></div>"
        for name, wav in clips.items()
    ]
    return f'<div class="sounds">{"".join(parts)}</div>'


def page(title: str, lead: str, body: Sequence[str], foot: str) -> str:
    """Return the whole document; it needs no other file.

    Args:
        title: Heading.
        lead: What was done, in a sentence or two.
        body: Tiles and sections, as HTML.
        foot: Versions and the like.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        + "\n".join(body)
        + f"\n<footer>{escape(foot)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _cell(value: str | Cell) -> str:
    if isinstance(value, Cell):
        return f'<td class="{"right" if value.right else "wrong"}">{escape(value.text)}</td>'
    return f"<td>{escape(value)}</td>"
