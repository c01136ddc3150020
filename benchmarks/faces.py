"""How many bits does a pixel of an unseen face take? A convolutional VAE beside exact models.

python benchmarks/faces.py --data-dir DIR --out DIR       both sets: about 20 min on 2 CPU cores

DIR has faces/freyfaces.npy and faces/olivetti.npz. Held out are whole stretches of film and whole
people; all models of a set see the same training images. Sizes of the exact models are chosen by
validation images. VAEs see whole grey levels and are scored by importance bounds: their bits are at
most these. The others see dequantized pixels, and their exact densities bound the bits of the grey
levels likewise. Errors are over people or stretches, since pictures of one are alike. --out DIR
takes faces.json, and for each set a PNG with samples and reconstructions.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import harness
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from bayes_jax import GenerativeModel, fit_posterior, importance_draws
from bayes_jax.estimates import log_mean_exp
from bayes_jax.noise import independent_draws
from vae_jax import console, plots, provenance, training
from vae_jax.configs import (
    DataConfig,
    FactorAnalysisConfig,
    MixtureConfig,
    NetworkConfig,
    OptimizerConfig,
    PPCAConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data import arrays, sources
from vae_jax.data.dataset import Dataset
from vae_jax.latent_images import decode, encode, encoder
from vae_jax.plots import ModelImages
from vae_jax.sample_figures import Subject, spread
from vae_jax.systems import build

VAE = "vae"
DATA = {
    "freyfaces": DataConfig("freyfaces"),
    "olivetti": DataConfig("olivetti", mirrored=True),
}
# With ReLU in place of tanh they stood at the mean face for ten to forty epochs, some for good.
VAES = {
    "freyfaces": (
        VAEConfig(
            48,
            (),
            network=NetworkConfig("conv", (16, 32), "tanh"),
            optimizer=OptimizerConfig(average_decay=0.99),
        ),
        TrainConfig(num_epochs=150, batch_size=64, patience=15),
    ),
    "olivetti": (
        VAEConfig(
            64,
            (),
            network=NetworkConfig("conv", (16, 32, 32), "tanh"),
            optimizer=OptimizerConfig(average_decay=0.98),
        ),
        TrainConfig(num_epochs=60, batch_size=28, patience=10),
    ),
}
EXACT = {
    "ppca": [PPCAConfig(dim) for dim in (20, 40, 60, 80, 120)],
    "mixture": [MixtureConfig(num) for num in (1, 2, 5, 10, 20, 40)],
    "factor_analysis": [FactorAnalysisConfig(dim) for dim in (20, 40, 60)],
}
NUM_IMPORTANCE_SAMPLES, NUM_FIT_STEPS = 50, 100
NUM_COLUMNS = 8
_BATCH = 16  # images in memory at once


@dataclass(frozen=True)
class Bench:
    """Train a VAE and exact models on faces, and score them on unseen ones.

    Attributes:
        data_dir: folder of the data sets.
        sets: of faces.
        num_epochs: of each VAE, at most; as many as suit the set if unset.
        seed: of training.
        out: folder for the JSON and the figures.
    """

    data_dir: str | None = None
    sets: tuple[str, ...] = tuple(DATA)
    num_epochs: int | None = None
    seed: int = 0
    out: Path | None = None


class Fitted(NamedTuple):
    """A trained model.

    Attributes:
        rows: its scores, one for each way of scoring.
        generative: itself.
        dataset: as it sees it.
    """

    rows: list[dict]
    generative: GenerativeModel
    dataset: Dataset


def main(command: Bench) -> None:
    """Train, score, draw, write."""
    start = time.perf_counter()
    rows = []
    for name in command.sets:
        fitted = {VAE: fit_vae(command, name)}
        fitted |= {system: fit_exact(command, name, system) for system in EXACT}
        rows += [row for model in fitted.values() for row in model.rows]
        if command.out is not None:
            command.out.mkdir(parents=True, exist_ok=True)
            picture(name, fitted).savefig(command.out / f"faces_{name}.png", dpi=100)
    config = {**asdict(command), "data_dir": None, "out": None}
    meta = provenance.meta(
        config, seconds=time.perf_counter() - start, command="faces.py --data-dir DIR --out DIR"
    )
    harness.write(command.out, "faces", rows, meta, summary=worded(rows))


def fit_vae(command: Bench, name: str) -> Fitted:
    """Trained on whole grey levels; scored by its encoder, and by a q* fitted to each image."""
    dataset = load(command, name, "discretized_logistic")
    config, loop = VAES[name]
    loop = replace(loop, num_epochs=command.num_epochs or loop.num_epochs, seed=command.seed)
    generative, seconds = train(VAE, config, loop, dataset)
    rows = []
    for method, score in {"encoder": by_encoder, "fitted q*": by_fit}.items():
        parts = [score(generative, images(part)) for part in (dataset.validation, dataset.test)]
        rows.append(row(command, dataset, VAE, config.latent_dim, method, parts, seconds))
        print(rows[-1], flush=True)
    return Fitted(rows, generative, dataset)


def fit_exact(command: Bench, name: str, system: str) -> Fitted:
    """Of all sizes the one that is best on validation images, and its exact density."""
    dataset = load(command, name, "gaussian")
    found = []
    for config in EXACT[system]:
        loop = TrainConfig(seed=command.seed)
        generative, seconds = train(system, config, loop, dataset)
        parts = [
            np.asarray(generative.log_evidence(jax.random.key(0), images(part)).lower, np.float64)
            for part in (dataset.validation, dataset.test)
        ]
        (size,) = asdict(config).values()
        scored = row(command, dataset, system, size, "exact", parts, seconds)
        found.append(Fitted([scored], generative, dataset))
        print(scored, flush=True)
    best = min(found, key=lambda fitted: fitted.rows[0]["validation_bits_per_dim"])
    best.rows[0]["sizes"] = [entry.rows[0]["size"] for entry in found]
    best.rows[0]["all_seconds"] = sum(entry.rows[0]["train_seconds"] for entry in found)
    return best


def load(command: Bench, name: str, head: str) -> Dataset:
    """A set as a head sees it."""
    return arrays.load(replace(DATA[name], observation=head, data_dir=command.data_dir))


def images(part: np.ndarray) -> jax.Array:
    """A part of a data set as engines take it."""
    return jnp.asarray(part, jnp.float32)


def train(system: str, config, loop: TrainConfig, dataset: Dataset):
    """A fitted model, and the seconds it took."""
    start = time.perf_counter()
    built = build(system, config, dataset.spec)
    key = jax.random.key(loop.seed)
    result = training.fit(key, built, dataset.train, dataset.validation, loop)
    return built.generative(result.state), time.perf_counter() - start


def by_encoder(generative: GenerativeModel, x: jax.Array) -> np.ndarray:
    """The importance bound of the encoder's draws, nats `[image]`."""
    options = {"num_samples": NUM_IMPORTANCE_SAMPLES, "batch_size": _BATCH}
    key, guide = jax.random.key(0), generative.guide
    draws = importance_draws(key, generative.latent, x, guide=guide, **options)
    return np.asarray(draws.evidence().lower, np.float64)


def by_fit(generative: GenerativeModel, x: jax.Array) -> np.ndarray:
    """The importance bound of as many draws of q*, to which the encoder is the start."""
    fitted = fit_posterior(
        jax.random.key(0),
        generative.latent,
        x,
        guide=generative.guide,
        num_steps=NUM_FIT_STEPS,
        num_samples=4,
        num_elbo_samples=NUM_IMPORTANCE_SAMPLES,
        batch_size=_BATCH,
    )
    return np.asarray(log_mean_exp(fitted.log_weight), np.float64)


def row(command, dataset: Dataset, model: str, size: int, method: str, parts, seconds) -> dict:
    """Bits per pixel of the validation and test images, from their nats."""
    spec = dataset.spec
    validation, test = (
        arrays.bits_per_dim(part, dim=spec.dim, observation=spec.head, num_levels=spec.num_levels)
        for part in parts
    )
    stderr, num_groups = grouped_stderr(test, held_out_groups(command, dataset.name))
    return {
        "data": dataset.name,
        "model": model,
        "size": size,
        "method": method,
        "observation": spec.head,
        "bits_per_dim": float(test.mean()),
        "stderr": stderr,
        "validation_bits_per_dim": float(validation.mean()),
        "num_images": len(test),
        "num_groups": num_groups,
        "num_train": len(dataset.train),
        "train_seconds": seconds,
    }


def held_out_groups(command: Bench, name: str) -> np.ndarray:
    """Of whom, or of which stretch, each test image is."""
    raw = sources.load_raw(name, command.data_dir)
    indices = arrays.split_indices(len(raw.images), seed=DATA[name].seed, groups=raw.groups)
    return raw.groups[indices[-1]]


def grouped_stderr(values: np.ndarray, groups: np.ndarray) -> tuple[float, int]:
    """Of the mean over groups of equal size, whose members are not independent."""
    means = [values[groups == group].mean() for group in np.unique(groups)]
    return float(np.std(means, ddof=1) / len(means) ** 0.5), len(means)


def picture(name: str, fitted: dict[str, Fitted]) -> Figure:
    """What each model draws and gives back; where there is a z, means of p(x | z)."""
    shown = [model_images(label, model) for label, model in fitted.items()]
    return plots.samples_and_reconstructions(shown, title=f"{name}: unseen faces")


def model_images(label: str, fitted: Fitted) -> ModelImages:
    """Samples, and test images with their reconstructions."""
    generative, dataset, key = fitted.generative, fitted.dataset, jax.random.key(0)
    subject = Subject(generative, label, dataset.image_shape, dataset.spec.white)
    x = spread(dataset.test, NUM_COLUMNS)
    if generative.latent is None:
        samples = subject.images(generative.sample(key, 2 * NUM_COLUMNS))
        return ModelImages(label, samples, subject.images(x), None)
    z = independent_draws(key, generative.latent.prior, 2 * NUM_COLUMNS)
    decoded = [
        decode(generative.latent, each) for each in (z, encode(encoder(generative), images(x)))
    ]
    samples, reconstructions = map(subject.images, decoded)
    return ModelImages(label, samples, subject.images(x), reconstructions)


def worded(rows: list[dict]) -> str:
    """The answer in one line."""
    sets = {name: [row for row in rows if row["data"] == name] for name in DATA}
    return "bits per pixel of unseen faces: " + "; ".join(
        f"{name} " + ", ".join(map(_worded, found)) for name, found in sets.items() if found
    )


def _worded(row: dict) -> str:
    method = "" if row["method"] == "exact" else f" by its {row['method']}"
    return f"{row['model']}{method} {row['bits_per_dim']:.3f} ± {row['stderr']:.3f}"


if __name__ == "__main__":
    console.run_script(Bench, main)
