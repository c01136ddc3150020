"""How well does a trained run guess pixels that are hidden from it? p(x_hidden | x_seen).

python scripts/impute.py runs/vae                    about 1 min on 2 CPU cores
python scripts/impute.py runs/vae --hidden random --share 0.8 --method mcmc
python scripts/impute.py runs/mixture --hidden block --share 0.25 --num-imputations 500

RUN/imputation/report.html has the table that is printed, results.json its rows, and figures show
images with their imputations: by every way the model allows, in closed form, by MCMC on z given the
seen pixels, and by the encoder (pseudo-Gibbs, with and without correction).
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vae_jax import console
from vae_jax.configs import ConfigError


@dataclass(frozen=True)
class Impute:
    """Hide pixels of test images from a trained run, and let it fill them in.

    Attributes:
        run: the folder of the run, the --out of train.py.
        hidden: the lowest rows (half), pixels here and there (random), or a rectangle (block).
        share: of the pixels that are hidden, above 0; at 1 the model guesses from its prior.
        num_images: test images; all if there are fewer.
        num_imputations: of each image, at most num_chains times num_draws.
        num_chains: of z by any sampler, per image.
        num_draws: of z, kept of each chain.
        method: one way, or all that the model allows.
        seed: of the hidden pixels and of every draw.
        data_dir: folder of the data sets; that of the run if unset.
        out: where the report goes; RUN/imputation if unset.
    """

    run: tyro.conf.Positional[Path]
    hidden: Literal["half", "random", "block"] = "half"
    share: float = 0.5
    num_images: int = 64
    num_imputations: int = 100
    num_chains: int = 8
    num_draws: int = 250
    method: Literal["mcmc", "pseudo_gibbs", "metropolis", "exact", "all"] = "all"
    seed: int = 0
    data_dir: str | None = None
    out: Path | None = None

    def __post_init__(self):
        least = {"num_images": 1, "num_imputations": 1, "num_chains": 2, "num_draws": 4, "seed": 0}
        for field, value in least.items():
            if getattr(self, field) < value:
                raise ConfigError(f"{field} is {getattr(self, field)}: expected at least {value}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"share is {self.share}: expected above 0, at most 1")


def main(command: Impute) -> None:
    """Impute by every way that was asked for, and report."""
    from vae_jax import imputation_report, report, run_imputation, runs, trained

    start = time.perf_counter()
    run = trained.load(command.run, script="impute.py")
    console.banner(seed=command.seed, config=run.config)
    name = run.config.system
    ways = run_imputation.chosen_ways(name, run.generative, command.method)
    for line in run.warnings:
        console.warn(line)
    dataset = trained.load_data(run, data_dir=command.data_dir)
    x = dataset.test[: command.num_images].astype("float32")
    missing, finished = impute(command, run.generative, ways, x, dataset.image_shape)
    options = {"white": dataset.spec.white}
    table = imputation_report.table(name, finished, **options)
    page = report.write(
        command.out or command.run / "imputation",
        title=f"What {name} makes of hidden pixels: {dataset.name}",
        intro=imputation_report.introduction(command.run.name, dataset.name, missing),
        tables=[table],
        figures=imputation_report.pictures(finished, x, missing, dataset.image_shape, **options),
        meta=runs.meta(command, seconds=time.perf_counter() - start),
    )
    console.print_table(table)
    for line in run_imputation.warnings(finished):
        console.warn(line)
    console.show(f"report: {page}")


def impute(command: Impute, generative, ways: dict, x, shape) -> tuple:
    """The masks, and what every way made of them, under a progress bar."""
    import jax

    from vae_jax import hidden_pixels, run_imputation

    key_hide, key_impute = jax.random.split(jax.random.key(command.seed))
    missing = hidden_pixels.hide(
        key_hide, shape, len(x), hidden=command.hidden, share=command.share
    )
    finished = []
    with console.progress("imputing", total=len(ways)) as advance:
        for done in run_imputation.run_ways(
            key_impute,
            generative,
            ways,
            jax.numpy.asarray(x),
            missing,
            num_imputations=command.num_imputations,
            num_chains=command.num_chains,
            num_draws=command.num_draws,
        ):
            finished.append(done)
            advance(1, note=run_imputation.NAMES[done.method])
    return missing, finished


if __name__ == "__main__":
    console.run_script(Impute, main)
