"""CONTRIBUTING's example of a new system, done as it stands there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vae_jax.configs import DataConfig
from vae_jax.data.arrays import load

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FOLDERS = ("bayes_jax", "vae_jax", "scripts")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project with the example's files and rows."""
    tree = tmp_path_factory.mktemp("project")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder)
    files = re.findall(r"^`([\w/]+\.py)`\n\n```python\n(.*?)^```$", TEXT, re.M | re.S)
    for path, code in files:
        (tree / path).write_text(code)
    rows = re.findall(r"^\| `([\w/]+\.py)`(?:, in `(\w+)`)? \| `(.*)` \|$", TEXT, re.M)
    for path, table, row in rows:
        add(tree / path, table, row)
    assert (len(files), len(rows)) == (2, 3)
    return tree


def add(path, table, row):
    """A row at the head of a table, or an import behind those that stand there."""
    text = path.read_text()
    head = re.search(rf"^{table}\b.*{{\n" if table else r"^from .*\n", text, re.M)
    path.write_text(f"{text[: head.end()]}{row}\n{text[head.end() :]}")


def run(tree, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_example_is_trained_scored_and_sampled(tree):
    assert "--num-pseudo" in run(tree, "scripts/train.py", "independent", "--help")
    run(tree, "scripts/train.py", "independent", "--num-pseudo", "2", "--out", "runs/independent")
    assert json.loads((tree / "runs/independent/config.json").read_text())["config"] == {
        "num_pseudo": 2.0
    }
    run(tree, "scripts/sample.py", "runs/independent")


@pytest.mark.slow
def test_the_example_is_a_row_of_the_comparison(tree):
    """Its exact evidence is the sum of its pixels' logs, by counting."""
    code = (
        "import jax\n"
        "from vae_jax.comparison import models, entrants\n"
        "from vae_jax.configs import DataConfig, TrainConfig\n"
        "from vae_jax.data.arrays import load\n"
        "data = load(DataConfig())\n"
        "assert 'independent' in entrants.track('bernoulli', ('all',))\n"
        "config = entrants.ENTRANTS['independent'].config(16)\n"
        "found = models.train('independent', data, TrainConfig(), config=config)\n"
        "evidence = found.generative.log_evidence(jax.random.key(0), data.test.astype('float32'))\n"
        "print(found.title, evidence.lower.mean())\n"
    )
    *title, value = run(tree, "-c", code).split()
    assert title == ["independent", "pixels"]
    dataset = load(DataConfig())
    shares = (dataset.train.sum(axis=0) + 0.5) / (len(dataset.train) + 1)
    expected = np.log(np.where(dataset.test, shares, 1 - shares)).sum(axis=1).mean()
    assert float(value) == pytest.approx(expected, abs=1e-3)
