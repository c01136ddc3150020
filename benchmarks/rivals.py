"""Rows of benchmarks/evidence.py that hold PyTorch and TFP against ours, in one process.

Each says how its log p(x) differs from ours on the same images, with the standard error of that
mean over images.
"""

import os
import time
from collections.abc import Iterator
from functools import partial

import harness
import jax
import jax.numpy as jnp
import numpy as np
from decoder import TrainedDecoder, flops_per_gradient

from bayes_jax.annealing import Chains, advance, init, log_weight, make_settings
from bayes_jax.estimates import log_mean_exp
from vae_jax.timing import timed

NUM_TEMPERATURES, NUM_LEAPFROGS = 100, 2
NUM_RUNS = 5
HALF = "ours, bfloat16 forces"


def torch_rows(decoder: TrainedDecoder, *, num_chains: int) -> Iterator[dict]:
    """The same walk in PyTorch, over the very paths that ours found: the walks alone, in turns."""
    # Threads of PyTorch that spin while they wait take ten times as long beside other work; those
    # that sleep reach the products' ceiling all the same. Read when PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from torch_annealer import TorchAnnealer

    model, guide, params, x, _ = decoder
    settings, betas = make_settings(
        model,
        guide,
        num_chains=num_chains,
        num_temperatures=NUM_TEMPERATURES,
        num_leapfrogs=NUM_LEAPFROGS,
    )

    def ours(transition):
        ready = settings._replace(transition=transition)
        start = init(jax.random.key(1), model, x, betas, settings=ready, guide=guide)
        walk = partial(advance, model, x, start, settings=ready)
        return start, lambda: jax.block_until_ready(log_weight(walk()))

    start, in_full = ours("hmc")
    bridge = _bridge(start)

    def annealer(**options):
        options |= {"num_chains": num_chains, "num_leapfrogs": NUM_LEAPFROGS}
        return partial(TorchAnnealer(params, betas=np.asarray(betas), **options), 0, x, bridge)

    walks = {
        "ours": in_full,
        "PyTorch, eager": annealer(),
        "PyTorch, compiled": annealer(compiled=True),
        "PyTorch, gradient by hand, eager": annealer(by_hand=True),
        "PyTorch, gradient by hand, compiled": annealer(by_hand=True, compiled=True),
        HALF: ours("hmc_bfloat16")[1],
        "PyTorch, bfloat16 forces, compiled": annealer(half=True, compiled=True),
        "PyTorch, bfloat16 forces by hand, compiled": annealer(
            half=True, by_hand=True, compiled=True
        ),
    }
    log_weights = {name: walk() for name, walk in walks.items()}  # compiles
    seconds, ceilings = {name: [] for name in walks}, []
    for _ in range(NUM_RUNS):
        # In turns: a slow minute of the machine slows them all.
        ceilings.append(harness.gemm_ceiling(repeats=1))
        for name, walk in walks.items():
            began = time.perf_counter()
            walk()
            seconds[name].append(time.perf_counter() - began)
    num_grads = num_chains * (1 + NUM_LEAPFROGS * (NUM_TEMPERATURES - 1))
    values = {name: _per_image(log_weight) for name, log_weight in log_weights.items()}
    for name, taken in seconds.items():
        # Ours evaluated its starts in `init`, outside the timed call.
        spent = num_grads - num_chains if name.startswith("ours") else num_grads
        yield {
            **_row(name, decoder, max(ceilings), values[name], min(taken), spent),
            **({} if name == "ours" else _beside("ours", values[name], values["ours"])),
        }


def tfp_rows(decoder: TrainedDecoder, *, num_chains: int, ours: dict[str, dict]) -> Iterator[dict]:
    """TFP's annealing from encoder and prior, with the settings that serve it best.

    Args:
        decoder: trained.
        num_chains: per image.
        ours: rows on the same images, for TFP's start at "guide" and "prior".
    """
    from tfp_annealer import CASES, make_tfp

    model, guide, _, x, _ = decoder
    for name, (start, settings) in CASES.items():
        annealer = make_tfp(
            model, guide if start == "guide" else None, settings=settings, num_chains=num_chains
        )
        took = timed(partial(annealer, jax.random.key(1), x))
        log_weight, num_grads = took.result
        value, mine = _per_image(log_weight), np.asarray(ours[start]["log_prob_by_image"])
        yield {
            **_row(name, decoder, harness.gemm_ceiling(), value, took.seconds, num_grads),
            **_beside(ours[start]["method"], value, mine),
            "times_the_calls": num_grads / ours[start]["decoder_calls"],
        }


def _bridge(chains: Chains):
    """The paths of every image as arrays that PyTorch can take."""
    from torch_annealer import Bridge

    path = chains.path
    steps = jax.vmap(lambda path: jax.vmap(path.step_size)(path.betas[1:-1]))(path)
    parts = path.start.loc, path.start.factor, path.basis, path.precision, steps
    return Bridge(*map(np.asarray, parts))


def _per_image(log_weight) -> np.ndarray:
    """log p(x) of every image."""
    return np.asarray(log_mean_exp(jnp.asarray(log_weight)), np.float64)


def _row(method, decoder: TrainedDecoder, ceiling, value, seconds, num_grads) -> dict:
    model, _, _, x, _ = decoder
    rate = len(x) * num_grads / seconds
    flops = flops_per_gradient(x.shape[-1], model.prior.event_shape[0])
    return {
        "study": "peers",
        "method": method,
        "num_images": len(x),
        "log_prob": value.mean(),
        "seconds": seconds,
        "decoder_calls": num_grads,
        "gradients_per_second": rate,
        "gemm_gflops": ceiling,
        "share_of_gemm": rate * flops / (1e9 * ceiling),
    }


def _beside(method, value, ours) -> dict:
    """Mean difference to our own estimate, paired image by image."""
    difference = value - ours
    return {
        "beside": method,
        "difference": difference.mean(),
        "stderr_difference": difference.std(ddof=1) / np.sqrt(len(difference)),
    }
