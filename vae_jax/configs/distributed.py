"""How several processes become one run."""

from dataclasses import dataclass

from vae_jax.configs.checks import ConfigError, check


@dataclass(frozen=True)
class DistributedConfig:
    """Where this process stands among those of one run, on one host or several.

    Attributes:
        distributed: be one of several processes. Slurm, Open MPI, GKE and Cloud TPU say themselves
            who is who; elsewhere the three options below do.
        coordinator: HOST:PORT of process 0, which all can reach.
        num_processes: of the run.
        process_id: of this one, from 0; process 0 prints and writes.
    """

    distributed: bool = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self):
        fields = ("coordinator", "num_processes", "process_id")
        given = [field for field in fields if getattr(self, field) is not None]
        if given and not self.distributed:
            raise ConfigError(f"{given[0]} is given without distributed: expected --distributed")
        if given and len(given) < len(fields):
            (missing, *_) = (field for field in fields if field not in given)
            raise ConfigError(f"{missing} is not given: expected {', '.join(fields)}, or none")
        if given:
            self._check_given()

    def _check_given(self) -> None:
        host, _, port = self.coordinator.rpartition(":")
        check(bool(host) and port.isdecimal(), "coordinator", self.coordinator, "HOST:PORT")
        check(self.num_processes >= 1, "num_processes", self.num_processes, "at least 1")
        check(
            0 <= self.process_id < self.num_processes,
            "process_id",
            self.process_id,
            f"from 0 to {self.num_processes - 1}",
        )
