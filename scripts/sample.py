"""Draw what a trained run draws: samples, reconstructions and latent interpolations, as PNG files.

python scripts/sample.py runs/vae                    about 10 s on a CPU; files in runs/vae/figures
python scripts/sample.py runs/mixture --num 200 --seed 1 --out pictures
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from vae_jax import console
from vae_jax.configs import ConfigError


@dataclass(frozen=True)
class Sample:
    """Draw images from a trained run.

    Attributes:
        run: the folder of the run, the --out of train.py.
        num: how many samples.
        seed: of the samples and of the pairs that are interpolated.
        data_dir: folder of the data sets; that of the run if unset.
        out: where the PNG files go; RUN/figures if unset.
    """

    run: tyro.conf.Positional[Path]
    num: int = 100
    seed: int = 0
    data_dir: str | None = None
    out: Path | None = None

    def __post_init__(self):
        for field, least in (("num", 1), ("seed", 0)):
            if getattr(self, field) < least:
                value = getattr(self, field)
                raise ConfigError(f"{field} is {value}: expected at least {least}")


def main(command: Sample) -> None:
    """Draw every figure the model can give, then write them."""
    from vae_jax import report, runs, trained

    run = trained.load(command.run)
    console.banner(seed=command.seed, config=run.config)
    if not run.is_finished:
        console.warn(f"{command.run} stopped at epoch {int(run.progress.epoch)}: its best so far")
    figures = {name: report.png(figure) for name, figure in draw(command, run).items()}
    folder = command.out or command.run / runs.FIGURES
    for name, content in figures.items():
        runs.write_bytes(folder / f"{name}.png", content)
        console.show(str(folder / f"{name}.png"))


def draw(command: Sample, run) -> dict:
    """The figures, by name."""
    import jax

    from vae_jax import latent_images, sample_figures, trained

    key_samples, key_pairs = jax.random.split(jax.random.key(command.seed))
    generative, shape, name = run.generative, run.seen.shape, run.config.system
    options = {"title": name, "white": run.seen.spec.white}
    figures = {
        "samples": sample_figures.samples(
            key_samples, generative, shape, num=command.num, **options
        )
    }
    if latent_images.encoder(generative) is None:
        lacks = "continuous latent" if generative.latent is None else "encoder"
        console.message(f"{name} has no {lacks}: no reconstructions or interpolations")
        return figures
    x = trained.load_data(run, data_dir=command.data_dir).test.astype("float32")
    figures["reconstructions"] = sample_figures.reconstructions(generative, x, shape, **options)
    figures["interpolations"] = sample_figures.interpolations(
        key_pairs, generative, x, shape, **options
    )
    return figures


if __name__ == "__main__":
    console.run_script(Sample, main)
