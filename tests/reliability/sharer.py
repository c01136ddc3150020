"""Train and infer on all devices of this process, or of several, and keep what came out.

python tests/reliability/sharer.py OUT.npz [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import sys

from vae_jax.configs import DistributedConfig
from vae_jax.sharding import processes

if len(sys.argv) > 2:  # before the imports below, which use jax
    processes.start(DistributedConfig(True, sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.tree_util import Partial

from bayes_jax import (
    LatentModel,
    annealed_draws,
    fit_posterior,
    importance_draws,
    sample_posterior,
)
from vae_jax import systems, training
from vae_jax.configs import ObservationSpec, TrainConfig, VAEConfig
from vae_jax.data.fresh import fresh_bits, fresh_unit
from vae_jax.sharding import observations, placement
from vae_jax.sharding.observations import gathering
from vae_jax.training import epochs

LATENT_DIM, DIM = 3, 12
NUM_STEPS = 50  # of Adam, in 5 epochs
NUM_X = 19  # no multiple of any number of devices but one


def main(out):
    found = {
        **trained("train", TrainConfig(num_epochs=5, batch_size=64)),
        **trained("streamed", TrainConfig(num_epochs=1, batch_size=64, stream_steps=3)),
        **inferred(),
        **noisy("bits", fresh_bits(256)),
        **noisy("pixels", fresh_unit(256)),
    }
    found["num_epoch_programs"] = epochs.train_epochs._cache_size()
    with jax.enable_x64():
        found |= annealed() | sampled()
    if processes.is_first():
        np.savez(out, **found)


def trained(name, config):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (10 * config.batch_size + 7, DIM), dtype=np.uint8)
    validation = rng.integers(0, 2, (101, DIM)).astype(np.float32)
    system = systems.build("vae", VAEConfig(2, (16,)), ObservationSpec(DIM, "bernoulli"))
    fitted = training.fit(jax.random.key(0), system, x, validation, config)
    params = jax.tree.leaves(fitted.progress.state)
    return {
        name: np.concatenate([np.ravel(leaf) for leaf in params]),
        f"{name}_objective": fitted.history[-1].validation["objective"],
    }


def noisy(name, observe):
    """Observations of rows that are spread over the devices, and the program that draws them."""
    mesh = placement.make_mesh()
    rows = placement.split(mesh)
    levels = np.random.default_rng(2).integers(0, 256, (64, DIM)).astype(np.float32)
    draw = jax.jit(observe, out_shardings=rows)
    args = jax.random.key(6), placement.place(levels, rows)
    x = jax.jit(lambda x: placement.everywhere(x, mesh))(draw(*args))
    program = draw.lower(*args).compile().as_text()
    return {name: placement.local(x), f"{name}_program": program}


def decode(params, z):
    return dist.Bernoulli(logits=jnp.tanh(z @ params["in"]) @ params["out"]).to_event(1)


def encode(weights, x):
    return dist.Normal(x @ weights, 1.0).to_event(1)


def toy():
    rng = np.random.default_rng(1)
    params = {"in": rng.normal(size=(LATENT_DIM, 8)), "out": rng.normal(size=(8, DIM))}
    prior = dist.Normal(jnp.zeros(LATENT_DIM), 1.0).to_event(1)
    model = LatentModel(prior, Partial(decode, jax.tree.map(jnp.asarray, params)))
    guide = Partial(encode, jnp.asarray(0.1 * rng.normal(size=(DIM, LATENT_DIM))))
    x = rng.integers(0, 2, (NUM_X, DIM)).astype(np.float32)
    return model, guide, x


def inferred():
    """By engines in float32 whose rounding nothing amplifies, and what they count."""
    model, guide, x = toy()
    key = jax.random.key(2)
    draws = gathering(importance_draws)(key, model, x, guide=guide, index_offset=7)
    again = gathering(importance_draws)(jax.random.key(3), model, x[::-1], guide=guide)
    assert not np.array_equal(again.z, draws.z)
    options = {"num_steps": 200, "num_elbo_samples": 50, "batch_size": 2}
    fitted = gathering(fit_posterior)(key, model, x, guide=guide, **options)
    assert draws.z.shape == (NUM_X, 50, LATENT_DIM)
    return {
        "importance": draws.evidence().lower,
        "kind": int(draws.evidence().kind),
        "num_traces": observations._run._cache_size(),
        "fit_elbo": fitted.elbo().lower,
        "fit_steps": fitted.num_steps,
        "fit_evaluations": fitted.num_evaluations,
    }


def annealed():
    """In float64: a walk amplifies what float32 rounds. Slices count what they happen to take."""
    model, guide, x = toy()
    options = {"num_chains": 4, "num_temperatures": 20, "transition": "elliptical", "batch_size": 2}
    draws = gathering(annealed_draws)(jax.random.key(4), model, x, guide=guide, **options)
    evidence = draws.evidence()
    return {
        "annealed": evidence.lower,
        "annealed_kind": evidence.kind.name,
        "annealed_calls": draws.num_grads,
    }


def sampled():
    model, guide, x = toy()
    options = {"num_chains": 2, "num_warmup": 20, "num_samples": 10, "batch_size": 2}
    draws = gathering(sample_posterior)(jax.random.key(5), model, x, guide=guide, **options)
    assert draws.valid.all()
    return {"draws": draws.z, "diverging": draws.diverging, "num_grads": draws.num_grads}


if __name__ == "__main__":
    main(sys.argv[1])
