"""The README: its examples run as they stand there and give known answers; its commands exist."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from jax.scipy.special import betaln
from scipy.stats import multivariate_normal

import bayes_jax
from bayes_jax.estimates import EvidenceKind
from vae_jax.arguments import parse_train
from vae_jax.systems import SYSTEMS
from vae_jax.tables import ABSENT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", _without_comments(), re.M | re.S)
    assert found, f"the README has no section {title!r}"
    return found[1].replace("\0", "#")


def _without_comments() -> str:
    """The README with the # of code hidden, which would look like headings."""
    return re.sub(
        r"^```.*?^```$", lambda code: code[0].replace("#", "\0"), README, flags=re.M | re.S
    )


def code(title: str, language: str = "") -> str:
    """The one code block of a section."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.M | re.S)
    return block


def run(title: str, extra: str = "") -> dict:
    """Execute the Python of a section in a module of its own."""
    names = {"__name__": "readme"}
    exec(compile(code(title, "python") + extra, f"README.md, {title}", "exec"), names)
    return names


@pytest.fixture(scope="module")
def own_decoder() -> list[dict]:
    """The names of the third example after each turn of its loop."""
    turns = []
    lines = code("3. Bring your own decoder", "python")
    names = {"__name__": "readme", "keep": lambda values: turns.append(dict(values))}
    exec(compile(f"{lines}    keep(globals())\n", "README.md", "exec"), names)
    return turns


def check_evidence(names: dict, log_evidence) -> None:
    """A lower bound that is tight: within 4 standard errors on average, nats per observation."""
    evidence = names["evidence"]
    assert evidence.kind == EvidenceKind.LOWER
    error = np.asarray(evidence.lower) - log_evidence
    stderr = np.sqrt(np.mean(np.asarray(evidence.stderr_lower) ** 2) / len(error))
    assert abs(error.mean()) < 4 * stderr
    assert stderr < 0.05


def check_means(names: dict, mean, scale) -> None:
    """Posterior means over 16 chains within 5 standard errors of chain means."""
    z = np.asarray(names["draws"].z, np.float64)[..., 0]
    assert z.shape == (8, 16, 1000)
    chain_means = z.mean(axis=2)
    stderr = chain_means.std(axis=1, ddof=1) / 4
    np.testing.assert_array_less(np.abs(chain_means.mean(axis=1) - mean), 5 * stderr)
    assert stderr.max() < 0.1 * scale


def check_gaps_add_up(names: dict, log_evidence, elbo) -> None:
    """Approximation + amortization = log p(x) - ELBO, in expectation; q* is no worse than q."""
    gaps = names["gaps"]
    total = np.asarray(gaps.approximation + gaps.amortization, np.float64)
    stderr = gaps.stderr_total
    np.testing.assert_array_less(np.abs(total - (log_evidence - elbo)), 5 * stderr)
    assert np.all(gaps.amortization > -3 * gaps.stderr_amortization)


def test_a_decoder_of_ones_own_has_its_closed_form_evidence_posterior_and_gaps(own_decoder):
    names = own_decoder[0]
    x = np.asarray(names["x"], np.float64)
    loading, variance = np.array([1.0, 0.5, -0.3]), 0.25
    covariance = np.outer(loading, loading) + variance * np.eye(3)
    log_evidence = multivariate_normal(np.zeros(3), covariance).logpdf(x)
    posterior_variance = 1 / (1 + loading @ loading / variance)
    posterior_mean = posterior_variance * x @ loading / variance
    check_evidence(names, log_evidence)
    check_means(names, posterior_mean, posterior_variance**0.5)
    # KL(N(0, 1) || p(z | x)): the guide is the prior.
    ratio = 1 / posterior_variance
    gap = 0.5 * (ratio - 1 - np.log(ratio) + posterior_mean**2 / posterior_variance)
    check_gaps_add_up(names, log_evidence, log_evidence - gap)
    # q* can be exact here, so the approximation gap is none.
    gaps = names["gaps"]
    np.testing.assert_array_less(np.abs(gaps.approximation), 5 * gaps.stderr_approximation + 0.02)


def test_a_numpyro_program_has_its_closed_form_evidence_and_posterior(own_decoder):
    names = own_decoder[1]
    heads = np.asarray(names["x"], np.float64).sum(axis=1)
    tails = 10 - heads
    log_evidence = np.asarray(betaln(2 + heads, 3 + tails) - betaln(2.0, 3.0))
    check_evidence(names, log_evidence)
    # z is the logit of the bias; its posterior by a sum over a fine grid.
    z = np.linspace(-12, 12, 20_001)
    log_density = np.outer(2 + heads, -np.log1p(np.exp(-z))) - np.outer(
        3 + tails, np.log1p(np.exp(z))
    )
    weights = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ z
    check_means(names, mean, np.sqrt(weights @ z**2 - mean**2).min())
    # The guide is N(0, 1): E_q[log p(x, z) - log q(z)] on the same grid.
    guide = np.exp(-0.5 * z**2)
    guide /= guide.sum()
    log_joint = log_density - betaln(2.0, 3.0)
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    check_gaps_add_up(names, log_evidence, log_joint @ guide + entropy)


def test_the_third_example_is_short():
    assert len(code("3. Bring your own decoder", "python").strip().splitlines()) <= 20


@pytest.mark.slow
def test_pure_functions_give_exact_and_bounded_evidence_in_the_same_nats():
    names = run(
        "2. As pure functions",
        "values = {k: m.log_evidence(key_evidence, digits.test[:16])"
        " for k, m in {'ppca': ppca, 'vae': vae}.items()}",
    )
    digits, values = names["digits"], names["values"]
    assert values["ppca"].kind == EvidenceKind.EXACT
    assert values["vae"].kind == EvidenceKind.LOWER
    # The maximum likelihood PPCA by NumPy, in float64, as one multivariate normal.
    train = digits.train.astype(np.float64)
    eigenvalues, directions = np.linalg.eigh(np.cov(train.T, bias=True))
    eigenvalues[:-16] = eigenvalues[:-16].mean()
    covariance = directions @ np.diag(eigenvalues) @ directions.T
    oracle = multivariate_normal(train.mean(axis=0), covariance).logpdf(digits.test[:16])
    np.testing.assert_allclose(values["ppca"].lower, oracle, atol=0.01)
    # Annealing starts at the guide and bounds more tightly than it, image by image.
    vae, key = names["vae"], names["key_evidence"]
    elbo = bayes_jax.elbo(key, vae.latent, digits.test[:16], guide=vae.guide)
    error = 4 * np.hypot(values["vae"].stderr_lower, elbo.stderr_lower)
    np.testing.assert_array_less(elbo.lower, values["vae"].lower + error)
    history = [report.validation["objective"] for report in names["fitted"].history]
    assert len(history) == 5
    assert history[-1] > history[0]


def commands(title: str) -> list[list[str]]:
    lines = [line.split("#")[0] for line in code(title).splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


def test_the_quick_start_is_three_lines_that_exist():
    install, test, accelerator = commands("Quick start")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert install == ["make", "compare"]
    assert test == ["make", "test"]
    assert {"compare", "test"} <= {*targets}
    assert accelerator[-1] == ".[cuda13]"


def test_every_make_target_it_names_exists():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = {*re.findall(r"`make ([a-z-]+)`", README)}
    assert {"compare", "test-stacks"} <= named <= {*targets}


def test_its_commands_are_understood():
    for python, script, *arguments in commands("1. From the command line") + commands("Text"):
        assert python == ".venv/bin/python"
        assert (ROOT / script).is_file()
        if script == "scripts/train.py":
            assert parse_train(arguments).name in SYSTEMS
    assert {*re.findall(r"`scripts/\w+\.py`", README)} <= {
        f"`scripts/{path.name}`" for path in (ROOT / "scripts").glob("*.py")
    }


def test_it_names_every_system():
    assert all(name in section("1. From the command line") for name in SYSTEMS)


def test_it_explains_every_kind_of_evidence():
    kinds = re.findall(r"^\| `(\w+)` \|", section("What a number claims"), re.M)
    assert kinds == [kind.name.lower() for kind in EvidenceKind]


def test_the_files_it_names_exist():
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
    for name in re.findall(r"(?<![\w./])([\w]+\.py)\b", section("The house")):
        assert list(ROOT.glob(f"*/{name}")), name
    for name in re.findall(r"^ *(\w+/)", section("The house"), re.M):
        assert [path for path in (ROOT / name, *ROOT.glob(f"*/{name}")) if path.is_dir()], name


def test_its_numbers_are_those_of_the_file_it_names():
    block = README.split("<!-- results -->")[1].split("<!-- /results -->")[0]
    path = re.search(r"\((benchmarks/results/\S+\.json)\)", block).group(1)
    content = json.loads((ROOT / path).read_text())
    assert content["meta"]["git"] in block
    shown = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in block.splitlines()
        if line.startswith("| ") and "---" not in line and "log p(x)" not in line
    ]
    rows = content["rows"]
    assert len(shown) == len(rows)
    for cells, row in zip(shown, rows, strict=True):
        assert cells[0] == (row["model"] if row["table"] == "models" else row["method"])
        if row["log_prob"] is not None:
            value = cells[1].split(" ± ")[0]
            assert abs(float(value) - row["log_prob"]) <= 0.5 * 10.0 ** -len(value.split(".")[1])


def test_its_systems_are_the_rows_of_the_file_it_names():
    block = README.split("<!-- systems -->")[1].split("<!-- /systems -->")[0]
    path = re.search(r"\((benchmarks/results/\S+\.json)\)", block).group(1)
    content = json.loads((ROOT / path).read_text())
    assert content["meta"]["git"] in block
    rows = [row for row in content["rows"] if row["table"] == "models"]
    shown = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in block.splitlines()
        if line.startswith("| ")
    ][1:]
    assert len(shown) == len(rows)
    for (model, value, how, _, difference, _, seconds), row in zip(shown, rows, strict=True):
        assert (model, how) == (row["model"], row["method"])
        assert value == f"{row['log_prob']:.2f} ± {row['stderr']:.2f}"
        assert difference == f"{row['difference']:.2f} ± {row['difference_stderr']:.2f}"
        assert seconds == f"{row['train_seconds']:.1f}"


@pytest.mark.parametrize(
    "name",
    [
        "sampling",
        "evidence",
        "second_start",
        "variants",
        "sharding",
        "reliability",
    ],
)
def test_its_measured_figures_are_those_of_the_file_it_names(name):
    block = README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    paths = re.findall(r"\((benchmarks/results/\S+\.json)\)", block)
    assert paths
    for path in paths:
        meta = json.loads((ROOT / path).read_text())["meta"]
        assert meta["summary"] in " ".join(block.split())
        assert meta["git"] in block


def table_of(block):
    """The cells of each row below the head."""
    rows = [line for line in block.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows if "|---" not in row][
        1:
    ]


def test_its_rates_of_training_are_those_of_the_files_it_names():
    block = README.split("<!-- training -->")[1].split("<!-- /training -->")[0]
    columns = []
    for path in re.findall(r"\((benchmarks/results/\S+\.json)\)", block):
        content = json.loads((ROOT / path).read_text())
        assert content["meta"]["git"] in " ".join(block.split())
        for size in content["meta"]["config"]["batch_sizes"]:
            rows = [row for row in content["rows"] if row["batch_size"] == size]
            columns.append({row["method"]: row for row in rows})

    def cell(rows, label):
        name, _, share = label.partition(", of the ")
        if share:
            value = rows[name].get(SHARES[share])
            return "\N{EN DASH}" if value is None else f"{value:.0%}"
        rate, ours = (rows[method]["steps_per_second"] for method in (label, "ours"))
        return f"{rate:,.0f}" + (f" ({ours / rate:.2f} x)" if label != "ours" else "")

    shown = table_of(block)
    assert {label for label, *_ in shown} >= {*columns[0]}
    for label, *cells in shown:
        assert cells == [cell(rows, label) for rows in columns]


SHARES = {
    "products' ceiling": "share_of_gemm",
    "roofline": "share_of_roofline",
    "roofline of its own products": "share_of_own_products",
}


def block_and_rows(name):
    """A marked block of the README, and the rows of the file it names."""
    block = README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    path = re.search(r"\((benchmarks/results/\S+\.json)\)", block).group(1)
    content = json.loads((ROOT / path).read_text())
    assert content["meta"]["git"] in block
    assert f"{content['meta']['seconds']:.0f} s" in block
    return block, content["rows"]


def test_its_faces_are_the_rows_of_the_file_it_names():
    block, rows = block_and_rows("faces")
    shown = [cells[1:] for cells in table_of(block)]
    of_sets = [rows[: len(shown)], rows[len(shown) :]]
    assert [row["data"] for row in rows] == ["freyfaces"] * len(shown) + ["olivetti"] * len(shown)
    for cells, *pair in zip(shown, *of_sets, strict=True):
        assert cells == [
            text
            for row in pair
            for text in (
                f"{row['bits_per_dim']:.3f} ± {row['stderr']:.3f}",
                str(row["size"]),
                f"{row['train_seconds']:.0f}",
            )
        ]


def test_its_detectors_are_the_means_of_the_file_it_names():
    block, rows = block_and_rows("anomalies")
    means = [row for row in rows if row["data"] == "mean"]
    columns = [cells[1:] for cells in table_of(block)]
    for column, protocol in enumerate(("normal", "contaminated")):
        shown = [cells[column] for cells in columns if cells[column]]
        assert sorted(shown) == sorted(
            f"{100 * row['roc_auc']:.1f} ({100 * row['average_precision']:.1f})"
            for row in means
            if row["protocol"] == protocol
        )
    best = [row for row in means if row["recommended"]]
    forest = [row for row in means if row["score"] == "isolation_forest"]
    ahead = [100 * (one["roc_auc"] - two["roc_auc"]) for one, two in zip(best, forest, strict=True)]
    assert ahead[0] >= 4
    assert ahead[1] >= -2


def test_its_odd_images_are_the_rows_of_the_file_it_names():
    block, rows = block_and_rows("odd-images")
    cases = (
        "digits without one: mean",
        "kmnist under a model of mnist",
        "mnist under a model of kmnist",
    )
    shown = table_of(block)
    for model, label in {"vae": "VAE", "mixture": "Bernoulli mixture"}.items():
        own = [cells[1:] for cells in shown if cells[0].startswith(label)]
        found = {}
        for row in rows:
            if row["model"] == model and row["data"] in cases:
                found.setdefault(row["score"], {})[row["data"]] = f"{row['roc_auc']:.3f}"
        known = [[of_case[case] for case in cases] for of_case in found.values()]
        assert own
        assert all(cells in known for cells in own)


def test_its_reproductions_are_rows_that_were_run():
    block = README.split("<!-- reproduced -->")[1].split("<!-- /reproduced -->")[0]
    files = re.findall(r"\((benchmarks/results/\S+\.json)\)", block)
    contents = [json.loads((ROOT / path).read_text()) for path in files]
    assert all(content["meta"]["git"] in block for content in contents)
    # A later file has the newer run of the same name.
    rows = {row["model"]: row for content in contents for row in content["rows"]}
    shown = table_of(block)
    assert len(shown) == len(rows)
    for model, *cells in shown:
        row = rows[model]
        assert cells == [
            f"{row['nll']:.2f} ± {row['stderr']:.2f}",
            f"{row['published']:.2f}",
            str(row["num_samples"] or ABSENT),
            str(row["active_units"] or ABSENT),
            f"{row['seconds']:.0f}",
            row["device"],
            row["remark"],
        ]


def test_its_models_of_sentences_are_the_rows_of_the_files_it_names():
    block = README.split("<!-- sentences -->")[1].split("<!-- /sentences -->")[0]
    files = re.findall(r"\((benchmarks/results/\S+\.json)\)", block)
    contents = [json.loads((ROOT / path).read_text()) for path in files]
    assert all(content["meta"]["git"] in block for content in contents)
    shown = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in block.splitlines()
        if line.startswith("| ") and "perplexity" not in line
    ]
    rows = [row for content in contents for row in content["rows"]]
    assert len(shown) == len(rows)
    for (model, value, over, kind, pairs, bleu, fluency, parsed, seconds), row in zip(
        shown, rows, strict=True
    ):
        assert (model, kind) == (row["model"], row.get("kind", ""))
        assert [pairs, bleu] == [f"{row[name]:.2f}" for name in ("distinct_2", "self_bleu")]
        assert fluency == f"{row['ngram_perplexity']:.0f}"
        assert parsed == ("" if row["parsed"] is None else f"{100 * row['parsed']:.1f}")
        if "perplexity" in row:
            assert value == f"{row['perplexity']:.1f} ± {row['stderr_perplexity']:.1f}"
            assert over == f"{100 * row['over_rival']:+.1f} ± {100 * row['stderr_over_rival']:.1f}"
            assert seconds == f"{row['seconds']:.0f}"
