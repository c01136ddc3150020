"""Tables of numbers: what a person is told of them."""

import numpy as np
import pytest

from bayes_jax import InputError
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
