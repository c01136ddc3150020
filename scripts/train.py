"""Train one system into a run folder, and go on there if it was stopped.

python scripts/train.py vae                          seed VAE on digits: about 1 min on 2 CPU cores
python scripts/train.py mixture --num-components 20 --out runs/mixture20
python scripts/train.py vae --data.name mnist --train.num-epochs 50

RUN/report.html has the held-out ELBO or evidence (nats per image) and the curve. The same command
again continues a run that was killed; a finished one is shown as it is.
"""

from vae_jax import console
from vae_jax.arguments import TrainCommand, parse_train


def main(command: TrainCommand) -> None:
    """Train, score on held-out images, and say where everything lies."""
    import jax

    from vae_jax import trained, training_report
    from vae_jax.data import arrays
    from vae_jax.runs import RunConfig

    config = RunConfig(command.name, command.system, command.train, command.data)
    console.banner(seed=command.train.seed, config=config)
    dataset = arrays.load(command.data)
    job = trained.prepare(command.folder, config, dataset, overwrite=command.overwrite)
    run = train(job)
    table = training_report.write(jax.random.key(command.train.seed), run, dataset)
    console.print_table(table)
    console.show(f"run: {command.folder}   (report: {command.folder / 'report.html'})")
    console.show(f"next: python scripts/sample.py {command.folder}")
    console.show(f"      python scripts/infer.py {command.folder}")


def train(job):
    """Train what is left of a job under a progress bar."""
    from vae_jax import trained

    if job.is_finished:
        console.message(f"{job.folder} is finished: showing it, --overwrite trains it anew")
        return trained.train(job)
    if job.num_epochs_done:
        console.message(f"{job.folder}: going on after epoch {job.num_epochs_done}")
        for name, (then, now) in trained.changed_versions(job.folder).items():
            console.warn(f"{name} was {then} and is {now}: no longer the unbroken run bit by bit")
    num_epochs = 1 if job.system.fit else job.config.train.num_epochs
    with console.progress(f"training {job.config.system}", total=num_epochs) as advance:
        advance(job.num_epochs_done)
        return trained.train(job, on_epoch=lambda report: advance(1, note=note(report)))


def note(report) -> str:
    """The objectives of one epoch."""
    means = {"train": report.train, "validation": report.validation}
    values = {name: metrics["objective"] for name, metrics in means.items() if metrics}
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items()) + " nats"


if __name__ == "__main__":
    console.run_script(parse_train, main)
