"""Does an exact density find anomalies as well as scikit-learn? ROC-AUC over tables of ADBench.

python benchmarks/adbench.py --data-dir DIR --out DIR      12 tables: about 4 min on 2 CPU cores
python benchmarks/adbench.py --data-dir DIR --tables WDBC,Pima

DIR holds .npz files of keys X and y (Han, Hu, Huang, Jiang, Zhao 2022, arXiv 2206.09426). The same
splits for all detectors, five seeds, under both protocols of vae_jax.detection.protocols. Which
score is recommended stands in vae_jax/detection/detectors.py. --out DIR takes adbench.json.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import harness
import numpy as np

from bayes_jax.errors import InputError
from vae_jax import console, provenance
from vae_jax.detection import rows, trial
from vae_jax.detection.detectors import RECOMMENDED

RIVAL = "isolation_forest"
BASELINES = ("ppca", RIVAL, "local_outlier_factor", "one_class_svm", "pca_reconstruction")


@dataclass(frozen=True)
class Bench:
    """Try the recommended score of each protocol beside the baselines.

    Attributes:
        data_dir: folder of the tables.
        tables: parts of the names of those that are taken; all if unset.
        seeds: how many splits are averaged.
        max_rows: larger tables are thinned to so many rows, drawn once for all.
        out: folder for the JSON.
    """

    data_dir: Path
    tables: str = ""
    seeds: int = 5
    max_rows: int = 4000
    out: Path | None = None


def main(command: Bench) -> None:
    """Try, print each table as it is done, write."""
    start = time.perf_counter()
    found = [
        row
        for path in chosen(command)
        for protocol in RECOMMENDED
        for row in measure(command, path, protocol)
    ]
    means = list(averages(found))
    for row in means:
        print(row, flush=True)
    config = {**asdict(command), "data_dir": None, "out": None}
    meta = provenance.meta(
        config, seconds=time.perf_counter() - start, command="adbench.py --data-dir DIR --out DIR"
    )
    harness.write(command.out, "adbench", found + means, meta, summary=worded(means))


def chosen(command: Bench) -> list[Path]:
    """The tables that are asked for.

    Raises:
        InputError: none in the folder.
    """
    parts = command.tables.split(",")
    paths = sorted(command.data_dir.glob("*.npz"))
    paths = [path for path in paths if any(part in path.stem for part in parts)]
    if not paths:
        raise InputError(f"{command.data_dir} has no table {command.tables!r}: expected .npz files")
    return paths


def thinned(table: rows.Rows, max_rows: int) -> rows.Rows:
    """So many rows at most, anomalies among them as chance has it."""
    kept = np.sort(np.random.default_rng(0).permutation(len(table.x))[:max_rows])
    return rows.Rows(table.x[kept], table.is_anomaly[kept])


def measure(command: Bench, path: Path, protocol: str) -> Iterator[dict]:
    """One table under one protocol: a row per detector."""
    table = thinned(rows.read(path), command.max_rows)
    names = [RECOMMENDED[protocol], *BASELINES]
    scored, seconds, last = defaultdict(list), defaultdict(float), time.perf_counter()
    for name, done in trial.run(table, names, protocol=protocol, seeds=range(command.seeds)):
        scored[name].append(done)
        seconds[name] += time.perf_counter() - last
        last = time.perf_counter()
    for name, done in scored.items():
        row = trial.judge(
            name, done, table.is_anomaly, protocol=protocol, recommended=RECOMMENDED[protocol]
        )
        print(f"{path.stem}, {protocol}, {name}: ROC-AUC {100 * row['roc_auc']:.1f}", flush=True)
        yield {"data": path.stem, **row, "seconds": seconds[name] / command.seeds}


def averages(found: list[dict]) -> Iterator[dict]:
    """The mean over tables of each detector under each protocol."""
    groups = defaultdict(list)
    for row in found:
        groups[row["protocol"], row["score"]].append(row)
    for (protocol, name), group in groups.items():
        yield {
            "data": "mean",
            "protocol": protocol,
            "score": name,
            "recommended": group[0]["recommended"],
            **{
                measure: float(np.mean([row[measure] for row in group]))
                for measure in ("roc_auc", "average_precision", "false_alarms", "found")
            },
            "num_tables": len(group),
        }


def worded(means: list[dict]) -> str:
    """The answer in one line."""
    value = {(row["protocol"], row["score"]): 100 * row["roc_auc"] for row in means}
    return "mean ROC-AUC: " + "; ".join(
        f"{protocol} {name} {value[protocol, name]:.1f}, {RIVAL} {value[protocol, RIVAL]:.1f}"
        for protocol, name in RECOMMENDED.items()
    )


if __name__ == "__main__":
    console.run_script(Bench, main)
