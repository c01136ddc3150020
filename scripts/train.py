"""Train one system into a run folder, and go on there if it was stopped.

python scripts/train.py vae                          seed VAE on digits: about 1 min on 2 CPU cores
python scripts/train.py text_vae                     of sentences that come with Python: 3 min
python scripts/train.py mixture --num-components 20 --out runs/mixture20
python scripts/train.py vae --data.name mnist --train.num-epochs 50
python scripts/train.py vae --num-seeds 4            four at once: runs/vae-seeds/seed-0 ... seed-3
python scripts/train.py vae --learning-rates 3e-4 1e-3          two rates: runs/vae-rates/rate-0.001
python scripts/train.py vae --distributed            one of several processes: see the README

RUN/report.html has the held-out ELBO or evidence (nats per example) and the curve. The same command
again continues a run that was killed; a finished one is shown as it is.
"""

from vae_jax import console
from vae_jax.arguments import TrainCommand, parse_train


def main(command: TrainCommand) -> None:
    """Train, score on held-out images, and say where everything lies."""
    from vae_jax import trained, training
    from vae_jax.data.kinds import kind_of
    from vae_jax.runs import RunConfig
    from vae_jax.sharding import placement, processes

    config = RunConfig(command.name, command.system, command.train, command.data)
    console.banner(seed=command.train.seed, config=config)
    kind = kind_of(command.data)
    dataset = kind.load(command.data)
    jobs = [
        trained.prepare(folder, config._replace(train=loop), dataset, overwrite=command.overwrite)
        for folder, loop in command.runs.items()
    ]
    if not jobs[0].system.fit and (line := placement.idle_devices(command.train.batch_size)):
        console.warn(line)
    options = {
        "seconds_between_checkpoints": command.checkpoint_seconds,
        "debug_nans": command.debug_nans,
    }
    try:
        finished = train(jobs, to_tensorboard=command.tensorboard, **options)
    except training.NonFiniteError as error:  # of one run; others may have come to their end
        if processes.is_first():
            tell(trained.finished(jobs, error), dataset)
        raise
    if processes.is_first():
        tell(finished, dataset)
    for script in kind.scripts[:2]:
        console.show(f"next: {console.interpreter()} scripts/{script} {jobs[0].folder}")


def tell(finished, dataset) -> None:
    """Score the runs, and say where everything lies."""
    import jax

    from vae_jax import training_report

    tables = {}
    for run in finished:
        if line := early_end(run):
            console.message(line)
        key = jax.random.key(run.config.train.seed)
        written = training_report.write(key, run, dataset)
        tables.setdefault(run.config.train.learning_rate, []).append(written.scores)
        for line in written.warnings:
            console.warn(f"{run.folder}: {line}")
        for table in written.information:
            console.print_table(table)
        console.show(f"run: {run.folder}   (report: {run.folder / 'report.html'})")
    for rate, of_seeds in tables.items():
        if len(tables) > 1:
            console.show(f"learning rate {rate:g}")
        console.print_table(training_report.over_seeds(of_seeds))


def early_end(run) -> str:
    """Why a run has fewer epochs than it may have; "" where it has all."""
    loop, progress = run.config.train, run.progress
    if progress is None or (epoch := int(progress.epoch)) >= loop.num_epochs:
        return ""
    return (
        f"{run.folder}: stopped after epoch {epoch}, {epoch - int(progress.best_epoch)} without a "
        f"better validation objective; that of epoch {int(progress.best_epoch)} is kept"
    )


def train(jobs, *, to_tensorboard=False, **options):
    """Train what is left of the jobs under a progress bar; options of `trained.train_together`."""
    from vae_jax import tensorboard, trained
    from vae_jax.data.kinds import kind_of
    from vae_jax.sharding import processes

    for job in jobs:
        announce(job)
    unfinished = [job for job in jobs if not job.is_finished]
    if not unfinished:
        return trained.train_together(jobs)
    first = min(unfinished, key=lambda job: job.num_epochs_done)
    total = len(unfinished) if first.system.fit else first.config.train.num_epochs
    together = unfinished if first.system.fit else jobs
    folders = [job.folder for job in together if to_tensorboard and processes.is_first()]
    noun = kind_of(first.config.data).noun
    with (
        console.progress(f"training {first.config.system}", total=total) as advance,
        tensorboard.recorder(folders) as record,
    ):

        def on_epoch(reports):
            advance(1, note=note(reports, unit=first.system.unit, noun=noun))
            if folders:
                record(reports)

        advance(first.num_epochs_done)
        return trained.train_together(jobs, on_epoch=on_epoch, **options)


def announce(job) -> None:
    """What is done of a job already."""
    from vae_jax import trained

    for line in job.warnings:
        console.warn(line)
    if job.is_finished:
        console.message(f"{job.folder} is finished: showing it, --overwrite trains it anew")
    elif job.num_epochs_done:
        console.message(f"{job.folder}: going on after epoch {job.num_epochs_done}")
        for name, (then, now) in trained.changed_versions(job.folder).items():
            console.warn(f"{name} was {then} and is {now}: no longer the unbroken run bit by bit")


def note(reports, *, unit="nats", noun="images") -> str:
    """Where the runs that are still trained stand, in the mean: objective, steps, speed."""
    active = [report for report in reports if report]
    values = {
        "train": [report.train.get("objective") for report in active],
        "validation": [report.validation["objective"] for report in active],
        "ELBO": [report.validation.get("elbo") for report in active],
        "KL": [report.validation.get("kl") for report in active],
    }
    if values["ELBO"] == values["validation"]:
        del values["ELBO"]
    parts = [
        f"{name} {sum(each) / len(each):.2f}" for name, each in values.items() if None not in each
    ]
    parts[-1] += f" {unit}"
    if all("active_units" in report.validation for report in active):
        counts = [report.validation["active_units"] for report in active]
        warning = " (collapsed)" if any(report.validation["collapsed"] for report in active) else ""
        parts.append(f"{sum(counts) / len(counts):.3g} active units{warning}")
    parts.append(f"step {active[0].num_steps}, {active[0].images_per_second:,.0f} {noun}/s")
    return ", ".join(parts) + (f" ({len(active)} runs)" if len(reports) > 1 else "")


if __name__ == "__main__":
    console.run_script(parse_train, main)
