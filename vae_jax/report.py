"""The report folder: results.json, results.csv, figures, and one HTML page that needs nothing else.

Everything is made before anything is written, each file is written whole, and results.json comes
last: where it is, the report is complete.
"""

import base64
import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from vae_jax.records import to_json, to_plain, write_files
from vae_jax.runs import FIGURES, REPORT, results
from vae_jax.tables import Column, Table, cell, explanation, is_numeric

__all__ = ["Column", "Picture", "Table", "png", "write"]

_PIXELS_PER_INCH = 100  # on the page; files have twice as many, for screens that show them


class Picture(NamedTuple):
    """A figure of the report.

    Attributes:
        name: of its file, without .png.
        figure: what to draw.
        caption: what it shows and how to read it.
    """

    name: str
    figure: Figure
    caption: str = ""


def write(
    folder: str | Path,
    *,
    title: str,
    intro: str,
    tables: Sequence[Table],
    figures: Sequence[Picture],
    meta: dict,
) -> Path:
    """Write a report; files of an older one are replaced.

    Args:
        folder: where results.json, results.csv, figures/NAME.png and report.html go.
        title: of the page.
        intro: what was done and how to read it; blank lines part its paragraphs.
        tables: what is shown; all their rows, in order, are the rows of results.json.
        figures: what is shown below the tables.
        meta: from `vae_jax.runs.meta`.

    Returns:
        The path of report.html.
    """
    folder = Path(folder)
    rows = [row for table in tables for row in table.rows]
    images = {picture.name: png(picture.figure) for picture in figures}
    page = _page(title, intro, tables, figures, images, meta)
    files = {
        **{f"{FIGURES}/{name}.png": image for name, image in images.items()},
        "results.csv": _csv(rows).encode(),
        REPORT: page.encode(),
        "results.json": to_json(results(meta, rows)),
    }
    write_files(folder, files)
    return folder / REPORT


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=2 * _PIXELS_PER_INCH)
    return buffer.getvalue()


def _csv(rows: list[dict]) -> str:
    """One line a row; the columns are all keys, in the order in which they appear."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_plain(rows))
    return text.getvalue()


def _page(title, intro, tables, figures, images, meta) -> str:
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _paragraphs(intro),
        *(_table(table) for table in tables),
        *(_figure(picture, images[picture.name]) for picture in figures),
        _provenance(meta),
    ]
    return _FRAME.format(title=html.escape(title), style=_STYLE, body="\n".join(body))


def _paragraphs(text: str) -> str:
    parts = [" ".join(part.split()) for part in text.split("\n\n")]
    return "\n".join(f"<p>{html.escape(part)}</p>" for part in parts if part)


def _table(table: Table) -> str:
    classes = ["number" if is_numeric(table, column) else "text" for column in table.columns]

    def line(tag: str, texts: Sequence[str]) -> str:
        cells = zip(texts, classes, strict=True)
        return "".join(f'<{tag} class="{kind}">{html.escape(text)}</{tag}>' for text, kind in cells)

    header = line("th", [column.header for column in table.columns])
    body = "\n".join(
        f"<tr>{line('td', [cell(row, column) for column in table.columns])}</tr>"
        for row in table.rows
    )
    return (
        f"<section><h2>{html.escape(table.title)}</h2>\n"
        f'<div class="wide"><table><thead><tr>{header}</tr></thead>\n<tbody>{body}</tbody></table>'
        f'</div>\n<div class="note">{_paragraphs(explanation(table))}</div></section>'
    )


def _figure(picture: Picture, image: bytes) -> str:
    caption = html.escape(picture.caption)
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    width = round(picture.figure.get_figwidth() * _PIXELS_PER_INCH)
    return (
        f'<figure><img src="{source}" width="{width}" alt="{caption or html.escape(picture.name)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _provenance(meta: dict) -> str:
    lines = "\n".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(text)}</dd>"
        for key, text in _flat(to_plain(meta)).items()
    )
    return f"<details><summary>How this was made</summary><dl>{lines}</dl></details>"


def _flat(value: Any, name: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)}
    nested = (_flat(item, f"{name}.{key}".lstrip(".")) for key, item in value.items())
    return {key: text for part in nested for key, text in part.items()}


_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d8dce1;
  --page: #ffffff; --shade: #f5f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9ba5b0; --line: #363c44; --page: #14171b; --shade: #1d2127; } }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
main > p, .note, figcaption { max-width: 46rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td { padding: .45rem .75rem; vertical-align: top; }
th { background: var(--shade); font-weight: 600; line-height: 1.3; vertical-align: bottom; }
td { border-top: 1px solid var(--line); }
tbody tr:hover { background: var(--shade); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
.text { text-align: left; }
td.text:first-child { white-space: nowrap; }
.note, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 2.5rem 0 0; }
img { display: block; max-width: 100%; height: auto; box-sizing: border-box; padding: .75rem;
  background: #ffffff; border: 1px solid var(--line); border-radius: 8px; }
figcaption { margin-top: .5rem; }
details { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem;
  font-size: .875rem; }
summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .2rem 1.25rem; }
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; }
"""
