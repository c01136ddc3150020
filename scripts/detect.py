"""Which rows of a table, or which images, are anomalies? Scores in nats and p values, judged.

python scripts/detect.py                             digits without one: about 2 min on 2 CPU cores
python scripts/detect.py --data table.csv --out detection
python scripts/detect.py --data labelled.npz --protocol contaminated
python scripts/detect.py --run runs/mnist --against kmnist.npz        images of another kind
python scripts/detect.py --run runs/vae              the class of its --data.held-out-label

A .csv has a header and numbers, its column y, if any, 0 for normal rows and 1 for anomalies; an
.npz has keys X and, if any, y. OUT/scores.csv has row, score and p value. With labels, results.json
has the ROC-AUC and average precision of every score and of scikit-learn's detectors. With a run,
its test images stand against the others, by every score that its model allows.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vae_jax import console
from vae_jax.configs import ConfigError


@dataclass(frozen=True)
class Detect:
    """Score the rows of a table, or the images that a run never saw, by how odd they are.

    Attributes:
        data: a .csv with a header, whose column y, if any, is 0 for normal rows and 1 for
            anomalies; or an .npz with keys X and, if any, y. Scikit-learn's digits, with one of the
            ten as anomaly, if unset.
        protocol: what detectors are fitted on: half of the rows that are labelled normal (a fifth
            of which calibrate the p values), or all (contaminated); all without labels.
        scores: which are judged by the labels: exact densities and scikit-learn (quick), or those
            of a VAE too, which take minutes a seed (all). Of a run: those that take long, too.
        run: a run folder, the --out of train.py, in place of a table.
        against: images of another kind, a name or path as train.py takes; those of the class that
            was held out of the run if unset.
        num_images: most images of either kind.
        data_dir: folder of the data sets; that of the run if unset.
        out: folder of scores.csv, results.json and the report.
        seeds: how many splits are averaged.
        seed: the first of them.
        digit: which one is the anomaly, where no data are given.
    """

    data: Path | None = None
    protocol: Literal["normal", "contaminated"] = "normal"
    scores: Literal["quick", "all"] = "quick"
    run: Path | None = None
    against: str | None = None
    num_images: int = 500
    data_dir: str | None = None
    out: Path = Path("detection")
    seeds: int = 5
    seed: int = 0
    digit: int = 0

    def __post_init__(self):
        for field, least in {"seeds": 1, "seed": 0, "num_images": 10}.items():
            if getattr(self, field) < least:
                raise ConfigError(f"{field} is {getattr(self, field)}: expected at least {least}")
        if not 0 <= self.digit <= 9:
            raise ConfigError(f"digit is {self.digit}: expected 0 to 9")
        if self.run and self.data:
            raise ConfigError(f"run is {self.run} beside data: expected one of them")
        if self.against and not self.run:
            raise ConfigError(f"against is {self.against!r} without a run: expected --run RUN")


def main(command: Detect) -> None:
    """Of a table or of a run."""
    (detect_rows if command.run is None else detect_images)(command)


def detect_rows(command: Detect) -> None:
    """Fit, score, judge where there are labels, and report."""
    from vae_jax.detection import detection_report, rows
    from vae_jax.detection.detectors import DETECTORS, QUICK, RECOMMENDED

    start = time.perf_counter()
    table = rows.digits(command.digit) if command.data is None else rows.read(command.data)
    console.banner(seed=command.seed, config=command)
    name = f"digits, {command.digit} the odd one" if command.data is None else command.data.name
    is_labelled = table.is_anomaly is not None
    protocol = command.protocol if is_labelled else "contaminated"
    recommended = RECOMMENDED[protocol]
    detectors = DETECTORS if command.scores == "all" else QUICK
    scored = detect(command, table, detectors if is_labelled else [recommended], protocol)
    line, warning = rows.described(table)
    console.message(line)
    if warning:
        console.warn(warning)
    tables = judged(table, scored, protocol) if is_labelled else []
    first = scored[recommended][0]
    write(
        command,
        intro=detection_report.introduction(name, *table.x.shape, protocol),
        tables=tables,
        figures=[detection_report.picture(first, table.is_anomaly, name=recommended)],
        scored=first,
        start=start,
    )


def detect_images(command: Detect) -> None:
    """Hold a run's own test images against others."""
    import jax
    import numpy as np

    from vae_jax import trained
    from vae_jax.detection import detection_report, image_report, image_trial
    from vae_jax.detection.image_scores import RECOMMENDED

    start = time.perf_counter()
    run = trained.load(command.run, script="detect.py")
    console.banner(seed=command.seed, config=run.config)
    for line in run.warnings:
        console.warn(line)
    dataset = trained.load_data(run, data_dir=command.data_dir)
    other = None
    if command.against:
        other = trained.load_data(run, name=command.against, data_dir=command.data_dir)
    odd = image_trial.other_images(dataset, other)
    options = {"num_images": command.num_images, "with_slow": command.scores == "all"}
    key, scored = jax.random.key(command.seed), {}
    with console.progress("detecting") as advance:
        for name, done in image_trial.run(key, run.generative, dataset, odd, **options):
            scored[name] = done
            advance(1, note=name)
    is_odd = np.arange(len(done.index)) >= min(command.num_images, len(dataset.test))
    if text := image_report.surprise(scored["evidence"], is_odd):
        console.warn(text)
    write(
        command,
        intro=image_report.introduction(run, command.against, is_odd),
        tables=[image_report.table(scored, is_odd)],
        figures=[
            detection_report.picture(scored["evidence"], is_odd, name="evidence"),
            detection_report.picture(scored[RECOMMENDED], is_odd, name=RECOMMENDED, unit="nats"),
        ],
        scored=scored[RECOMMENDED],
        start=start,
    )


def write(command: Detect, *, intro: str, tables: list, figures: list, scored, start: float):
    """The report and the scores, in the folder and on the screen."""
    from vae_jax import records, report, runs
    from vae_jax.detection import detection_report

    records.write_bytes(command.out / "scores.csv", detection_report.scores_csv(scored))
    page = report.write(
        command.out,
        title="Anomalies",
        intro=intro,
        tables=tables,
        figures=figures,
        meta=runs.meta(command, seconds=time.perf_counter() - start),
    )
    for shown in tables:
        console.print_table(shown)
    console.show(f"scores: {command.out / 'scores.csv'}")
    console.show(f"report: {page}")


def detect(command: Detect, table, names, protocol: str) -> dict[str, list]:
    """What every detector made of every seed, under a progress bar."""
    from vae_jax.detection import trial

    seeds = range(command.seed, command.seed + command.seeds)
    scored = defaultdict(list)
    with console.progress("detecting", total=len(seeds) * len(names)) as advance:
        for name, done in trial.run(table, [*names], protocol=protocol, seeds=seeds):
            scored[name].append(done)
            advance(1, note=name)
    return scored


def judged(table, scored: dict[str, list], protocol: str) -> list:
    """The table of measures, by the labels."""
    from vae_jax.detection import detection_report, trial
    from vae_jax.detection.detectors import RECOMMENDED

    options = {"protocol": protocol, "recommended": RECOMMENDED[protocol]}
    rows = [trial.judge(name, done, table.is_anomaly, **options) for name, done in scored.items()]
    return [detection_report.table(rows)]


if __name__ == "__main__":
    console.run_script(Detect, main)
