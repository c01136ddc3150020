"""Draw what a trained run draws, and show what its latents mean.

python scripts/sample.py runs/vae                    about 30 s on a CPU; files in runs/vae/figures
python scripts/sample.py runs/mixture --num 200 --seed 1 --out pictures

samples.png, and as far as the model can: reconstructions.png; interpolations.png between test
images; traversals.png, one active latent at a time; halves.png, lower halves drawn given the upper
ones; walk.gif, a round trip through the latent space.
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
        seed: of the samples, and of the images that are chosen.
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
    from vae_jax import runs, trained

    run = trained.load(command.run)
    console.banner(seed=command.seed, config=run.config)
    if not run.is_finished:
        console.warn(f"{command.run} stopped at epoch {int(run.progress.epoch)}: its best so far")
    folder = command.out or command.run / runs.FIGURES
    for name, content in draw(command, run).items():
        runs.write_bytes(folder / name, content)
        console.show(str(folder / name))


def draw(command: Sample, run) -> dict[str, bytes]:
    """The content of each file, by its name; a line for each that the model cannot give."""
    import jax

    from bayes_jax import InputError
    from vae_jax import report, sample_figures, trained

    key_samples, *keys = jax.random.split(
        jax.random.key(command.seed), 1 + len(sample_figures.IMAGES)
    )
    subject = sample_figures.Subject(
        run.generative, run.config.system, run.images.shape, run.images.spec.white
    )
    x = trained.load_data(run, data_dir=command.data_dir).test.astype("float32")
    drawn = sample_figures.samples(key_samples, subject, num=command.num)
    files = {"samples.png": report.png(drawn)}
    for key, (name, make) in zip(keys, sample_figures.IMAGES.items(), strict=True):
        try:
            files[name] = make(key, subject, x)
        except InputError as error:
            console.message(f"no {name}: {error}")
    return files


if __name__ == "__main__":
    console.run_script(Sample, main)
