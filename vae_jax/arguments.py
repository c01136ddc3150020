"""Command lines -> frozen dataclasses, by tyro; what is wrong becomes one line.

Imports nothing heavy, so that `--help` answers at once.
"""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from vae_jax import config_file, tensorboard
from vae_jax.configs import (
    ConfigError,
    DataConfig,
    DistributedConfig,
    TextConfig,
    TextTrainConfig,
    TrainConfig,
)
from vae_jax.systems import SYSTEMS

Processes = Annotated[DistributedConfig, tyro.conf.arg(name="", help="who takes part")]
"""A field of a command whose options stand without a prefix: --distributed, --coordinator, ..."""

_SYSTEM_CONFIGS = tuple(
    Annotated[row.config, tyro.conf.subcommand(name, prefix_name=False)]
    for name, row in SYSTEMS.items()
)


@dataclass(frozen=True)
class TrainCommand:
    """Train one system; the run folder holds its config, checkpoints, metrics and figures.

    Attributes:
        system: which, and its config; --config FILE.json takes both, and the rest, from a run's
            config.json.
        train: the loop.
        data: the data; SYSTEM --help lists the options of its kind, images or text.
        out: run folder; runs/SYSTEM if unset, runs/SYSTEM-seeds for several.
        num_seeds: runs that are trained at once, each in its folder OUT/seed-N; the first seed is
            that of the loop.
        learning_rates: of runs that are trained at once, each in its folder OUT/rate-R, or
            OUT/rate-R-seed-N; that of the loop if unset.
        overwrite: replace the run that is in the folder.
        tensorboard: write the metrics into RUN/tensorboard too.
        checkpoint_seconds: how often the progress is saved; 0 saves every epoch.
        debug_nans: where training meets NaN, name the operation that made it.
        processes: who takes part.
    """

    system: Annotated[Union[_SYSTEM_CONFIGS], tyro.conf.arg(name="")]  # noqa: UP007
    train: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    out: Path | None = None
    num_seeds: int = 1
    learning_rates: tuple[float, ...] = ()
    overwrite: bool = False
    tensorboard: bool = False
    checkpoint_seconds: float = 20.0
    debug_nans: bool = False
    processes: Processes = field(default_factory=DistributedConfig)

    def __post_init__(self):
        if self.num_seeds < 1:
            raise ConfigError(f"num_seeds is {self.num_seeds}: expected at least 1")
        if not self.checkpoint_seconds >= 0:
            raise ConfigError(
                f"checkpoint_seconds is {self.checkpoint_seconds}: expected at least 0"
            )
        if len({*self.learning_rates}) < len(self.learning_rates):
            raise ConfigError(f"learning_rates is {self.learning_rates}: expected each only once")
        if type(self.data) is not SYSTEMS[self.name].data:
            raise ConfigError(f"{self.name} is not the first argument: expected SYSTEM [options]")
        for rate in self.learning_rates:
            replace(self.train, learning_rate=rate)
        if self.tensorboard:
            tensorboard.check()

    @property
    def name(self) -> str:
        """The key of the system in `SYSTEMS`."""
        return next(name for name, row in SYSTEMS.items() if type(self.system) is row.config)

    @property
    def runs(self) -> dict[Path, TrainConfig]:
        """Where each run goes -> its loop, which has its seed and its rate."""
        rates = self.learning_rates or (self.train.learning_rate,)
        seeds = range(self.train.seed, self.train.seed + self.num_seeds)
        kind = "rates" if self.learning_rates else "seeds"
        is_one = len(rates) * len(seeds) == 1
        folder = self.out or Path("runs") / (self.name if is_one else f"{self.name}-{kind}")
        return {
            folder / self._name_of(rate, seed): replace(self.train, learning_rate=rate, seed=seed)
            for rate, seed in itertools.product(rates, seeds)
        }

    def _name_of(self, rate: float, seed: int) -> str:
        """The folder of one run among those trained at once; "" of a run alone."""
        parts = [f"rate-{rate:g}"] * (len(self.learning_rates) > 1)
        return "-".join(parts + [f"seed-{seed}"] * (self.num_seeds > 1))


@dataclass(frozen=True)
class TrainTextCommand(TrainCommand):
    """Train one system of text; the run folder holds its config, checkpoints and metrics."""

    train: TextTrainConfig = field(default_factory=TextTrainConfig)
    data: TextConfig = field(default_factory=TextConfig)


_COMMANDS = {DataConfig: TrainCommand, TextConfig: TrainTextCommand}


def parse_train(args: list[str]) -> TrainCommand:
    """The arguments of train.py: a key of `SYSTEMS`, its options, --train.*, --data.*, --out.

    `--config FILE` stands for all that a run's config.json, or a part of one, says; arguments
    beside it have the last word.

    Raises:
        ConfigError: wrong arguments or a file that cannot be read, in one line.
        SystemExit: after --help.
    """
    args, file = config_file.expand(args)
    try:
        command = _COMMANDS[SYSTEMS[args[0]].data] if args and args[0] in SYSTEMS else TrainCommand
        return parse(tyro.conf.CascadeSubcommandArgs[command], args)
    except ConfigError as error:
        raise ConfigError(f"with {file}: {error}" if file else str(error)) from None


def parse(command: Any, args: list[str]) -> Any:
    """Parse arguments into a dataclass.

    Args:
        command: a frozen dataclass; its docstring and those of its fields are the help.
        args: the arguments, without the program's name.

    Raises:
        ConfigError: wrong arguments, in one line.
        SystemExit: after --help.
    """
    boxed = io.StringIO()
    wants_help = {"-h", "--help"} & {*args}
    with contextlib.redirect_stderr(boxed), contextlib.nullcontext() if wants_help else _wide():
        try:
            return tyro.cli(command, args=args, config=(tyro.conf.FlagCreatePairsOff,))
        except SystemExit as exit_:
            if not exit_.code:
                raise
            raise ConfigError(_unboxed(boxed.getvalue())) from None


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """A terminal wide enough that tyro does not break the lines of its messages."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _unboxed(boxed: str) -> str:
    """What tyro says in a box, in one line: the problem, and the closest names there are."""
    # In the title's line or below it, in Unicode or in ASCII: a rule stands between all sections.
    text = re.sub(r"^[ │╭╰]+|[ │╮╯]+$", "", boxed, flags=re.MULTILINE)
    _, problem, *hints = (
        " ".join(section.split()) for section in re.split(r"[─-]{4,}(?:\n|$)", text)
    )
    # A class is no name that a person knows.
    parts = [re.sub(r"^Error parsing (?:[A-Z]\w*: )?", "", problem)]
    parts += [hint for hint in hints if hint.startswith("Available")]
    if similar := [hint for hint in hints if hint.startswith("Perhaps")]:
        names = dict.fromkeys(re.findall(r"--[\w.-]+", similar[0]))
        names.pop("--help", None)
        parts.append(f"perhaps you meant {', '.join(names)}")
    return "; ".join(parts) + " (--help lists the options)"
