"""What do a better prior, posterior or bound buy, in nats of log p(x)?

python benchmarks/variants.py --out OUT     about 10 min on 2 CPU cores, with no download
python benchmarks/variants.py --data mnist --data-dir DIR --names "bfloat16 layers" \\
    --batch-size 1024 --num-epochs 20 --num-images 512 --latent-dim 20 --out OUT     about 7 min

Every variant of the VAE is trained from the same seeds for the same number of epochs, keeps its
best on validation images, and is scored by annealing on test images. Its difference to the plain
VAE is paired image by image and seed by seed. --out DIR takes variants.json and .png, with the name
of the data behind it where these are not the digits.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
import tyro

from bayes_jax import annealed_evidence, elbo
from vae_jax import plots, provenance, training
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
from vae_jax.systems import build

PLAIN = "plain VAE"
VARIANTS = {
    PLAIN: {},
    "IWAE, k = 5": {"objective": ObjectiveConfig("iwae", num_samples=5)},
    "DReG, k = 5": {"objective": ObjectiveConfig("dreg", num_samples=5)},
    "VampPrior": {"prior": PriorConfig("vamp")},
    "mixture prior": {"prior": PriorConfig("mixture")},
    "flow prior": {"prior": PriorConfig("flow")},
    "full-rank posterior": {"posterior": PosteriorConfig("full_rank")},
    "coupling posterior": {"posterior": PosteriorConfig("coupling")},
    "IAF posterior": {"posterior": PosteriorConfig("iaf")},
    "two levels, coupling posterior": {
        "network": NetworkConfig(top_dim=4),
        "posterior": PosteriorConfig("coupling"),
    },
    "bfloat16 layers": {"network": NetworkConfig(dtype="bfloat16")},
}
NUM_ELBO_SAMPLES = 50


@dataclass(frozen=True)
class Benchmark:
    """Train and score variants of the VAE.

    Attributes:
        data: digits, mnist or binarized_mnist.
        data_dir: folder of the data sets.
        names: of the variants; all if empty.
        batch_size: of every run.
        num_seeds: training seeds, trained at once.
        num_epochs: of every run.
        num_images: test images, at most; all if unset.
        num_temperatures: of annealing.
        latent_dim: of every VAE.
        out: folder for the JSON and the figure.
    """

    data: str = "digits"
    data_dir: str | None = None
    names: tuple[str, ...] = ()
    batch_size: int = TrainConfig().batch_size
    num_seeds: int = 3
    num_epochs: int = 300
    num_images: int | None = None
    num_temperatures: int = 100
    latent_dim: int = 16
    out: Path | None = None


def main(command: Benchmark) -> None:
    """Train, score, write."""
    start = time.perf_counter()
    dataset = arrays.load(DataConfig(command.data, data_dir=command.data_dir))
    rows, plain = [], None
    for name in chosen(command.names):
        config = VAEConfig(command.latent_dim, **VARIANTS[name])
        found, row = scored(config, dataset, command)
        plain = plain or found
        of_elbo = paired(found.elbo - plain.elbo)
        row |= {f"elbo_{key}": value for key, value in of_elbo.items()}
        rows.append({"variant": name, **row, **paired(found.evidence - plain.evidence)})
        print("  ".join(f"{key} {value}" for key, value in shown(rows[-1])), flush=True)
    config = {**asdict(command), "data_dir": None, "out": None}
    meta = provenance.meta(config, seconds=time.perf_counter() - start)
    if command.out is not None:
        command.out.mkdir(parents=True, exist_ok=True)
        figure(rows, command).savefig(command.out / f"{file_name(command)}.png", dpi=150)
    harness.write(command.out, file_name(command), rows, meta, summary=summary(rows, command))


def chosen(names: tuple[str, ...]) -> list[str]:
    """The plain VAE, which the others are held against, and those asked for."""
    if unknown := [name for name in names if name not in VARIANTS]:
        raise SystemExit(f"error: --names {unknown[0]!r}: expected some of {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name == PLAIN or not names or name in names]


def file_name(command: Benchmark) -> str:
    """Of the results, without an ending."""
    return "variants" if command.data == "digits" else f"variants_{command.data}"


class Found(NamedTuple):
    """In nats, `[seed, image]`: log p(x) by annealing from the guide, and the ELBO."""

    evidence: np.ndarray
    elbo: np.ndarray


def scored(config: VAEConfig, dataset, command: Benchmark) -> tuple[Found, dict]:
    """What a variant finds, and what it is and cost."""
    start = time.perf_counter()
    system = build("vae", config, dataset.spec)
    num_epochs = command.num_epochs
    loop = TrainConfig(num_epochs, batch_size=command.batch_size, patience=num_epochs)
    keys = jnp.stack([jax.random.key(seed) for seed in range(command.num_seeds)])
    results = training.fit_seeds(keys, system, dataset.train, dataset.validation, loop)
    train_seconds = time.perf_counter() - start
    x = jnp.asarray(dataset.test[: command.num_images], jnp.float32)
    models = [system.generative(result.state) for result in results]
    found = [
        annealed_evidence(
            jax.random.key(100 + seed),
            model.latent,
            x,
            guide=model.guide,
            num_temperatures=command.num_temperatures,
            batch_size=128,
        )
        for seed, model in enumerate(models)
    ]
    bounds = [
        elbo(
            jax.random.key(200 + seed),
            model.latent,
            x,
            guide=model.guide,
            num_samples=NUM_ELBO_SAMPLES,
        )
        for seed, model in enumerate(models)
    ]
    evidence, of_guides = (
        np.asarray([each.lower for each in lower], np.float64) for lower in (found, bounds)
    )
    errors = np.asarray([each.stderr_lower for each in found], np.float64)
    return Found(evidence, of_guides), {
        "log_prob": float(evidence.mean()),
        "elbo": float(of_guides.mean()),
        "stderr": float(evidence.mean(axis=0).std(ddof=1) / np.sqrt(evidence.shape[1])),
        "stderr_annealing": float(np.sqrt(np.mean(errors**2))),
        "best_epochs": [result.best_epoch for result in results],
        "train_seconds": train_seconds,
        "seconds": time.perf_counter() - start,
    }


def paired(difference: np.ndarray) -> dict:
    """Mean of `[seed, image]` and its standard error: that over images plus that over seeds.

    Both are drawn anew where the comparison is repeated; noise that belongs to neither is counted
    twice, so that the error is not too small.
    """
    num_seeds, num_images = difference.shape
    over_images = difference.mean(axis=0).std(ddof=1) / np.sqrt(num_images)
    over_seeds = difference.mean(axis=1).std(ddof=1) / np.sqrt(num_seeds) if num_seeds > 1 else 0.0
    return {
        "difference": float(difference.mean()),
        "stderr_difference": float(np.hypot(over_images, over_seeds)),
        "difference_by_seed": difference.mean(axis=1).tolist(),
    }


def shown(row: dict):
    """A row as it is printed."""
    for name, value in row.items():
        yield name, f"{value:.4g}" if isinstance(value, float) else value


def figure(rows: list[dict], command: Benchmark):
    """The differences, with two standard errors, and each seed's."""
    others = [row for row in rows if row["variant"] != PLAIN]
    return plots.differences(
        [row["variant"] for row in others],
        np.array([row["difference_by_seed"] for row in others]),
        np.array([row["stderr_difference"] for row in others]),
        title=f"Variants of the VAE on {command.data}: log p(x) beside the plain one's",
    )


def summary(rows: list[dict], command: Benchmark) -> str:
    """The answer in one line."""
    plain, *others = rows
    differences = ", ".join(
        f"{row['variant']} {row['difference']:+.2f} ± {row['stderr_difference']:.2f} "
        f"({row['elbo_difference']:+.2f})"
        for row in others
    )
    return (
        f"log p(x) of {command.data} test images, {command.num_seeds} seeds, nats beside the plain "
        f"VAE's {plain['log_prob']:.2f} (the ELBO's, beside {plain['elbo']:.2f}): {differences}"
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
