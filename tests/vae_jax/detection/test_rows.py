"""Tables of numbers: what a person is told of them."""

import numpy as np
import pytest

from bayes_jax import InputError
from vae_jax.data import formats
from vae_jax.detection import rows

RNG = np.random.default_rng(0)


def written(path, names, *columns):
    lines = [names, *(",".join(map(str, cells)) for cells in zip(*columns, strict=True))]
    path.write_text("\n".join(lines))
    return path


def test_a_column_that_looks_like_a_label_is_asked_about(tmp_path):
    x, label = RNG.normal(size=(2, 20)), np.arange(20) % 2
    line, warning = rows.described(rows.read(written(tmp_path / "a.csv", "a,b,label", *x, label)))
    assert line == "20 rows of 3 columns, no y: unlabelled"
    assert warning == "the last column holds only 0 and 1: if it is the label, call it y"
    named = rows.described(rows.read(written(tmp_path / "b.csv", "a,b,y", *x, label)))
    assert named == ("20 rows of 2 columns, labels in y", None)
    assert rows.described(rows.Rows(x.T, None))[1] is None


@pytest.mark.parametrize(
    ("names", "cell", "message"),
    [
        ("a,b", "blue", "line 2 holds 'blue' in b: expected numbers only, so remove that column"),
        ("a,b", "", "line 2 holds '' in b: expected numbers only, so remove or impute"),
        ("a,y", "ok", "line 2 holds 'ok' in y: expected 0 .normal. or 1 .anomaly."),
    ],
)
def test_what_is_no_number_is_named_with_what_to_do(tmp_path, names, cell, message):
    with pytest.raises(InputError, match=message):
        rows.read(written(tmp_path / "a.csv", names, range(12), [cell] * 12))


def test_a_page_and_a_table_larger_than_allowed_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("<html>\n<p>\n")
    with pytest.raises(InputError, match=r"a\.csv: an HTML page, not data"):
        rows.read(path)
    written(path, "a,b", *RNG.normal(size=(2, 20)))
    monkeypatch.setattr(formats, "MAX_BYTES", path.stat().st_size)
    assert rows.read(path).x.shape == (20, 2)
    monkeypatch.setattr(formats, "MAX_BYTES", 100)
    with pytest.raises(InputError, match=r"a\.csv: holds more than the 100 bytes allowed"):
        rows.read(path)


def test_cells_in_quotes_and_lines_of_every_system_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbf"a","b\r\nc"\r\n' + b'"1",2\r\n' * 12 + b"\r\n")
    np.testing.assert_array_equal(rows.read(path).x, [[1, 2]] * 12)
