"""Does a generative model know what it never saw? ROC-AUC of its scores on images of another kind.

python benchmarks/anomalous_images.py                                 digits: about 8 min on 2 cores
python benchmarks/anomalous_images.py --data-dir DIR --out DIR        and MNIST / KMNIST: 25 min

Ten times one of the digits is held out of training and stands against test images of the other
nine. With a folder of data (mnist/ and kmnist_test/, IDX files), a model of MNIST is shown KMNIST
and the other way round: there -log p misleads, for to a model of Japanese characters our digits are
the more probable images. Scores are those of `detect.py --run`; which is recommended stands in
vae_jax/detection/image_scores.py. --out DIR takes anomalous_images.json.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import harness
import jax
import numpy as np

from vae_jax import console, provenance, training
from vae_jax.configs import DataConfig, MixtureConfig, TrainConfig, VAEConfig
from vae_jax.data import arrays
from vae_jax.data.dataset import Dataset
from vae_jax.detection import image_report, image_trial
from vae_jax.detection.image_scores import RECOMMENDED
from vae_jax.systems import build

DIGITS = "digits without one"
NUM_CLASSES = 10


class Model(NamedTuple):
    """A detector before it is trained.

    Attributes:
        name: key of `vae_jax.systems.SYSTEMS`.
        config: its own.
        loop: of its training.
    """

    name: str
    config: VAEConfig | MixtureConfig
    loop: TrainConfig


OF_DIGITS = (
    Model("vae", VAEConfig(), TrainConfig()),
    Model("mixture", MixtureConfig(10), TrainConfig()),
)
OF_MNIST = (
    Model("vae", VAEConfig(20, (512, 256)), TrainConfig(num_epochs=20)),
    Model("mixture", MixtureConfig(50), TrainConfig()),
)
PAIRS = (("mnist", "kmnist"), ("kmnist", "mnist"))
KMNIST = Path(
    "kmnist_test", "t10k-images-idx3-ubyte.gz"
)  # split anew: its training set is not used


@dataclass(frozen=True)
class Bench:
    """Train models and show them what they never saw.

    Attributes:
        data_dir: folder of MNIST and KMNIST; without one the digits alone are taken.
        labels: held out of the digits, one at a time.
        num_images: most images of either kind.
        seed: of training and scores.
        out: folder for the JSON.
    """

    data_dir: str | None = None
    labels: tuple[int, ...] = tuple(range(NUM_CLASSES))
    num_images: int = 1000
    seed: int = 0
    out: Path | None = None


def main(command: Bench) -> None:
    """Train, score, average, write."""
    start = time.perf_counter()
    rows = [row for case in cases(command) for row in case]
    means = list(averages(row for row in rows if row["data"].startswith(DIGITS)))
    for row in means:
        print(row, flush=True)
    meta = provenance.meta(
        {**asdict(command), "data_dir": None, "out": None},
        seconds=time.perf_counter() - start,
        command="anomalous_images.py --data-dir DIR --out DIR",
    )
    harness.write(command.out, "anomalous_images", rows + means, meta, summary=worded(rows, means))


def cases(command: Bench) -> Iterator[list[dict]]:
    """The rows of each trained model against each other kind."""
    for label in command.labels:
        dataset = arrays.load(DataConfig("digits", held_out_label=label))
        for model in OF_DIGITS:
            yield judged(command, model, dataset, dataset.held_out, f"{DIGITS}: {label}")
    for own, other in PAIRS if command.data_dir else ():
        dataset, odd = (load(name, command.data_dir) for name in (own, other))
        for model in OF_MNIST:
            yield judged(command, model, dataset, odd.test, f"{other} under a model of {own}")


def load(name: str, data_dir: str) -> Dataset:
    """MNIST by its name, KMNIST by its file."""
    place = str(Path(data_dir) / KMNIST) if name == "kmnist" else name
    return arrays.load(DataConfig(place, data_dir=data_dir))


def judged(command: Bench, model: Model, dataset: Dataset, odd, data: str) -> list[dict]:
    """Train one model, and rank own test images and others by every score it allows."""
    start = time.perf_counter()
    system = build(model.name, model.config, dataset.spec)
    key = jax.random.key(command.seed)
    fitted = training.fit(key, system, dataset.train, dataset.validation, model.loop)
    train_seconds = time.perf_counter() - start
    generative = system.generative(fitted.state)
    scored = dict(
        image_trial.run(
            key, generative, dataset, odd, num_images=command.num_images, with_slow=False
        )
    )
    num_own = min(command.num_images, len(dataset.test))
    is_odd = np.arange(num_own + min(command.num_images, len(odd))) >= num_own
    found = image_report.table(scored, is_odd).rows
    shown = {row["score"]: round(row["roc_auc"], 3) for row in found}
    print(f"{data}, {model.name} ({train_seconds:.0f} s): {shown}", flush=True)
    return [
        {"data": data, "model": model.name, "train_seconds": train_seconds, **row} for row in found
    ]


def averages(rows) -> Iterator[dict]:
    """Of each model and score over the digits that were held out."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["model"], row["score"]].append(row)
    for (model, score), group in groups.items():
        each = [row["roc_auc"] for row in group]
        yield {
            "data": f"{DIGITS}: mean",
            "model": model,
            "score": score,
            "recommended": group[0]["recommended"],
            "roc_auc": statistics.fmean(each),
            "lowest_roc_auc": min(each),
            "average_precision": statistics.fmean(row["average_precision"] for row in group),
            "num_held_out": len(group),
        }


def worded(rows: list[dict], means: list[dict]) -> str:
    """The answer in one line."""
    pairs = [row for row in rows if not row["data"].startswith(DIGITS)]
    value = {
        (row["data"], row["score"]): row["roc_auc"]
        for row in means + pairs
        if row["model"] == "vae"
    }
    return "ROC-AUC of a VAE: " + "; ".join(
        f"{data} {value[data, 'evidence']:.3f} by -log p(x), {value[data, RECOMMENDED]:.3f} by "
        f"{RECOMMENDED}"
        for data in dict.fromkeys(data for data, _ in value)
    )


if __name__ == "__main__":
    console.run_script(Bench, main)
