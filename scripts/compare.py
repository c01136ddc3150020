"""The main job: VAEs against exact and MCMC inference, same model, same data, same nats.

python scripts/compare.py --data digits --observation bernoulli --out runs/compare

About 2 minutes on 2 CPU cores for the digits; writes results.json, results.csv, report.html and
figures, and prints the tables: mean test log p(x) in nats per image.
"""

import time
from dataclasses import dataclass, field, fields
from pathlib import Path

from vae_jax import console
from vae_jax.arguments import Processes
from vae_jax.configs import CompareConfig, DistributedConfig

CONTOUR_DIM = 2  # of the decoder whose posterior quadrature integrates exactly


@dataclass(frozen=True)
class Compare(CompareConfig):
    """Hold VAEs against exact and MCMC inference, on the same model, data and nats.

    Attributes:
        out: folder of the report.
        overwrite: replace the comparison that is in the folder.
        processes: who takes part.
    """

    out: Path = Path("runs/compare")
    overwrite: bool = False
    processes: Processes = field(default_factory=DistributedConfig)


def main(command: Compare) -> None:
    """Load, train, infer, write."""
    import jax

    from vae_jax import report, runs
    from vae_jax.comparison import certificate, exhibit, inferences, model_table, models
    from vae_jax.comparison.entrants import track
    from vae_jax.data.arrays import load
    from vae_jax.resumption.leaves import digest
    from vae_jax.sharding import processes

    start = time.perf_counter()
    console.banner(seed=command.train.seed, config=command)
    names = track(command.observation, command.models)
    dataset = load(command.data_config)
    x = models.test_images(dataset, command.budget)
    asked = {field.name: getattr(command, field.name) for field in fields(CompareConfig)}
    splits = (dataset.train, dataset.validation, dataset.test)
    processes.check_alike(lambda: {"config": asked | {"data_dir": None}, "data": digest(splits)})
    runs.check(command.out, asked, overwrite=command.overwrite)
    processes.wait_for_all("checked")
    if processes.is_first():
        runs.create(command.out, asked, overwrite=command.overwrite)

    key_score, key_infer, key_decoders = jax.random.split(
        models.evaluation_key(command.train.seed), 3
    )
    trained = train_all(names, dataset, command)
    scored = score(key_score, trained, command, x)
    judged = judge(jax.random.fold_in(key_score, len(trained)), scored, dataset)
    finished = infer(key_infer, decoders(trained, dataset, command), command, x)
    tables = [
        *(exhibit.inference_table(name, entries) for name, entries in finished.items()),
        *(found for item in finished.items() if (found := certificate.table(*item))),
        *exhibit.gap_tables(finished),
        model_table.table(scored, dataset),
        judged,
        *compare_decoders(key_decoders, scored, dataset, command, x),
        model_table.commands([seeds[0] for seeds in trained.values()], command.data_config),
    ]
    if not processes.is_first():
        return
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
    for line in model_table.warnings(scored):
        console.warn(line)
    for name, entries in finished.items():
        for line in inferences.warnings(entries):
            console.warn(f"{name}: {line}")
    console.show(f"report: {page}")


def train_all(names, dataset, command):
    """Every model asked for, from every seed: name -> its seeds."""
    from vae_jax.comparison.entrants import ENTRANTS

    trained = {}
    for name in names:
        histories = {key: [seed.history for seed in seeds] for key, seeds in trained.items()}
        loop = ENTRANTS[name].loop(command.train, histories)
        trained[name] = train(name, dataset, loop, command.latent_dim, num_seeds=command.seeds)
    return trained


def train(name, dataset, loop, latent_dim, *, num_seeds=1):
    """One model from every seed, with a bar over epochs."""
    from vae_jax.comparison import models
    from vae_jax.comparison.entrants import ENTRANTS

    config = ENTRANTS[name].config(latent_dim)
    title = ENTRANTS[name].titled(config, dataset.spec.head)
    with console.progress(f"training {title}") as advance:
        return models.train_seeds(
            name,
            dataset,
            loop,
            num_seeds=num_seeds,
            config=config,
            on_epoch=lambda reports: advance(note=note(reports)),
        )


def note(reports) -> str:
    """The validation objective of every seed that is still trained."""
    values = [f"{report.validation['objective']:.2f}" for report in reports if report]
    return f"validation {', '.join(values)}"


def score(key, trained, command, x):
    """Every model held against the test images."""
    from vae_jax.comparison import scores

    return each_seed(
        "scoring models",
        key,
        {seeds[0].title: seeds for seeds in trained.values()},
        lambda key, entry: scores.score(key, entry, x, command.budget),
    )


def judge(key, scored, dataset):
    """The table of what each model draws, as many images of each as there are real ones."""
    import jax

    from vae_jax import quality
    from vae_jax.comparison import quality_table

    num = min(len(dataset.validation), len(dataset.test), len(scored[0][0].samples))
    key_judge, key_assess = jax.random.split(key)
    with console.progress("judging samples", total=len(scored) + 1) as advance:
        judge = quality.make_judge(
            key_judge, dataset.train, dataset.test[:num], train_labels=dataset.train_labels
        )

        def assess(name, x):
            advance(0, note=name)
            found = quality.assess(key_assess, judge, x[:num])
            advance()
            return found

        found = [assess(seeds[0].trained.title, seeds[0].samples) for seeds in scored]
        real = assess(quality_table.REAL, dataset.validation)
    return quality_table.table(quality_table.rows(scored, found, real, num))


def compare_decoders(key, scored, dataset, command, x):
    """Tables of the decoders under annealing from the prior, where there are several kinds."""
    import jax
    import jax.numpy as jnp

    from vae_jax.comparison import decoders, noises, scores

    scored = [seeds for seeds in scored if seeds[0].trained.name in decoders.COMPARED]
    if not any(scores.starts_from_prior(seeds[0].trained.generative) for seeds in scored):
        return
    compared = {seeds[0].trained.title: seeds for seeds in scored}
    key_bound, key_noise = jax.random.split(key)

    def bounded(key, entry):
        generative = entry.trained.generative
        if scores.starts_from_prior(generative):
            return decoders.Bounded(entry.trained, entry.evidence, entry.validation)
        bounds = decoders.bound(key, generative.latent, x, command.budget)
        return decoders.Bounded(entry.trained, *bounds)

    found = each_seed("annealing decoders from the prior", key_bound, compared, bounded)
    yield decoders.table(found)
    if command.observation == "gaussian":
        validation = jnp.asarray(dataset.validation, x.dtype)
        found = each_seed(
            "decoders under one noise",
            key_noise,
            compared,
            lambda key, entry: noises.under_noise(
                key, entry.trained, validation, x, command.budget
            ),
        )
        yield noises.table(found)


def each_seed(title, key, models, work):
    """`work(key, seed)` for all seeds of each named model, with a bar over models."""
    import jax

    done = []
    with console.progress(title, total=len(models)) as advance:
        for index, (name, seeds) in enumerate(models.items()):
            advance(0, note=name)
            keys = jax.random.split(jax.random.fold_in(key, index), len(seeds))
            done.append([work(*pair) for pair in zip(keys, seeds, strict=True)])
            advance()
    return done


def decoders(trained, dataset, command):
    """The decoders whose inferences are compared: of a 2-d latent, and of the table's VAE."""
    large = trained.get("vae") or train("vae", dataset, command.train, command.latent_dim)
    if command.latent_dim == CONTOUR_DIM:
        return large[:1]
    small = train("vae", dataset, command.train, CONTOUR_DIM)
    return [small[0], large[0]]


def infer(key, decoders, command, x):
    """Every inference on every decoder: name of the decoder -> finished inferences."""
    import jax

    from vae_jax.comparison import inferences, methods

    finished = {}
    for index, decoder in enumerate(decoders):
        name = decoder.title
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
