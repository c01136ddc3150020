"""Draw what a trained run draws, and show what its latents mean; of a run on text, sentences.

python scripts/sample.py runs/vae                    about 30 s on a CPU; files in runs/vae/figures
python scripts/sample.py runs/mixture --num 200 --seed 1 --out pictures
python scripts/sample.py runs/text_vae --between "this is it" "the name is bound"
python scripts/sample.py runs/ngram --num 10 --prefix "if the"

Of images: samples.png, and as far as the model can: reconstructions.png; interpolations.png
between test images; traversals.png, one active latent at a time; halves.png, lower halves drawn
given the upper ones; walk.gif, a round trip through the latent space. Of text: samples.txt.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from vae_jax import console
from vae_jax.configs import ConfigError


@dataclass(frozen=True)
class Sample:
    """Draw images or sentences from a trained run.

    Attributes:
        run: the folder of the run, the --out of train.py.
        num: how many samples.
        seed: of the samples, and of the images or sentences that are chosen.
        data_dir: folder of the data sets; that of the run if unset.
        out: where the PNG files go; RUN/figures if unset. Of a run on text where samples.txt goes;
            RUN if unset.
        prefix: of a run on text: sentences that begin so.
        near: of a text_vae: sentences near this one, by way of z.
        between: of a text_vae: the way from one sentence to another; two test sentences if unset.
    """

    run: tyro.conf.Positional[Path]
    num: int = 100
    seed: int = 0
    data_dir: str | None = None
    out: Path | None = None
    prefix: str | None = None
    near: str | None = None
    between: tuple[str, str] | None = None

    def __post_init__(self):
        for field, least in (("num", 1), ("seed", 0)):
            if getattr(self, field) < least:
                value = getattr(self, field)
                raise ConfigError(f"{field} is {value}: expected at least {least}")

    @property
    def asked_of_text(self) -> list[str]:
        """Options that only a run on text has, as far as they are given."""
        options = ("prefix", "near", "between")
        return [name for name in options if getattr(self, name) is not None]


def main(command: Sample) -> None:
    """Draw every figure the model can give, then write them; or sentences."""
    from vae_jax import trained
    from vae_jax.data.kinds import Corpus

    run = trained.load(command.run, script="sample.py")
    console.banner(seed=command.seed, config=run.config)
    for line in run.warnings:
        console.warn(line)
    if isinstance(run.seen, Corpus):
        return write_sentences(command, run)
    if command.asked_of_text:
        raise ConfigError(f"{command.asked_of_text[0]} on a run on images: expected one on text")
    return write_images(command, run)


def write_images(command: Sample, run) -> None:
    """Draw every figure that the model can give, then write them."""
    from vae_jax import records, runs

    folder, files = command.out or command.run / runs.FIGURES, draw(command, run)
    records.write_files(folder, files)
    for name in files:
        console.show(str(folder / name))


def draw(command: Sample, run) -> dict[str, bytes]:
    """The content of each file, by its name; a line for each that the model cannot give."""
    import jax

    from bayes_jax import InputError
    from vae_jax import report, sample_figures, trained

    key_samples, *keys = jax.random.split(
        jax.random.key(command.seed), 1 + len(sample_figures.IMAGES)
    )
    x = trained.load_data(run, data_dir=command.data_dir).test.astype("float32")
    white = sample_figures.brightest(x, run.seen.spec)
    subject = sample_figures.Subject(run.generative, run.config.system, run.seen.shape, white)
    drawn = sample_figures.samples(key_samples, subject, num=command.num)
    files = {"samples.png": report.png(drawn)}
    for key, (name, make) in zip(keys, sample_figures.IMAGES.items(), strict=True):
        try:
            files[name] = make(key, subject, x)
        except InputError as error:
            console.message(f"no {name}: {error}")
    return files


def write_sentences(command: Sample, run) -> None:
    """Print what was asked for, or samples and a way between two sentences; and keep it."""
    from vae_jax import runs

    vocabulary = run.seen.vocabulary
    for sentence in (command.prefix, command.near, *(command.between or ())):
        unseen = vocabulary.unseen(sentence or "")
        if unseen and vocabulary.has_unknown:
            console.warn(f"never seen in training, so read as <unk>: {', '.join(unseen)}")
    text = "\n".join(part.text() for part in sentences(command, run))
    console.show(text)
    path = (command.out or command.run) / "samples.txt"
    runs.write_bytes(path, text.encode())
    console.show(str(path))


def sentences(command: Sample, run) -> list:
    """The parts of samples.txt."""
    import jax

    from vae_jax import sample_sentences

    key_samples, key_pairs = jax.random.split(jax.random.key(command.seed))
    parts = []
    if command.prefix is not None:
        parts += [sample_sentences.completions(key_samples, run, command.prefix, num=command.num)]
    if command.near is not None:
        parts += [sample_sentences.neighbours(key_samples, run, command.near, num=command.num)]
    if command.between is not None:
        parts += [sample_sentences.between(run, *command.between)]
    if parts:
        return parts
    parts = [sample_sentences.samples(key_samples, run, num=command.num)]
    if sample_sentences.has_guide(run):
        pair = sample_sentences.random_pair(key_pairs, run, data_dir=command.data_dir)
        parts += [sample_sentences.between(run, *pair)]
    return parts


if __name__ == "__main__":
    console.run_script(Sample, main)
