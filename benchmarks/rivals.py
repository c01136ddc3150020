"""Rows of benchmarks/evidence.py that hold PyTorch and TFP against ours, in one process."""

import time
from collections.abc import Iterator
from functools import partial

import harness
import jax
import jax.numpy as jnp
import numpy as np
from decoder import TrainedDecoder, flops_per_gradient

from bayes_jax import annealed_draws
from bayes_jax.annealing import Settings, make_path, sigmoid_schedule
from bayes_jax.annealing.chains import joint_density
from bayes_jax.batching import map_observations
from bayes_jax.estimates import log_mean_exp

NUM_TEMPERATURES, NUM_LEAPFROGS = 100, 2
# The peers' ladder for a start at the prior is linear, and needs more rungs.
TFP_STEPS = 1000
NUM_RUNS = 3


def torch_rows(decoder: TrainedDecoder, ceiling: float, *, num_chains: int) -> Iterator[dict]:
    """The same walk in PyTorch, over the very paths that ours found; and ours, paths included."""
    from annealers import TorchAnnealer

    model, guide, params, x, _ = decoder

    def ours():
        return annealed_draws(
            jax.random.key(1),
            model,
            x,
            guide=guide,
            num_chains=num_chains,
            num_temperatures=NUM_TEMPERATURES,
        )

    took = harness.measure(ours, repeats=NUM_RUNS, recompiles=True)
    draws = took.result
    num_grads = int(draws.num_grads[0])
    yield _row("ours", x, ceiling, draws.log_weight, took.min_seconds, num_grads, decoder)
    betas = np.asarray(sigmoid_schedule(NUM_TEMPERATURES))
    bridge = _bridge(decoder, betas)
    for name, compiled in (("PyTorch, eager", False), ("PyTorch, compiled", True)):
        annealer = TorchAnnealer(
            params,
            betas=betas,
            num_chains=num_chains,
            num_leapfrogs=NUM_LEAPFROGS,
            compiled=compiled,
        )
        annealer(0, x, bridge)  # compiles
        seconds = []
        for seed in range(NUM_RUNS):
            start = time.perf_counter()
            log_weight = annealer(seed, x, bridge)
            seconds.append(time.perf_counter() - start)
        num_grads = annealer.num_grads()
        yield _row(name, x, ceiling, log_weight, min(seconds), num_grads, decoder)


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


def _bridge(decoder: TrainedDecoder, betas):
    """The paths of every image as arrays that PyTorch can take."""
    from annealers import Bridge

    model, guide, _, x, _ = decoder
    settings = Settings(num_temperatures=NUM_TEMPERATURES)

    @jax.jit
    def paths(key, x):
        def one(key, x):
            density = joint_density(model, x)
            path = make_path(
                key, model, density, x, guide=guide, betas=jnp.asarray(betas), settings=settings
            )
            steps = jax.vmap(path.step_size)(path.betas[1:-1])
            return path.start.loc, path.start.factor, path.basis, path.precision, steps

        return map_observations(one, key, x)

    return Bridge(*map(np.asarray, paths(jax.random.key(2), x)))


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
