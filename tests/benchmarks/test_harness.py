"""The benchmark harness: times against known sleeps, products against NumPy, files read back."""

import importlib.util
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import provenance

HARNESS = Path(__file__).parents[2] / "benchmarks" / "harness.py"


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location("harness", HARNESS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_min_and_median_are_of_the_repeats_alone(harness):
    sleeps = iter([0.9, 0.05, 0.45])

    def sleep():
        time.sleep(next(sleeps))

    measured = harness.measure(sleep, repeats=2)
    # A loaded machine wakes late, never early; the first call is no repeat.
    assert 0.05 <= measured.min_seconds < 0.25
    assert 0.25 <= measured.median_seconds < 0.45
    assert measured.first_seconds >= 0.9


def test_compiling_is_told_apart_and_happens_once(harness):
    traces = []

    @jax.jit
    def slow_to_trace(x):
        traces.append(x)
        time.sleep(0.3)
        return x + 1

    measured = harness.measure(lambda: slow_to_trace(jnp.ones(2)), repeats=3)
    assert len(traces) == 1
    assert measured.compile_seconds >= 0.3
    assert measured.first_seconds >= measured.compile_seconds
    assert measured.median_seconds < 0.3
    assert measured.recompile_seconds == 0
    np.testing.assert_array_equal(measured.result, [2, 2])


def test_compiling_again_is_refused_unless_allowed(harness):
    def compile_anew():
        return jax.jit(lambda x: x + 1)(jnp.ones(3))

    with pytest.raises(RuntimeError, match="compiling again"):
        harness.measure(compile_anew, repeats=2)
    assert harness.measure(compile_anew, repeats=2, recompiles=True).recompile_seconds > 0


def test_the_call_is_waited_for(harness):
    """A call that is dispatched and not waited for would seem to take no time."""

    @jax.jit
    def wait(x):
        def sleep(x):
            time.sleep(0.1)
            return x

        return jax.pure_callback(sleep, x, x)

    assert harness.measure(lambda: wait(jnp.ones(1)), repeats=2).min_seconds >= 0.1


def test_no_repeats_are_refused(harness):
    with pytest.raises(ValueError, match="repeats is 0"):
        harness.measure(lambda: None, repeats=0)


def test_the_ceiling_counts_the_operations_that_are_done(harness, monkeypatch):
    calls = []

    def measure_one_second(function, *, repeats):
        calls.append(np.asarray(function()))
        return harness.Measurement(None, 1.0, 2.0, 3.0, 0.0, 0.0)

    monkeypatch.setattr(harness, "measure", measure_one_second)
    size = 64
    ceiling = harness.gemm_ceiling(size=size)
    matrix = np.asarray(jax.random.normal(jax.random.key(0), (size, size)), np.float64) / size**0.5
    num_products = next(
        count
        for count in range(1, 30)
        if np.allclose(calls[0], np.linalg.matrix_power(matrix, count + 1), rtol=1e-3, atol=1e-4)
    )
    # An entry of a product takes `size` multiplications and as many additions.
    assert ceiling == pytest.approx(num_products * size * size * 2 * size * 1e-9)


def test_the_file_says_where_the_numbers_are_from(harness, tmp_path, capsys):
    meta = provenance.meta({"size": 4}, seconds=1.5, command="sampling.py --size 4")
    rows = [{"method": "hmc", "seconds": np.float32(0.5), "grads": np.arange(2)}]
    path = harness.write(tmp_path / "new", "sampling", rows, meta, summary="2 x as fast")
    assert path == tmp_path / "new" / "sampling.json"
    content = json.loads(path.read_text())
    assert content["rows"] == [{"method": "hmc", "seconds": 0.5, "grads": [0, 1]}]
    assert content["meta"]["summary"] == "2 x as fast"
    assert content["meta"]["device"] == jax.devices()[0].device_kind
    assert content["meta"]["versions"]["jax"] == jax.__version__
    assert {"git", "command", "config", "seconds"} <= content["meta"].keys()
    assert capsys.readouterr().out.splitlines()[-1] == "2 x as fast"


def test_without_a_folder_only_the_summary_is_printed(harness, capsys):
    meta = provenance.meta({}, seconds=0.1, command="nothing")
    assert harness.write(None, "nothing", [], meta, summary="done") is None
    assert capsys.readouterr().out == "done\n"


@pytest.mark.parametrize("left_out", ["device", "git", "versions"])
def test_numbers_of_unknown_origin_are_refused(harness, tmp_path, left_out):
    meta = provenance.meta({}, seconds=0.1, command="x")
    del meta[left_out]
    with pytest.raises(ValueError, match=f"meta lacks {left_out}"):
        harness.write(tmp_path, "x", [], meta, summary="x")
    assert not list(tmp_path.iterdir())


def test_memory_growth_is_that_of_the_call(harness):
    """Sixty-four MiB that are held and sixteen that were."""
    before = np.ones(16 << 17)
    kept = []

    def grow():
        kept.append(np.ones(64 << 17))
        return jnp.zeros(1)

    del before
    growth = harness.memory_growth(grow)
    if growth is None:
        pytest.skip("the kernel does not tell")
    assert 40 < growth < 100
    assert harness.memory_growth(lambda: jnp.zeros(1)) < 16
