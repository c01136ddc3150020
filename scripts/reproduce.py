"""Published numbers on static binarized MNIST: train as published, score as published, compare.

python scripts/reproduce.py flax --data-dir DIR      half a minute on 2 CPU cores
python scripts/reproduce.py --data-dir DIR           all of them: many hours on a CPU

Each is a run folder OUT/NAME of its own: the same command again goes on where it was stopped.
OUT/results.json and report.html have a row for every one that is finished, by this call or earlier;
one whose score is no number is scored again by the next call.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from vae_jax import console
from vae_jax.configs import ConfigError, DataConfig
from vae_jax.reproductions import DATA, REPRODUCTIONS


@dataclass(frozen=True)
class Reproduce:
    """Train and score what was published.

    Attributes:
        names: all, or some of flax, altosaar, vae_1, vae_5, vae_50, iwae_5, iwae_50, vamp, made,
            pixelcnn.
        data_dir: folder of the data sets; what it lacks is in VAE_JAX_DATA, or a cache.
        out: where the run folders and the report go.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ("all",)
    data_dir: str | None = None
    out: Path = Path("runs/reproduce")

    def __post_init__(self):
        for name in self.chosen:
            if name not in REPRODUCTIONS:
                raise ConfigError(
                    f"names: {name!r} is unknown: expected all or some of "
                    f"{', '.join(REPRODUCTIONS)}"
                )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The keys of `REPRODUCTIONS` that are asked for."""
        return tuple(REPRODUCTIONS) if self.names == ("all",) else self.names


def main(command: Reproduce) -> None:
    """Train, score and write one after another, so that what is done is there."""
    from vae_jax import report, reproduction_report, runs
    from vae_jax.data import arrays

    start = time.perf_counter()
    console.banner(seed=0, config=command)
    data = DataConfig(DATA, data_dir=command.data_dir)
    dataset = arrays.load(data)
    for name in command.chosen:
        reproduce(name, command.out / name, data, dataset)
        table = reproduction_report.table(reproduction_report.rows(command.out))
        page = report.write(
            command.out,
            title="Published numbers, obtained here",
            intro="Each model was trained and scored as its publication says, but for the remarks.",
            tables=[table],
            figures=[],
            meta=runs.meta(command, seconds=time.perf_counter() - start),
        )
    console.print_table(table)
    console.show(f"report: {page}")


def reproduce(name, folder, data, dataset) -> None:
    """Train, score and keep one row; it goes on where an earlier call stopped."""
    import jax

    from vae_jax import reproduction_report, trained
    from vae_jax.runs import RunConfig

    asked = REPRODUCTIONS[name]
    if reproduction_report.is_finished(folder):
        return console.message(f"{folder} is finished: showing it")
    job = trained.prepare(folder, RunConfig(asked.system, asked.config, asked.train, data), dataset)
    with console.progress(f"training {name}", total=asked.train.num_epochs) as advance:
        advance(job.num_epochs_done)
        run = trained.train(job, on_epoch=lambda report: advance(1, note=note(report)))
    console.message(f"scoring {name}")
    key = jax.random.key(0)
    row = reproduction_report.row(key, asked, run, dataset, warn=console.warn)
    return reproduction_report.keep(folder, row)


def note(report) -> str:
    """The validation objective of one epoch."""
    return f"validation {report.validation['objective']:.2f} nats"


if __name__ == "__main__":
    console.run_script(Reproduce, main)
