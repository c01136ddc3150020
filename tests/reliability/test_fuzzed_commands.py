"""Random command lines of train.py: a config that builds, or one line that names the field."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayes_jax.errors import InputError
from vae_jax import systems
from vae_jax.arguments import parse_train
from vae_jax.configs import ConfigError, DataConfig, ObservationSpec, TextSpec, TrainConfig
from vae_jax.systems import SYSTEMS
from vae_jax.systems.base import training_data

KEY = jax.random.key(0)
ODD = ("", "0", "-1", "1", "2", "3", "7", "64", "0.5", "1e-3", "1e30", "nan", "inf", "-0", "None")
WORDS = ("True", "vae", "mlp", "é", "--", "a b", "[]", "1,2", "null", "99999999999999999999")
TEXT_SPEC = TextSpec(num_tokens=12, length=6)


def options_of(config_type, prefix="") -> dict[str, tuple | None]:
    """Option -> values of its field that are worth a try; None of a flag."""
    found, hints = {}, typing.get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        hint, name = hints[field.name], f"{prefix}{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(hint):
            found |= options_of(hint, f"{name}.")
        else:
            found[f"--{name}"] = _values(hint)
    return found


def _values(hint):
    if hint is bool:
        return None  # a flag
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def options_of_system(name):
    row = SYSTEMS[name]
    loop = {**options_of(row.train, "train."), **options_of(row.data, "data.")}
    return {**options_of(row.config), **loop, "--num-seeds": (), "--out": ()}


@st.composite
def command_lines(draw):
    """A system, and a few options with values that are mostly of their kind."""
    name = draw(st.sampled_from(sorted(SYSTEMS)))
    known = options_of_system(name)
    args = [name]
    for option in draw(st.lists(st.sampled_from(sorted(known)), max_size=5, unique=True)):
        if known[option] is None:
            args.append(option)
            continue
        literal = st.sampled_from([*known[option], "no-such"]) if known[option] else st.nothing()
        args += [option, str(draw(literal | st.sampled_from(ODD) | st.sampled_from(WORDS)))]
    return args


def one_line(error, args):
    line = str(error)
    assert line, args
    assert "\n" not in line, args
    return line


def names_a_field(line, args):
    """Whether the line has one of the options, or a part of its name."""
    options = [arg.lstrip("-") for arg in args if arg.startswith("--") and len(arg) > 2]
    parts = {part for option in options for part in option.replace("-", "_").split(".")}
    return not options or any(part in line.replace("-", "_") for part in parts)


def check(args):
    try:
        command = parse_train(args)
    except ConfigError as error:
        line = one_line(error, args)
        assert names_a_field(line, args), (line, args)
        return
    spec = TEXT_SPEC
    if isinstance(command.data, DataConfig):
        data = command.data
        spec = ObservationSpec(
            16, data.observation, num_components=data.num_components, image_shape=(4, 4)
        )
    try:
        system = systems.build(command.name, command.system, spec)
    except InputError as error:
        one_line(error, args)
        return
    batch = jnp.zeros((8, *spec.event_shape))
    if is_small(command) and system.fit is None:
        jax.eval_shape(system.init, KEY, training_data(system, batch))


def is_small(command):
    """Whether it can be traced in little time: no number of it is large."""
    numbers = [0]

    def collect(value):
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                collect(getattr(value, field.name))
        elif isinstance(value, tuple):
            for each in value:
                collect(each)
        elif isinstance(value, int):
            numbers.append(value)

    collect(command.system)
    return max(numbers) < 2000


@pytest.mark.parametrize("num", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_random_commands_build_or_name_what_is_wrong(num):
    @settings(
        max_examples=num,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines())
    def run(args):
        check(args)

    run()


def test_the_options_are_those_of_the_script():
    known = options_of_system("vae")
    assert {"--latent-dim", "--objective.name", "--train.seed", "--data.name"} <= {*known}
    assert "mlp" in known["--network.name"]
    assert {field.name for field in dataclasses.fields(TrainConfig)} <= {
        option.removeprefix("--train.").replace("-", "_") for option in known
    }
