"""infer.py: the rows of its report agree with each other, with closed forms and with the run."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from bayes_jax import GenerativeModel, simulate
from bayes_jax.exact.reference import REFERENCES
from vae_jax import report, run_inference, systems, trained
from vae_jax.comparison.methods import Setting
from vae_jax.configs import (
    DistributedConfig,
    InferenceBudget,
    LinearVAEConfig,
    ObservationSpec,
    PosteriorConfig,
    VAEConfig,
)
from vae_jax.sharding import processes

from .conftest import load_script

SMALL = ["--num-images", 8, "--num-posteriors", 3, "--num-temperatures", 20]
SMALL += ["--num-chains", 4, "--num-draws", 300, "--num-simulations", 100]


def read(folder):
    return json.loads((folder / "inference" / "results.json").read_text())


def by_method(rows, table):
    return {row["method"]: row for row in rows if row["table"] == table}


@pytest.fixture(scope="module")
def vae_results(run, vae_run):
    done = run("infer", vae_run, *SMALL, "--save-draws")
    assert done.code == 0, done.err
    titles = ("Evidence", "Both sides", "Image by image", "Gaps", "Posterior draws", "Calibration")
    assert all(title in done.out for title in titles)
    assert "What limits this model" in done.out
    return read(vae_run)


def test_help_is_quick(help_of):
    assert "--sampler {hmc,nuts}" in help_of("infer")


def test_a_vae_gets_every_bound_in_order(vae_results):
    rows = by_method(vae_results["rows"], "evidence")
    ladder = [
        "amortized q (ELBO)",
        "q* mean-field",
        "importance bound, K = 5000",
    ]
    values = [rows[name]["log_prob"] for name in ladder]
    assert values == sorted(values)
    best, annealed = rows[ladder[-1]], rows["annealed from the guide"]
    error = np.hypot(best["stderr"], annealed["stderr"])
    assert abs(annealed["log_prob"] - best["log_prob"]) < 4 * error + 0.05
    for row in rows.values():
        assert (row["kind"], row["num_images"]) == ("lower", 8)
        assert row["stderr_images"] > 0 < row["seconds"]


def test_the_gaps_add_up(vae_results):
    bounds = by_method(vae_results["rows"], "evidence")
    gaps = by_method(vae_results["rows"], "gaps")
    parts = [gaps[name]["gap"] for name in ("approximation gap", "amortization gap")]
    total = gaps["log p(x) - ELBO"]
    evidence, elbo = bounds["annealed from the guide"], bounds["amortized q (ELBO)"]
    assert sum(parts) == pytest.approx(total["gap"], abs=1e-5)
    assert total["gap"] == pytest.approx(evidence["log_prob"] - elbo["log_prob"], abs=1e-4)
    assert parts[1] == pytest.approx(
        bounds["q* mean-field"]["log_prob"] - elbo["log_prob"], abs=1e-4
    )
    assert total["largest"] >= total["gap"] > 0


def test_the_error_bar_of_the_evidence_is_the_width_of_the_sandwich(vae_results):
    (sides,) = (row for row in vae_results["rows"] if row["table"] == "sandwich")
    gaps = by_method(vae_results["rows"], "gaps")
    upper = sides["width_interval"][1] + max(-sides["width"], 0)  # no width is below 0
    assert gaps["amortization gap"]["evidence_width"] == 0
    for part in ("approximation gap", "log p(x) - ELBO"):
        assert gaps[part]["evidence_width"] == pytest.approx(upper, abs=1e-6)


def test_the_decomposition_is_there_for_every_image(vae_results):
    images = [row for row in vae_results["rows"] if row["table"] == "images"]
    gaps = by_method(vae_results["rows"], "gaps")
    assert [row["method"] for row in images] == [f"image {index}" for index in range(8)]
    for part in ("approximation", "amortization"):
        mean = np.mean([row[part] for row in images])
        assert mean == pytest.approx(gaps[f"{part} gap"]["gap"], abs=1e-4)
    for row in images:
        total = row["approximation"] + row["amortization"]
        assert row["log_prob"] - row["elbo"] == pytest.approx(total, abs=1e-3)


def test_annealing_comes_with_both_sides_on_simulated_images(vae_results):
    (row,) = (row for row in vae_results["rows"] if row["table"] == "sandwich")
    assert (row["method"], row["kind"]) == ("annealed from the guide", "sandwich")
    assert row["num_images"] == 100
    assert row["upper"] - row["log_prob"] == pytest.approx(row["width"], abs=1e-4)
    assert row["width"] > -3 * row["width_stderr"]
    low, high = row["certified_interval"]
    slack = np.log(40) / 100  # Markov, 2.5 % on each side
    assert low == pytest.approx(row["log_prob"] - slack, abs=1e-3)
    assert high == pytest.approx(row["upper"] + slack, abs=1e-3)
    assert row["kl_bound"] > row["width"]


def test_posterior_draws_come_with_their_diagnosis(vae_results):
    (row,) = (row for row in vae_results["rows"] if row["table"] == "posterior")
    assert (row["method"], row["num_images"], row["log_prob"]) == ("HMC", 3, None)
    assert 0 <= row["num_converged"] <= 3
    assert 0.99 < row["rhat"] < 1.1
    assert row["ess"] > 100
    assert row["diverging"] == 0


def test_chains_are_calibrated_and_an_encoder_of_two_epochs_is_not(vae_results):
    rows = by_method(vae_results["rows"], "calibration")
    assert rows["HMC"]["p_value"] > 0.01
    assert rows["amortized q (ELBO)"]["p_value"] < 1e-3
    assert all(row["num_images"] == 100 for row in rows.values())


def test_the_report_is_one_page_with_its_figures(vae_run, vae_results):
    folder = vae_run / "inference"
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "evidence.png",
        "costs.png",
        "gaps.png",
        "calibration.png",
    }
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert vae_results["meta"]["config"]["num_images"] == 8


def test_draws_and_weights_are_saved(vae_run, vae_results):
    draws, weights = (
        np.load(vae_run / "inference" / f"{name}.npz") for name in ("draws", "weights")
    )
    assert draws["z"].shape == (3, 4, 300, 3)
    assert draws["log_joint"].shape == (3, 4, 300)
    assert (str(draws["method"]), draws["image"].tolist()) == ("HMC", [0, 1, 2])
    assert str(weights["method"]) == "annealed from the guide"
    assert (draws["valid"].tolist(), weights["valid"].tolist()) == ([True] * 3, [True] * 8)
    # They are what the report is made of.
    evidence = np.mean(logsumexp(weights["log_weight"], axis=1) - np.log(4))
    row = by_method(vae_results["rows"], "evidence")["annealed from the guide"]
    assert evidence == pytest.approx(row["log_prob"], abs=1e-4)
    # Each log p(x, z) belongs to its z.
    model, x = trained.load(vae_run), trained.load_data(trained.load(vae_run)).test[2]
    z, latent = jnp.asarray(draws["z"][2, 1, 7]), model.generative.latent
    log_joint = latent.prior.log_prob(z) + latent.likelihood(z).log_prob(x.astype(np.float32))
    assert float(log_joint) == pytest.approx(float(draws["log_joint"][2, 1, 7]), abs=1e-3)


def test_what_is_unfinished_is_gone_on_with_or_refused(run, refused, ppca_run, monkeypatch):
    """A call that failed at its end: the same command runs nothing again, another is refused."""
    options = ["infer", ppca_run, *SMALL, "--num-simulations", 0, "--out", ppca_run / "again"]
    unfinished = ppca_run / "again" / "unfinished"
    with monkeypatch.context() as patch:
        patch.setattr(report, "write", fail)
        assert run(*options).code == 1
    assert unfinished.is_dir()
    line = refused(*options, "--num-draws", 301, "--seed", 1)
    assert "command.num_draws is 300 there, 301 here; command.seed is 0 there, 1 here" in line
    assert "--overwrite" in line
    with monkeypatch.context() as patch:
        patch.setattr(run_inference, "_measured", fail)
        done = run(*options)
    assert done.code == 0, done.err
    assert f"{unfinished}: going on where an earlier call was stopped" in done.err
    assert not unfinished.exists()
    with monkeypatch.context() as patch:
        patch.setattr(report, "write", fail)
        assert run(*options).code == 1
        patch.setattr(run_inference, "_measured", fail)
        assert run(*options, "--overwrite").err.splitlines()[-1] == "error: no space left"


@pytest.mark.parametrize(
    ("num_devices", "are_several", "expected"),
    [
        (4, False, "4 devices keep what is finished, and nothing within MCMC"),
        (4, True, "several processes keep nothing that is unfinished"),
        (1, False, None),
    ],
)
def test_what_will_not_be_kept_is_told(
    ppca_run, tmp_path, monkeypatch, capsys, num_devices, are_several, expected
):
    script, run = load_script("infer"), trained.load(ppca_run)
    dataset = trained.load_data(run)
    monkeypatch.setattr(jax, "device_count", lambda: num_devices)
    monkeypatch.setattr(processes, "are_several", lambda: are_several)
    script.open_store(script.Infer(ppca_run, out=tmp_path), run, dataset)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (expected is not None)
    assert all(line.startswith(f"warning: {expected}") for line in lines)


def test_processes_compare_what_their_numbers_depend_on(ppca_run, tmp_path, monkeypatch):
    script, run = load_script("infer"), trained.load(ppca_run)
    dataset, seen = trained.load_data(run), []
    monkeypatch.setattr(processes, "check_alike", lambda contents: seen.append(contents()))
    joined = DistributedConfig(True, "host:1", 2, 1)
    for options in ({}, {"processes": joined}, {"seed": 1}):
        script.open_store(script.Infer(ppca_run, out=tmp_path, **options), run, dataset)
    other = dataset._replace(test=1 - dataset.test)
    script.open_store(script.Infer(ppca_run, out=tmp_path), run, other)
    first, *others = seen
    assert [*first] == ["config", "data", "params"]
    differ = [[name for name in first if found[name] != first[name]] for found in others]
    assert differ == [[], ["config"], ["data"]]


def fail(*args, **kwargs):
    raise OSError("no space left")


@pytest.mark.slow
def test_exact_evidence_is_the_multivariate_normal_and_draws_agree(run, ppca_run):
    assert run("infer", ppca_run, *SMALL).code == 0
    rows = read(ppca_run)["rows"]
    model = trained.load(ppca_run)
    loading, mean, variance = (np.asarray(leaf, float) for leaf in model.progress.best_state)
    covariance = loading @ loading.T + np.diag(variance)
    x = trained.load_data(model).test[:8]
    log_prob = multivariate_normal(mean, covariance).logpdf(x)
    (exact,) = by_method(rows, "evidence").values()
    assert (exact["method"], exact["kind"]) == ("exact (closed form)", "exact")
    assert exact["log_prob"] == pytest.approx(log_prob.mean(), rel=1e-4)
    assert exact["stderr_images"] == pytest.approx(log_prob.std(ddof=1) / 8**0.5, rel=1e-3)
    (draws,) = by_method(rows, "posterior").values()
    # Means of independent draws would err by 1 / sqrt(ESS) standard deviations.
    assert draws["mean_error"] < 4 / draws["ess"] ** 0.5
    assert not by_method(rows, "gaps")


def test_a_mixture_has_its_exact_evidence_only(run, mixture_run):
    assert run("infer", mixture_run, *SMALL).code == 0
    (row,) = read(mixture_run)["rows"]
    assert (row["table"], row["kind"], row["num_images"]) == ("evidence", "exact", 8)


@pytest.mark.parametrize(
    ("name", "config", "first", "sampler", "last"),
    [
        ("vae", VAEConfig(2, (4,)), "exact (quadrature)", "nuts", "NUTS"),
        ("vae", VAEConfig(3, (4,)), "amortized q (ELBO)", "hmc", "HMC"),
        ("linear_vae", LinearVAEConfig(2), "exact (closed form)", "hmc", "HMC"),
    ],
)
def test_a_model_gets_the_inferences_its_abilities_allow(name, config, first, sampler, last):
    system = systems.build(name, config, ObservationSpec(6, "gaussian"))
    x = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    state = system.init(jax.random.key(0), x)
    names = [
        m.name for m in run_inference.possible_methods(system.generative(state), sampler=sampler)
    ]
    assert (names[0], names[-1]) == (first, last)
    assert sum(name.startswith("exact") for name in names) == first.startswith("exact")
    assert "annealed from the guide" in names
    assert "tempered SMC from the guide" not in names
    chosen = run_inference.possible_methods(system.generative(state), evidence="smc")
    assert "tempered SMC from the guide" in [method.name for method in chosen]


@pytest.mark.slow
@pytest.mark.parametrize("evidence", ["ais", "smc"])
def test_options_of_the_evidence_hold_for_a_run_without_an_encoder(evidence):
    """One row from the prior, by the estimator and with the temperatures that were asked for."""
    latent = REFERENCES["poisson"]().model
    x = simulate(jax.random.key(0), latent, 3)[1].astype(jnp.float32)
    model = GenerativeModel(sample=None, log_evidence=None, latent=latent)
    (method, _) = run_inference.possible_methods(model, evidence=evidence)
    assert (
        method.name
        == {
            "ais": "annealed from the prior",
            "smc": "tempered SMC from the prior",
        }[evidence]
    )
    command = partial(load_script("infer").Infer, Path(), num_chains=2)
    assert command().budget == InferenceBudget(
        64, 32, 2, num_simulations=200, num_reference_draws=1000
    )

    def calls(num):
        setting = Setting(latent, None, command(num_temperatures=num).budget)
        return method.run(jax.random.key(1), setting, x).decoder_calls

    assert calls(4) < calls(8)


@pytest.mark.long
def test_smc_stands_in_for_annealing_with_a_width_of_its_own(run, vae_run):
    options = ["--evidence", "smc", "--num-images", 4, "--num-posteriors", 2, "--num-draws", 40]
    options += ["--num-temperatures", 5, "--num-chains", 4, "--num-simulations", 20]
    done = run("infer", vae_run, *options, "--out", vae_run / "inference" / "smc")
    assert done.code == 0, done.err
    assert "nobody measured" not in done.out
    rows = json.loads((vae_run / "inference" / "smc" / "results.json").read_text())["rows"]
    evidence = by_method(rows, "evidence")
    name = "tempered SMC from the guide"
    assert name in evidence
    assert "annealed from the guide" not in evidence
    total = by_method(rows, "gaps")["log p(x) - ELBO"]
    elbo = evidence["amortized q (ELBO)"]["log_prob"]
    assert total["gap"] == pytest.approx(evidence[name]["log_prob"] - elbo, abs=1e-4)
    (sides,) = (row for row in rows if row["table"] == "sandwich")
    assert (sides["method"], sides["num_images"]) == (name, 20)
    assert sides["width"] > -3 * sides["width_stderr"]


@pytest.mark.parametrize(
    ("posterior", "expected"),
    [
        (PosteriorConfig(), "q* mean-field"),
        (PosteriorConfig("full_rank"), "q* full-rank"),
        (PosteriorConfig("coupling", 1, 4), "q* of the encoder's flow"),
    ],
)
def test_the_gaps_are_those_of_the_encoders_own_family(posterior, expected):
    config = VAEConfig(3, (4,), posterior=posterior)
    system = systems.build("vae", config, ObservationSpec(6, "gaussian"))
    x = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    model = system.generative(system.init(jax.random.key(0), x))
    names = [method.name for method in run_inference.possible_methods(model)]
    assert [name for name in names if name.startswith("q*")] == [expected]


def test_training_images_stand_beside_test_images(vae_results):
    rows = by_method(vae_results["rows"], "generalization")
    gaps = by_method(vae_results["rows"], "gaps")
    assert list(rows) == ["log p(x)", "ELBO", "approximation gap", "amortization gap"]
    for row in rows.values():
        assert row["gap"] == pytest.approx(row["train"] - row["test"], abs=1e-4)
        assert row["stderr"] == pytest.approx(np.hypot(row["stderr_train"], row["stderr_test"]))
    for name in ("approximation gap", "amortization gap"):
        assert rows[name]["test"] == pytest.approx(gaps[name]["gap"], abs=1e-5)
        assert rows[name]["train"] != rows[name]["test"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--num-chains", 1], "num_chains is 1: expected at least 2"),
        (["--num-images", 1], "num_images is 1: expected at least 2"),
        (["--num-posteriors", 100], "num_posteriors is 100: expected at most num_images (64)"),
        (["--num-temperatures", 0], "num_temperatures is 0: expected at least 2"),
        (["--sampler", "gibbs"], "gibbs"),
        (["--evidence", "guess"], "guess"),
        (["--seed", -1], "seed is -1"),
        (["--checkpoint-seconds", -1], "checkpoint_seconds is -1.0: expected at least 0"),
        (["--data", "nope"], "unknown data set 'nope'"),
        (["--data", "wide.npy"], "are 3 x 5 pixels, those of the run"),
        (["--data", "cut.npy"], "truncated"),
    ],
)
def test_what_cannot_be_inferred_is_one_line(
    refused, vae_run, tmp_path, monkeypatch, args, message
):
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", np.ones((20, 3, 5), bool))
    np.save("cut.npy", np.ones((20, 8, 8), bool))
    with open("cut.npy", "r+b") as file:
        file.truncate(500)
    assert message in refused("infer", vae_run, *args, "--out", "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_one_line(refused, tmp_path):
    assert "is no run folder" in refused("infer", tmp_path)
