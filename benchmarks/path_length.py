"""How far should a move of the batched sampler go? Effective draws per gradient, measured.

python benchmarks/path_length.py --data-dir DIR      about 6 min on 2 CPU cores
python benchmarks/path_length.py --data digits       with no download, about 3 min

For numbers of leapfrogs, longest paths and jitters: the smallest ESS of each posterior per thousand
gradients of the kept moves, of means and of squares. bayes_jax/mcmc/hmc.py takes its defaults from
here. --out DIR takes path_length.json.
"""

import itertools
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import harness
import jax
import jax.numpy as jnp
import tyro
from decoder import trained_decoder

from bayes_jax import diagnose, hamiltonian, sample_posterior
from bayes_jax.mcmc import hmc
from vae_jax import provenance


@dataclass(frozen=True)
class Tune:
    """Measure draws per gradient over the settings of a move.

    Attributes:
        data: mnist, or digits, which needs no download.
        data_dir: folder of the data sets.
        num_posteriors: test images.
        num_leapfrogs: gradients per move.
        paths: longest paths, in whitened units.
        jitters: of the step size: uniform in 1 - jitter ... 1 + jitter.
        num_epochs: of training on mnist.
        out: folder for the JSON.
    """

    data: Literal["mnist", "digits"] = "mnist"
    data_dir: str | None = None
    num_posteriors: int = 16
    num_leapfrogs: tuple[int, ...] = (3, 4, 5, 6, 8)
    paths: tuple[float, ...] = (1.6, 2.0, 2.5)
    jitters: tuple[float, ...] = (0.1, 0.3, 0.5)
    num_epochs: int = 30
    out: Path | None = None


def main(command: Tune) -> None:
    """Train, sample with every setting, write."""
    start = time.perf_counter()
    model, guide, _, x, name = trained_decoder(
        command.data,
        command.data_dir,
        num_images=command.num_posteriors,
        num_epochs=command.num_epochs,
    )
    default = (hmc.NUM_LEAPFROGS, hmc.MAX_PATH, hamiltonian.JITTER)
    settings = {
        *itertools.product(command.num_leapfrogs, command.paths, [default[2]]),
        *itertools.product([default[0]], [default[1]], command.jitters),
    }
    rows = [measure(model, guide, x, *setting) for setting in sorted(settings)]
    best = max(rows, key=worth)
    chosen = next(row for row in rows if row["setting"] == list(default))
    meta = provenance.meta(
        {**asdict(command), "data": name, "data_dir": None, "out": None},
        seconds=time.perf_counter() - start,
    )
    harness.write(
        command.out,
        f"path_length_{name}",
        rows,
        meta,
        summary=(
            f"effective draws of means and squares per 1,000 gradients: {worded(chosen)} by the "
            f"default, {worded(best)} by the best"
        ),
    )


def worth(row: dict) -> float:
    """The product of what a setting gives for means and for squares."""
    return row["means_per_1000_gradients"] * row["squares_per_1000_gradients"]


def worded(row: dict) -> str:
    """A row in the summary."""
    return (
        f"{row['means_per_1000_gradients']:.0f} and {row['squares_per_1000_gradients']:.0f} "
        f"(R-hat {row['max_rhat']:.3f}, leapfrogs, path and jitter {row['setting']})"
    )


def measure(model, guide, x, num_leapfrogs: int, path: float, jitter: float) -> dict:
    """One setting: warm-up apart, for it is the same for all."""
    hmc.MAX_PATH, hamiltonian.JITTER = path, jitter
    jax.clear_caches()  # both are constants of the compiled sampler
    draws = sample_posterior(jax.random.key(1), model, x, guide=guide, num_leapfrogs=num_leapfrogs)
    thousands = draws.z.shape[1] * draws.z.shape[2] * num_leapfrogs / 1000
    squares = (draws.z - jnp.mean(draws.z, axis=(1, 2), keepdims=True)) ** 2
    found, of_squares = diagnose(draws), diagnose(draws._replace(z=squares))

    def smallest(diagnostics):
        return float(jnp.mean(jnp.min(diagnostics.ess_bulk, axis=-1))) / thousands

    row = {
        "setting": [num_leapfrogs, path, jitter],
        "means_per_1000_gradients": smallest(found),
        "squares_per_1000_gradients": smallest(of_squares),
        "max_rhat": float(jnp.max(found.rhat)),
        "accept": float(jnp.mean(draws.accept)),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main(tyro.cli(Tune))
