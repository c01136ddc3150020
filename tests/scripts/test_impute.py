"""impute.py: every way that a model allows, and a clear line where it allows none."""

import json

import pytest

QUICK = ["--num-images", 4, "--num-imputations", 6, "--num-chains", 2, "--num-draws", 20]
FIGURES = ["imputations_mcmc.png", "imputations_metropolis.png", "imputations_pseudo_gibbs.png"]


def rows_of(folder):
    return json.loads((folder / "results.json").read_text())["rows"]


@pytest.fixture(scope="module")
def hmm_run(run, tmp_path_factory):
    """A density without latent."""
    folder = tmp_path_factory.mktemp("runs") / "hmm"
    assert run("train", "hmm", "--num-states", 2, "--out", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def report(run, vae_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imputation")
    return run("impute", vae_run, *QUICK, "--out", folder), folder


def test_help_is_quick(help_of):
    assert "--hidden" in help_of("impute")


def test_a_vae_is_asked_in_every_way_but_the_exact_one(report):
    done, folder = report
    assert done.code == 0
    assert "Hidden pixels" in done.out
    assert f"report: {folder / 'report.html'}" in done.out
    rows = rows_of(folder)
    names = ["MCMC on z", "Metropolis within Gibbs", "pseudo-Gibbs"]
    assert [row["method"] for row in rows] == names
    for row in rows:
        assert row["nll"] == -row["log_prob"] > 0
        assert 0 < row["rmse"] < 1
        assert 0.5 < row["coverage"] < 1
        assert (row["kind"], row["num_images"], row["num_imputations"]) == ("estimate", 4, 6)
    found = sorted(path.name for path in (folder / "figures").iterdir())
    assert found == [*FIGURES, "means.png"]


def test_a_mixture_imputes_in_closed_form_and_the_seed_decides(run, mixture_run, tmp_path):
    found = []
    for index, seed in enumerate((0, 0, 1)):
        args = [*QUICK, "--hidden", "random", "--seed", seed, "--out", tmp_path / str(index)]
        assert run("impute", mixture_run, *args).code == 0
        (row,) = rows_of(tmp_path / str(index))
        assert (row["kind"], row["rhat"]) == ("exact", None)
        found.append({key: row[key] for key in ("rmse", "nll", "coverage")})
    assert found[0] == found[1] != found[2]


def test_ppca_by_one_way_writes_into_the_run(run, ppca_run):
    args = [*QUICK, "--method", "exact", "--hidden", "block", "--share", 0.3]
    assert run("impute", ppca_run, *args).code == 0
    folder = ppca_run / "imputation"
    assert [row["method"] for row in rows_of(folder)] == ["exact (closed form)"]
    assert [path.name for path in (folder / "figures").iterdir()] == ["imputations_exact.png"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--share", 0], "share is 0.0: expected above 0, at most 1"),
        (["--share", 0.001], "share is 0.001: expected enough to hide something of 8 x 8 pixels"),
        (["--num-images", 0], "num_images is 0: expected at least 1"),
        (["--num-draws", 3], "num_draws is 3: expected at least 4"),
        (["--num-imputations", 2001], "num_imputations is 2001: expected 1 to 2000"),
        (["--method", "exact"], "method is 'exact': vae allows mcmc, metropolis, pseudo_gibbs"),
    ],
)
def test_a_wrong_option_is_one_line(refused, vae_run, tmp_path, args, message):
    assert message in refused("impute", vae_run, *args, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_latent_is_one_line(refused, hmm_run, tmp_path):
    assert "hmm cannot impute: it has neither a continuous latent nor" in refused(
        "impute", hmm_run, "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()
