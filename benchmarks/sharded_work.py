"""The work that benchmarks/sharding.py times, on as many devices as this process sees.

python benchmarks/sharded_work.py OPTIONS            as JSON; prints its rows as JSON, last
"""

import json
import sys
from functools import partial

import harness
import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax import annealed_evidence, importance_bound, sample_posterior
from vae_jax import systems, training
from vae_jax.configs import ObservationSpec, TrainConfig, VAEConfig
from vae_jax.sharding import observations, placement
from vae_jax.training import epochs

DIM, SHARE_OF_INK = 784, 0.13


def main(options: dict) -> None:
    """Measure everything, and print it."""
    num_examples = options["num_steps"] * max(options["batch_sizes"])
    num_examples = max(num_examples, options["num_images"])
    rng = np.random.default_rng(0)
    x = (rng.random((num_examples, DIM), np.float32) < SHARE_OF_INK).astype(np.uint8)
    system = systems.build("vae", VAEConfig(), ObservationSpec(DIM, "bernoulli"))
    rows = [
        row(
            f"training, batch {size}",
            partial(epoch, system, x[: size * options["num_steps"]], size),
            options,
        )
        for size in options["batch_sizes"]
    ]
    state = training.initial_progress(jax.random.key(0), system, x).state
    images = jnp.asarray(x[: options["num_images"]], jnp.float32)
    rows += [
        row(work.__name__, partial(work, system.generative(state), images, options), options)
        for work in (posteriors, annealed, importance)
    ]
    print(json.dumps(rows), flush=True)


def row(name: str, make, options: dict) -> dict:
    """One piece of work, timed; `make` gives the call, and what of its result must agree."""
    call, value = make()
    # An engine looks up the shapes of its model anew, in microseconds.
    found = harness.measure(call, repeats=options["num_runs"], recompiles=True)
    if found.recompile_seconds > 0.01:
        raise RuntimeError(f"{name}: a repeat compiled for {found.recompile_seconds:.3f} s")
    return {
        "work": name,
        "min_seconds": found.min_seconds,
        "median_seconds": found.median_seconds,
        "compile_seconds": found.compile_seconds,
        "value": value(found.result),
    }


def epoch(system, x, batch_size: int):
    """Epochs from the same state: the mean objective of the steps."""
    mesh = placement.mesh_for_batches(batch_size)
    key = jax.random.key(1)
    config = TrainConfig(batch_size=batch_size)
    start = training.initial_progress(key, system, x).state
    start = jax.tree.map(lambda leaf: leaf[None], start)
    data = placement.replicate(jnp.asarray(x), mesh)

    def call():
        # An epoch takes over the memory of its state.
        state = placement.replicate(jax.tree.map(jnp.array, start), mesh)
        return epochs.train_epochs(
            state,
            key[None],
            data,
            np.asarray([config.learning_rate], np.float32),
            np.asarray([True]),
            step=system.step,
            batch_size=batch_size,
            mesh=mesh,
        )[1]

    return call, lambda metrics: float(metrics["objective"][0])


def posteriors(generative, x, options: dict):
    """HMC of every image: the mean log density of the draws."""
    call = inference(sample_posterior, generative, x, options, num_samples=options["num_draws"])
    return call, lambda draws: mean(draws.log_joint)


def annealed(generative, x, options: dict):
    """Annealing of every image: the mean evidence."""
    counts = {"num_temperatures": options["num_temperatures"]}
    call = inference(annealed_evidence, generative, x, options, **counts)
    return call, lambda found: mean(found.lower)


def importance(generative, x, options: dict):
    """Importance sampling of every image: the mean evidence."""
    counts = {"num_samples": options["num_samples"]}
    call = inference(importance_bound, generative, x, options, **counts)
    return call, lambda found: mean(found.lower)


def inference(engine, generative, x, options: dict, **counts):
    """An engine over all devices, the engine itself where there is one; as many images at once."""
    if jax.device_count() > 1:
        engine = observations.over_observations(engine, placement.make_mesh())
    at_once = options["images_at_once"] // jax.device_count()
    model, guide = generative.latent, generative.guide
    key = jax.random.key(2)
    return partial(engine, key, model, x, guide=guide, batch_size=at_once, **counts)


def mean(values) -> float:
    """In double precision."""
    return float(np.mean(np.asarray(values), dtype=np.float64))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
