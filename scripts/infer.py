"""How well does a trained run infer? Evidence, gaps and posterior draws of its test images.

python scripts/infer.py runs/vae                     about 1 min on 2 CPU cores
python scripts/infer.py runs/vae --num-images 200 --sampler nuts --out reports/vae
python scripts/infer.py runs/vae --evidence ais --num-temperatures 1000

RUN/inference/report.html has the tables that are printed, results.json their rows: mean log p(x)
in nats per image by every inference the model allows, how far annealing leaves it open, the gaps of
the encoder in the mean and image by image, beside those of training images, and whether MCMC
converged. The same command again goes on where it was stopped, from RUN/inference/unfinished.
"""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro

from vae_jax import console
from vae_jax.arguments import Processes
from vae_jax.configs import ConfigError, DistributedConfig, InferenceBudget

_SAME_NUMBERS = (
    *("run", "out", "data_dir", "processes"),
    *("save_draws", "overwrite", "checkpoint_seconds"),
)
"""Options that change no number: an unfinished inference goes on under others."""


@dataclass(frozen=True)
class Infer:
    """Bound the evidence and sample the posterior of test images under a trained run.

    Attributes:
        run: the folder of the run, the --out of train.py.
        num_images: test images whose evidence is bounded; all if there are fewer.
        num_posteriors: of these, how many are sampled by MCMC; 32 or num_images if unset.
        sampler: of the posterior draws.
        evidence: how log p(x) is bounded where it is not known, for the gaps too: annealed
            importance sampling (ais), or tempered sequential Monte Carlo (smc).
        num_temperatures: of either; 100 from the encoder, 300 from the prior of a run without one,
            if unset.
        num_chains: of annealing and MCMC, per image.
        num_draws: kept MCMC draws per chain.
        num_simulations: images simulated to see whether encoder and HMC are calibrated, and how far
            annealing leaves log p(x) open; 0 for none.
        seed: of every draw.
        data: other images than those of the run: a data set or a path.
        data_dir: folder of the data sets; that of the run if unset.
        out: where the report goes; RUN/inference if unset.
        save_draws: write the MCMC draws (draws.npz) and annealed log weights (weights.npz) beside
            the report.
        overwrite: forget what an earlier call left unfinished.
        checkpoint_seconds: between two saves of unfinished MCMC, annealing or q*.
        processes: who takes part.
    """

    run: tyro.conf.Positional[Path]
    num_images: int = 64
    num_posteriors: int | None = None
    sampler: Literal["hmc", "nuts"] = "hmc"
    evidence: Literal["ais", "smc"] = "ais"
    num_temperatures: int | None = None
    num_chains: int = 16
    num_draws: int = 1000
    num_simulations: int = 200
    seed: int = 0
    data: str | None = None
    data_dir: str | None = None
    out: Path | None = None
    save_draws: bool = False
    overwrite: bool = False
    checkpoint_seconds: float = 20.0
    processes: Processes = field(default_factory=DistributedConfig)

    def __post_init__(self):
        for name in ("num_temperatures", "num_draws"):
            value = getattr(self, name)
            if value is not None and value < 2:
                raise ConfigError(f"{name} is {value}: expected at least 2")
        _ = self.budget  # checks the other counts
        if not self.checkpoint_seconds >= 0:
            raise ConfigError(
                f"checkpoint_seconds is {self.checkpoint_seconds}: expected at least 0"
            )
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}: expected at least 0")
        if self.num_simulations and self.num_simulations < 20:
            raise ConfigError(
                f"num_simulations is {self.num_simulations}: expected 0, or at least 20"
            )

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.out or self.run / "inference"

    @property
    def budget(self) -> InferenceBudget:
        """What each inference may spend."""
        posteriors, steps = self.num_posteriors, {}
        if self.num_temperatures is not None:
            steps = {f"num_temperatures_{end}": self.num_temperatures for end in ("prior", "guide")}
        return InferenceBudget(
            num_images=self.num_images,
            num_posteriors=min(32, self.num_images) if posteriors is None else posteriors,
            num_chains=self.num_chains,
            num_simulations=self.num_simulations,
            num_reference_draws=self.num_draws,
            **steps,
        )


def main(command: Infer) -> None:
    """Run every inference the model allows, and report."""
    from vae_jax import trained
    from vae_jax.sharding import processes

    start = time.perf_counter()
    run = trained.load(command.run, script="infer.py")
    console.banner(seed=command.seed, config=run.config)
    for line in run.warnings:
        console.warn(line)
    dataset = trained.load_data(run, name=command.data, data_dir=command.data_dir)
    x = dataset.test[: command.num_images].astype("float32")
    with open_store(command, run, dataset).listening() as store:
        finished = infer(command, run.generative, x, store.at("test"))
        train = infer_train(command, run.generative, dataset, store.at("train"))
        cases = calibrate(command, run.generative, store.at("calibration"))
    if processes.is_first():
        tell(command, run, dataset, x, finished, cases, train, start=start)
        store.clear()


def tell(command: Infer, run, dataset, x, finished, cases, train, *, start: float) -> None:
    """Write the report, and print its tables."""
    from vae_jax import inference_report, latent_images, report, runs, saved_draws
    from vae_jax.comparison import inferences

    name, budget = run.config.system, command.budget
    tables = inference_report.tables(name, finished, cases, train)
    images = latent_images.to_images(x, dataset.image_shape, white=dataset.spec.white)
    page = report.write(
        command.folder,
        title=f"How well {name} infers: {dataset.name}",
        intro=inference_report.introduction(command.run.name, dataset.name, budget, len(x)),
        tables=tables,
        figures=inference_report.pictures(name, finished, images, cases),
        meta=runs.meta(command, seconds=time.perf_counter() - start),
    )
    for table in tables:
        console.print_table(table)
    for line in inferences.warnings(finished):
        console.warn(line)
    for path in saved_draws.write(command.folder, finished) if command.save_draws else ():
        console.show(f"draws: {path}")
    console.show(f"report: {page}")


def open_store(command: Infer, run, dataset):
    """The folder of what is unfinished, and lines on what lies there or will not be kept."""
    import jax

    from vae_jax import resumption, trained
    from vae_jax.resumption.leaves import digest
    from vae_jax.sharding import processes

    asked = asdict(command)
    for name in _SAME_NUMBERS:
        del asked[name]
    images = {"test": dataset.test, "train": dataset.train}
    content = {
        "command": asked,
        "run": run.config,
        "epoch": int(run.progress.epoch),
        "params": digest(run.progress.best_state),
        "images": {split: digest(x[: command.num_images]) for split, x in images.items()},
        "x64": bool(jax.config.jax_enable_x64),
    }
    processes.check_alike(
        lambda: {
            "config": [content[name] for name in ("command", "run", "epoch", "x64")],
            "data": content["images"],
            "params": content["params"],
        }
    )
    store = resumption.open_store(
        command.folder / "unfinished",
        content,
        overwrite=command.overwrite,
        seconds_between=command.checkpoint_seconds,
        warn=console.warn,
        keeps=not processes.are_several(),
    )
    if run.generative.latent is not None and (line := resumption.unsaved(store)):
        console.warn(line)
    if store.keeps and store.root.is_dir():
        console.message(f"{store.root}: going on where an earlier call was stopped")
        for name, (then, now) in trained.changed_versions(store.root, with_commit=True).items():
            console.warn(f"{name} was {then} and is {now}: no longer the unbroken run bit by bit")
    return store


def infer_train(command: Infer, generative, dataset, store) -> list:
    """What the gaps of as many training images are made of, for a model with a guide."""
    import jax

    if generative.guide is None:
        return []
    x = dataset.train[: command.num_images]
    if dataset.observe is not None:
        x = dataset.observe(jax.random.key(command.seed), x)
    budget = replace(command.budget, num_simulations=0)
    return infer(command, generative, x.astype("float32"), store, budget=budget, for_gaps=True)


def infer(command: Infer, generative, x, store, *, budget=None, for_gaps=False) -> list:
    """Run the methods under a progress bar."""
    import jax

    from vae_jax import run_inference
    from vae_jax.comparison.models import evaluation_key

    chosen = {"sampler": command.sampler, "evidence": command.evidence}
    total = None if for_gaps else len(run_inference.possible_methods(generative, **chosen))
    finished = []
    title = "inferring training images" if for_gaps else "inferring"
    with console.progress(title, total=total) as advance:
        for done in run_inference.run_methods(
            evaluation_key(command.seed),
            generative,
            jax.numpy.asarray(x),
            budget or command.budget,
            for_gaps=for_gaps,
            store=replace(store, note=lambda line: advance(0, note=line)),
            **chosen,
        ):
            finished.append(done)
            advance(1, note=done.method.name)
    return finished


def calibrate(command: Infer, generative, store) -> dict:
    """Calibration on simulated images, of a model that has a continuous latent."""
    from vae_jax import run_calibration
    from vae_jax.comparison.models import evaluation_key

    if generative.latent is None or not command.num_simulations:
        return {}
    console.message(f"calibrating on {command.num_simulations} simulated images")
    return run_calibration.calibrate(
        evaluation_key(command.seed),
        generative,
        command.budget,
        num_simulations=command.num_simulations,
        store=store,
    )


if __name__ == "__main__":
    console.run_script(Infer, main)
