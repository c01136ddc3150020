"""How much noise is in the gradient of each estimator, for encoder and decoder?

python benchmarks/gradients.py --out OUT     about 3 min on 2 CPU cores, with no download

The signal-to-noise ratio of a parameter's gradient over independent draws of z, |mean| / sd, mean
over the parameters (Rainforth et al. 2018, arXiv 1802.04537, equation 5), of a half-trained VAE on
digits. That of IWAE's encoder falls with the number of samples, those of sticking-the-landing and
DReG do not (Tucker et al. 2019, arXiv 1810.04152). --out DIR takes gradients.json and .png.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import harness
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree

from vae_jax import plots, provenance
from vae_jax.comparison import models
from vae_jax.configs import (
    DataConfig,
    NetworkConfig,
    ObjectiveConfig,
    PosteriorConfig,
    PriorConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data import arrays
from vae_jax.objectives import make_objective
from vae_jax.systems.vae import amortized_family

ESTIMATORS = ("elbo", "iwae", "stl", "dreg")
PARTS = ("encoder", "decoder")


@dataclass(frozen=True)
class Benchmark:
    """Measure the signal-to-noise ratio of gradients.

    Attributes:
        data: digits, or mnist.
        data_dir: folder of the data sets.
        num_images: of the batch whose mean gradient is estimated.
        num_samples: draws of z for each image, from few to many.
        num_draws: independent gradients, over which the ratio is measured.
        num_epochs: of training before.
        out: folder for the JSON and the figure.
    """

    data: str = "digits"
    data_dir: str | None = None
    num_images: int = 64
    num_samples: tuple[int, ...] = (1, 4, 16, 64)
    num_draws: int = 400
    num_epochs: int = 20
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Train, draw gradients, write."""
    start = time.perf_counter()
    dataset = arrays.load(DataConfig(command.data, data_dir=command.data_dir))
    config = VAEConfig()
    loop = TrainConfig(num_epochs=command.num_epochs)
    trained = models.train("vae", dataset, loop, config=config)
    family = amortized_family(
        config.latent_dim,
        config.hidden_dims,
        NetworkConfig(),
        PosteriorConfig(),
        PriorConfig(),
        dataset.spec,
    )
    params = params_of(trained.generative)
    x = jnp.asarray(dataset.train[: command.num_images], jnp.float32)
    rows = list(measure(family, params, x, command))
    meta_config = {**asdict(command), "data_dir": None, "out": None}
    meta = provenance.meta(meta_config, seconds=time.perf_counter() - start)
    if command.out is not None:
        command.out.mkdir(parents=True, exist_ok=True)
        figure(rows).savefig(command.out / "gradients.png", dpi=150)
    harness.write(command.out, "gradients", rows, meta, summary=summary(rows))


def params_of(generative) -> dict:
    """Of encoder and decoder, as the likelihood and the guide of a fitted model hold them."""
    return {
        "prior": {},
        **generative.guide.args[0],
        **generative.latent.likelihood.args[0],
    }


def measure(family, params, x, command: Benchmark) -> Iterator[dict]:
    """Every estimator at every number of samples, for both parts."""
    for name in ESTIMATORS:
        for num_samples in command.num_samples:
            objective = make_objective(ObjectiveConfig(name, num_samples=num_samples))
            moments = gradient_moments(family, objective, params, x, command.num_draws)
            for part in PARTS:
                mean, spread = (np.asarray(moment[part], np.float64) for moment in moments)
                alive = spread > 0  # units that no image wakes have neither signal nor noise
                # The square of a mean over draws is too large by the variance of that mean.
                ratio = np.square(mean[alive] / spread[alive]) - 1 / command.num_draws
                row = {
                    "estimator": name,
                    "num_samples": num_samples,
                    "part": part,
                    "snr": float(np.mean(np.sqrt(np.maximum(ratio, 0.0)))),
                    "share_alive": float(np.mean(alive)),
                }
                print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
                yield row


def gradient_moments(family, objective, params, x, num_draws: int):
    """Mean and standard deviation over draws, of each part's flat gradient."""

    def loss(params, key):
        keys = jax.random.split(key, len(x))
        latent, guide = family.latent(params), family.guide(params)
        terms = jax.vmap(lambda key, x: objective(key, latent, guide, x, 0))(keys, x)
        return jnp.mean(terms.objective)

    def flat(key):
        gradient = jax.grad(loss)(params, key)
        return {part: ravel_pytree(gradient[part])[0] for part in PARTS}

    def add(sums, key):
        gradient = flat(key)
        squares = jax.tree.map(jnp.square, gradient)
        return jax.tree.map(jnp.add, sums, (gradient, squares)), None

    @jax.jit
    def run(keys):
        zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(flat, keys[0]))
        (first, second), _ = jax.lax.scan(add, (zeros, zeros), keys)
        mean = jax.tree.map(lambda total: total / num_draws, first)
        spread = jax.tree.map(
            lambda total, mean: jnp.sqrt(jnp.maximum(total / num_draws - mean**2, 0.0)),
            second,
            mean,
        )
        return mean, spread

    return run(jax.random.split(jax.random.key(1), num_draws))


def figure(rows: list[dict]):
    """The ratio against the number of samples, a panel for each part."""
    return plots.signal_to_noise(
        {
            part: {
                name: [
                    (row["num_samples"], row["snr"])
                    for row in rows
                    if (row["part"], row["estimator"]) == (part, name)
                ]
                for name in ESTIMATORS
            }
            for part in PARTS
        },
        title="Signal-to-noise ratio of the gradients of a VAE on digits",
    )


def summary(rows: list[dict]) -> str:
    """The answer in one line."""
    found = {(row["estimator"], row["part"], row["num_samples"]): row["snr"] for row in rows}
    few, many = (choose(row["num_samples"] for row in rows) for choose in (min, max))
    parts = [
        f"{name} {found[name, 'encoder', few]:.2f} to {found[name, 'encoder', many]:.2f}"
        for name in ESTIMATORS
    ]
    return f"signal-to-noise of the encoder's gradient from {few} to {many} samples: " + ", ".join(
        parts
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
