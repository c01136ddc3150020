"""The benchmark of training: limits against counts by hand, ratios against rates made up."""

import importlib
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DIM = 784


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_operations_are_those_of_a_compiled_step_of_products(module):
    roofline = module("roofline")
    weights = [jnp.ones(shape) for shape in roofline.shapes(DIM)]
    compiled = jax.jit(roofline.step_of_products).lower(jnp.ones((64, DIM)), weights).compile()
    counted = compiled.cost_analysis()["flops"]
    assert counted == pytest.approx(roofline.operations(64, DIM), rel=0.001)


def test_the_seed_vae_has_the_weights_it_is_known_for(module):
    roofline = module("roofline")
    assert roofline.num_weights(DIM) == 784 * 512 * 2 + 512 * 256 * 2 + 256 * 40 + 20 * 256


def test_limits_are_operations_and_bytes_over_rates(module):
    roofline = module("roofline")
    machine = roofline.Machine(gflops=100.0, gbytes_per_second=10.0)
    found = roofline.limits(machine, 32, DIM)
    assert found.gemm == pytest.approx(roofline.operations(32, DIM) / 1e11)
    assert found.traffic == pytest.approx(28 * roofline.num_weights(DIM) / 1e10)
    assert 0 < found.products < 1


def test_shares_are_of_the_steps_that_the_limit_allows(module):
    roofline = module("roofline")
    found = roofline.Limits(gemm=0.004, products=0.005, traffic=0.001).shares(100.0)
    assert found == {
        "share_of_gemm": pytest.approx(0.4),
        "share_of_roofline": pytest.approx(0.5),
        "share_of_own_products": pytest.approx(0.6),
    }


def row(training, method, rate):
    limits = training.roofline.Limits(gemm=0.001, products=0.0015, traffic=0.0005)
    found = {"method": method, "batch_size": 32, "steps_per_second": rate, "peak_mebibytes": 300.0}
    return found | training.shares(found, limits)


def test_the_answer_says_each_ratio_the_right_way_round(module):
    """Ours 400, one seed of four 100, PyTorch 200: twice the peer, 1.0 times four runs."""
    training = module("training")
    rows = [
        row(training, training.OURS, 400.0),
        row(training, training.HALF, 600.0),
        row(training, training.FRESH, 320.0),
        row(training, training.AT_ONCE, 200.0),
        row(training, "PyTorch, compiled", 200.0),
        row(training, training.TORCH_HALF, 300.0),
    ]
    answer = training.summary(rows, {"num_seeds": 4})
    for part in (
        "batch 32: 400 steps/s, 2.00 x PyTorch, compiled, 40% of the products' ceiling",
        "60% of the roofline (80% with the products' own shapes), 300 MiB",
        "fresh bits cost 25% more, 4 seeds at once 8.00 times one",
        "bfloat16 1.50 times float32 and 2.00 times PyTorch's",
    ):
        assert part in answer
    assert rows[1]["share_of_gemm"] is None  # of float32's ceiling half precision says nothing


def test_steps_of_all_seeds_count_and_compiling_is_what_the_first_epoch_took_more(module):
    training = module("training")
    found = training.epoch_row("x", 10, [2.0, 4.0, 3.0], 5.0, num_steps=60)
    assert (found["steps_per_second"], found["median_steps_per_second"]) == (30.0, 20.0)
    assert (found["images_per_second"], found["compile_seconds"]) == (300.0, 2.0)


def test_memory_is_that_of_a_process_of_its_own(module):
    """An epoch of 64 MiB, twice: what the first one freed does not serve the second."""
    peak_memory = module("peak_memory")
    make = partial(partial, np.ones)  # (shape, dtype) -> an epoch that makes such an array
    for _ in range(2):
        growth = peak_memory.of_epoch(make, 64 << 17, float)
        if growth is None:
            pytest.skip("the kernel does not tell")
        assert 60 < growth < 90
