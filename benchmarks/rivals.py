"""Rows of benchmarks/evidence.py that hold PyTorch and TFP against ours, in one process."""

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

NUM_TEMPERATURES, NUM_LEAPFROGS = 100, 2
# The peers' ladder for a start at the prior is linear, and needs more rungs.
TFP_STEPS = 1000
NUM_RUNS = 5
HALF = "ours, bfloat16 forces"


def torch_rows(decoder: TrainedDecoder, ceiling: float, *, num_chains: int) -> Iterator[dict]:
    """The same walk in PyTorch, over the very paths that ours found: the walks alone, in turns."""
    from annealers import TorchAnnealer

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
    seconds = {name: [] for name in walks}
    for _ in range(NUM_RUNS):
        # In turns: a slow minute of the machine slows them all.
        for name, walk in walks.items():
            began = time.perf_counter()
            walk()
            seconds[name].append(time.perf_counter() - began)
    num_grads = num_chains * (1 + NUM_LEAPFROGS * (NUM_TEMPERATURES - 1))
    for name, taken in seconds.items():
        # Ours evaluated its starts in `init`, outside the timed call.
        spent = num_grads - num_chains if name.startswith("ours") else num_grads
        yield _row(name, x, ceiling, log_weights[name], min(taken), spent, decoder)


def tfp_rows(decoder: TrainedDecoder, ceiling: float, *, num_chains: int) -> Iterator[dict]:
    """TFP's annealing from encoder and prior, mended, on its own linear ladder."""
    from annealers import make_tfp

    model, guide, _, x, _ = decoder
    for name, start, num_steps in (
        ("TFP from the guide", guide, NUM_TEMPERATURES),
        ("TFP from the prior", None, TFP_STEPS),
    ):
        annealer = make_tfp(
            model, start, num_chains=num_chains, num_steps=num_steps, num_leapfrogs=NUM_LEAPFROGS
        )
        few = x[:16]
        run = partial(annealer, jax.random.key(1), few)
        took = harness.measure(run, repeats=1, recompiles=True)
        log_weight, num_grads = took.result
        yield _row(name, few, ceiling, log_weight, took.min_seconds, num_grads, decoder)


def _bridge(chains: Chains):
    """The paths of every image as arrays that PyTorch can take."""
    from annealers import Bridge

    path = chains.path
    steps = jax.vmap(lambda path: jax.vmap(path.step_size)(path.betas[1:-1]))(path)
    parts = path.start.loc, path.start.factor, path.basis, path.precision, steps
    return Bridge(*map(np.asarray, parts))


def _row(method, x, ceiling, log_weight, seconds, num_grads, decoder: TrainedDecoder) -> dict:
    latent_dim = decoder.model.prior.event_shape[0]
    rate = len(x) * num_grads / seconds
    flops = flops_per_gradient(x.shape[-1], latent_dim)
    return {
        "study": "peers",
        "method": method,
        "num_images": len(x),
        "log_prob": float(jnp.mean(log_mean_exp(jnp.asarray(log_weight)))),
        "seconds": seconds,
        "decoder_calls": num_grads,
        "gradients_per_second": rate,
        "share_of_gemm": rate * flops / (1e9 * ceiling),
    }
