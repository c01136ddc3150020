"""The main job: VAEs against exact and MCMC inference, same model, same data, same nats.

python scripts/compare.py --data digits --observation bernoulli --out runs/compare

About 2 minutes on 2 CPU cores for the digits; writes results.json, results.csv, report.html and
figures, and prints the tables: mean test log p(x) in nats per image.
"""

import time
from dataclasses import dataclass, fields
from pathlib import Path

from vae_jax import console
from vae_jax.configs import CompareConfig

CONTOUR_DIM = 2  # of the decoder whose posterior quadrature integrates exactly


@dataclass(frozen=True)
class Compare(CompareConfig):
    """Hold VAEs against exact and MCMC inference, on the same model, data and nats.

    Attributes:
        out: folder of the report.
        overwrite: replace the comparison that is in the folder.
    """

    out: Path = Path("runs/compare")
    overwrite: bool = False


def main(command: Compare) -> None:
    """Load, train, infer, write."""
    import jax

    from vae_jax import report, runs
    from vae_jax.comparison import certificate, exhibit, models
    from vae_jax.data.arrays import load

    start = time.perf_counter()
    console.banner(seed=command.train.seed, config=command)
    names = models.track(command.observation, command.models)
    dataset = load(command.data_config)
    x = models.test_images(dataset, command.budget)
    asked = {field.name: getattr(command, field.name) for field in fields(CompareConfig)}
    runs.create(command.out, asked, overwrite=command.overwrite)

    key_score, key_infer = jax.random.split(models.evaluation_key(command.train.seed))
    trained = {name: train(name, dataset, command, num_seeds=command.seeds) for name in names}
    scored = score(key_score, trained, command, x)
    finished = infer(key_infer, decoders(trained, dataset, command), command, x)
    tables = [
        *(exhibit.inference_table(name, entries) for name, entries in finished.items()),
        *(found for item in finished.items() if (found := certificate.table(*item))),
        exhibit.model_table(models.rows(scored, dataset), dataset),
    ]
    page = report.write(
        command.out,
        title=f"How good is amortized inference? {dataset.name}, {command.observation}",
        intro=exhibit.introduction(dataset, command.budget),
        tables=tables,
        figures=exhibit.figures(dataset, scored, finished, x),
        meta=runs.meta(asked, seconds=time.perf_counter() - start),
    )
    for table in tables:
        console.print_table(table)
    console.show(f"report: {page}")


def train(name, dataset, command, *, num_seeds, latent_dim=None):
    """One model from every seed, with a bar over epochs."""
    from vae_jax.comparison import models

    config = models.config_for(name, latent_dim or command.latent_dim)
    title = f"{models.TITLES[name]}, {latent_dim or command.latent_dim}-d"
    with console.progress(f"training {title}") as advance:
        return models.train_seeds(
            name,
            dataset,
            command.train,
            num_seeds=num_seeds,
            config=config,
            on_epoch=lambda reports: advance(note=note(reports)),
        )


def note(reports) -> str:
    """The validation objective of every seed that is still trained."""
    values = [f"{report.validation['objective']:.2f}" for report in reports if report]
    return f"validation {', '.join(values)} nats"


def score(key, trained, command, x):
    """Every model held against the test images."""
    import jax

    from vae_jax.comparison import models

    scored = []
    with console.progress("scoring models", total=len(trained)) as advance:
        for index, (name, seeds) in enumerate(trained.items()):
            advance(0, note=models.TITLES[name])
            key_model = jax.random.fold_in(key, index)
            keys = jax.random.split(key_model, len(seeds))
            pairs = zip(keys, seeds, strict=True)
            scored.append([models.score(key_seed, entry, x) for key_seed, entry in pairs])
            advance()
    return scored


def decoders(trained, dataset, command):
    """The decoders whose inferences are compared: of a 2-d latent, and of the table's VAE."""
    large = trained.get("vae") or train("vae", dataset, command, num_seeds=1)
    if command.latent_dim == CONTOUR_DIM:
        return large[:1]
    small = train("vae", dataset, command, num_seeds=1, latent_dim=CONTOUR_DIM)
    return [small[0], large[0]]


def infer(key, decoders, command, x):
    """Every inference on every decoder: name of the decoder -> finished inferences."""
    import jax

    from vae_jax.comparison import inferences, methods, models

    finished = {}
    for index, decoder in enumerate(decoders):
        name = models.title(decoder, command.observation)
        setting = methods.Setting(
            decoder.generative.latent, decoder.generative.guide, command.budget
        )
        num_methods = len(methods.compared(decoder.config.latent_dim))
        with console.progress(f"inference, {name}", total=num_methods) as advance:
            finished[name] = []
            for entry in inferences.run_methods(jax.random.fold_in(key, index), setting, x):
                finished[name].append(entry)
                advance(note=entry.method.name)
    return finished


if __name__ == "__main__":
    console.run_script(Compare, main)
