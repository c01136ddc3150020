"""Is anything lost? Every fault of tests/reliability in its full count: kills, damage, NaN, disks.

python benchmarks/reliability.py --out DIR                            about 30 min on 2 CPU cores
python benchmarks/reliability.py --only damaged killed_saves

--out DIR takes reliability.json: a row for each test, with how often it let its fault happen. It
fails if one of them does.
"""

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

import harness

from bayes_jax.errors import InputError
from vae_jax import console, provenance

TESTS = Path(__file__).parents[1] / "tests" / "reliability"


@dataclass(frozen=True)
class Bench:
    """Run the long form of the tests of faults.

    Attributes:
        only: parts of the names of test files; all if unset.
        out: folder for the JSON.
    """

    only: tuple[str, ...] = ()
    out: Path | None = None


def main(command: Bench) -> int:
    """Run pytest, write, and fail where a test did."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        options = ("-v", "--color=no", f"--junitxml={report}")
        code = subprocess.run(
            [sys.executable, "-m", "pytest", *files(command), *options]
        ).returncode
        rows = [row(case) for case in ElementTree.parse(report).iter("testcase")]
    meta = provenance.meta(
        {**asdict(command), "out": None},
        seconds=time.perf_counter() - start,
        command="reliability.py --out DIR",
    )
    harness.write(command.out, "reliability", rows, meta, summary=worded(rows))
    return int(code != 0)


def row(case: ElementTree.Element) -> dict:
    """What came out of a test; how often it let its fault happen stands last in its parameters."""
    count = re.search(r"[\[-](\d+)\]$", case.get("name"))
    faults = [tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None]
    return {
        "test": f"{case.get('classname').rpartition('.')[2]}: {case.get('name')}",
        "count": int(count.group(1)) if count else None,
        "outcome": faults[0] if faults else "passed",
        "seconds": float(case.get("time")),
    }


def files(command: Bench) -> list[Path]:
    """The test files that are asked for.

    Raises:
        InputError: none has such a name.
    """
    found = sorted(TESTS.glob("test_*.py"))
    if command.only:
        found = [path for path in found if any(part in path.stem for part in command.only)]
    if not found:
        raise InputError(f"only is {command.only}: expected parts of the names in {TESTS.name}/")
    return found


def worded(rows: list[dict]) -> str:
    """The answer in one line."""
    passed = [row for row in rows if row["outcome"] == "passed"]
    num_faults = sum(row["count"] or 1 for row in passed)
    return f"{len(passed)} of {len(rows)} tests of faults passed, {num_faults} faults in them"


if __name__ == "__main__":
    console.run_script(Bench, main)
