"""The report: whole, self-contained, the same numbers everywhere, nothing unescaped."""

import csv
import html.parser
import json
import os
import re

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from bayes_jax.estimates import EvidenceKind
from vae_jax import report
from vae_jax.report import Column, Picture, Table

META = {"command": "compare.py <x>", "config": {"data": {"name": "digits"}}, "seconds": 3.5}
ROWS = [
    {
        "table": "models",
        "model": "vae <b>",
        "log_prob": np.float32(-16.5),
        "stderr": 0.25,
        "kind": EvidenceKind.LOWER,
    },
    {"table": "models", "model": "mixture", "log_prob": float("nan"), "extra": [1, 2]},
]
TABLE = Table(
    "Every model & all",
    ROWS,
    [Column("model", "Model"), Column("log_prob", "log p(x) [nats]", ".2f", "stderr")],
    "First.\n\nSecond < third.",
)


def picture(name="curve"):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    return Picture(name, figure, 'a "caption" <i>')


def write(folder, **options):
    options = {
        "title": "Amortized & exact",
        "intro": "One.\n\nTwo <script>alert(1)</script>.",
        "tables": [TABLE],
        "figures": [picture()],
        "meta": META,
        **options,
    }
    return report.write(folder, **options)


class Page(html.parser.HTMLParser):
    """Tags, cells and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))

    def within(self, tag):
        return [data for inside, data in self.text if inside == tag]


def test_the_page_is_whole_and_shows_the_numbers(tmp_path):
    path = write(tmp_path)
    page = Page(path.read_text())
    assert page.open == []
    assert page.within("th") == ["Model", "log p(x) [nats]"]
    assert page.within("td") == ["vae <b>", "-16.50 ± 0.25", "mixture", "\N{EN DASH}"]
    assert page.within("h1") == ["Amortized & exact"]
    assert page.within("p") == [
        "One.",
        "Two <script>alert(1)</script>.",
        "First.",
        "Second < third.",
    ]
    assert page.within("figcaption") == ['a "caption" <i>']
    assert dict(zip(page.within("dt"), page.within("dd"), strict=True)) == {
        "command": "compare.py <x>",
        "config.data.name": "digits",
        "seconds": "3.5",
    }


def test_the_page_needs_nothing_else(tmp_path):
    text = write(tmp_path).read_text()
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [a[key] for a in page.attributes for key in ("src", "href") if key in a]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text


def test_every_file_holds_the_same_rows(tmp_path):
    write(tmp_path, tables=[TABLE, TABLE._replace(rows=[{"table": "inference", "k_hat": 0.5}])])
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["meta"] == META
    assert content["rows"] == [
        {"table": "models", "model": "vae <b>", "log_prob": -16.5, "stderr": 0.25, "kind": "lower"},
        {"table": "models", "model": "mixture", "log_prob": None, "extra": [1, 2]},
        {"table": "inference", "k_hat": 0.5},
    ]
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    keys = ["table", "model", "log_prob", "stderr", "kind", "extra", "k_hat"]
    assert list(lines[0]) == keys
    assert [line["log_prob"] for line in lines] == ["-16.5", "", ""]
    assert [line["k_hat"] for line in lines] == ["", "", "0.5"]


def test_figures_are_files_too(tmp_path):
    write(tmp_path, figures=[picture("one"), picture("two")])
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["one.png", "two.png"]
    image = matplotlib.image.imread(tmp_path / "figures" / "one.png")
    assert image.shape[:2] == (200, 400)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("key", ["log_prob", "extra"])
def test_a_report_that_cannot_be_made_writes_nothing(tmp_path, key):
    write(tmp_path)
    before = files(tmp_path)
    rows = [{"model": "a", key: object()}]
    with pytest.raises(TypeError):
        write(tmp_path, title="New", tables=[TABLE._replace(rows=rows)])
    assert files(tmp_path) == before


def test_results_come_last(tmp_path, monkeypatch):
    """Whoever sees results.json sees a complete report."""
    order = []
    replace = os.replace

    def watched(source, target):
        order.append(os.path.basename(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    write(tmp_path)
    assert order[-1] == "results.json"
    assert set(order) == {"curve.png", "results.csv", "report.html", "results.json"}


def test_a_report_without_tables_or_figures_is_one(tmp_path):
    page = Page(write(tmp_path, tables=[], figures=[]).read_text())
    assert page.within("h1") == ["Amortized & exact"]
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == []
