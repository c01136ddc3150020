"""Faces: whole stretches of film and whole people are held out, and other files are refused."""

import numpy as np
import pytest

from bayes_jax.errors import InputError
from vae_jax.configs import DataConfig
from vae_jax.data import arrays, faces, sources
from vae_jax.data.raw import LEFT_OUT

FILM = np.random.default_rng(0).integers(0, 256, (1965, 28, 20), dtype=np.uint8)
PICTURES = np.random.default_rng(1).integers(0, 256, (400, 64, 64), dtype=np.uint8)
PEOPLE = np.random.default_rng(2).permutation(np.repeat(np.arange(40), 10))
NAMES = ("freyfaces", "olivetti")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Files of both sets where they belong, and no other folder of this machine."""
    import pooch

    monkeypatch.delenv(sources.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    (tmp_path / faces.FOLDER).mkdir()
    np.save(tmp_path / faces.FOLDER / "freyfaces.npy", FILM)
    np.savez(tmp_path / faces.FOLDER / "olivetti.npz", images=PICTURES, person=PEOPLE)
    return tmp_path


@pytest.mark.parametrize("seed", [0, 3])
def test_people_are_held_out_whole(folder, seed):
    raw = sources.load_raw("olivetti", str(folder))
    np.testing.assert_array_equal(raw.images, PICTURES)
    parts = arrays.split_indices(400, seed=seed, groups=raw.groups)
    people = [{*PEOPLE[part]} for part in parts]
    assert [len(part) for part in parts] == [280, 40, 80]
    assert [len(part) for part in people] == [28, 4, 8]
    assert len(set.union(*people)) == 40
    other = arrays.split_indices(400, seed=seed + 1, groups=raw.groups)
    assert {*PEOPLE[other[2]]} != people[2]


def test_no_test_frame_stands_near_a_frame_of_another_part(folder):
    raw = sources.load_raw("freyfaces", str(folder))
    parts = arrays.split_indices(len(raw.images), seed=0, groups=raw.groups)
    assert [len(part) for part in parts] == [28 * 44, 4 * 44, 8 * 44]
    for index, part in enumerate(parts):
        others = np.concatenate(parts[:index] + parts[index + 1 :])
        assert np.abs(part[:, None] - others).min() == faces.GAP + 1
    np.testing.assert_array_equal(np.diff(raw.groups[np.concatenate(parts)]) == LEFT_OUT, False)
    assert len(np.concatenate(parts)) == np.sum(raw.groups != LEFT_OUT)


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_loaded_by_its_name(folder, name):
    """By the same split under every head, and not with people as its classes."""
    levels, unit = (
        arrays.load(DataConfig(name, head, str(folder)))
        for head in ("discretized_logistic", "gaussian")
    )
    assert levels.test_labels is None
    for part in ("train", "validation", "test"):
        middle = 256 * getattr(unit, part) - 0.5
        np.testing.assert_allclose(middle, getattr(levels, part), atol=0.501, rtol=0)


def test_frames_may_be_rows(folder):
    np.save(folder / faces.FOLDER / "freyfaces.npy", FILM.reshape(1965, -1))
    np.testing.assert_array_equal(sources.load_raw("freyfaces", str(folder)).images, FILM)


def refused(name, folder):
    """The message of the InputError, which must be one line."""
    with pytest.raises(InputError) as caught:
        sources.load_raw(name, str(folder))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


BAD_FILMS = {
    "dtype": (FILM.astype(np.float32), r"float32 of shape \(1965, 28, 20\), expected uint8"),
    "shape": (FILM.transpose(0, 2, 1), r"shape \(1965, 20, 28\), expected uint8 \(1965, 28, 20\)"),
    "frames": (FILM[:-1], r"shape \(1964, 28, 20\)"),
    "objects": (np.array([{}]), "Python objects"),
}


@pytest.mark.parametrize("case", BAD_FILMS)
def test_another_film_is_refused(folder, case):
    content, expected = BAD_FILMS[case]
    path = folder / faces.FOLDER / "freyfaces.npy"
    np.save(path, content, allow_pickle=True)
    with pytest.raises(InputError, match=expected):
        sources.load_raw("freyfaces", str(folder))
    assert str(path) in refused("freyfaces", folder)


OTHER_PEOPLE = np.where(PEOPLE == 39, 38, PEOPLE)
BAD_PEOPLE = {
    "no person": ({"images": PICTURES}, "lacks person"),
    "nothing": ({"x": PICTURES}, "lacks images, person"),
    "twenty of one": ({"images": PICTURES, "person": OTHER_PEOPLE}, "expected each of 0 to 39 10"),
    "fewer": ({"images": PICTURES, "person": PEOPLE[1:]}, r"\(399,\), expected each of"),
    "text": ({"images": PICTURES, "person": PEOPLE.astype(str)}, "expected each of"),
    "size": ({"images": PICTURES[:, ::2], "person": PEOPLE}, r"\(400, 32, 64\)"),
}


@pytest.mark.parametrize("case", BAD_PEOPLE)
def test_other_people_are_refused(folder, case):
    content, expected = BAD_PEOPLE[case]
    np.savez(folder / faces.FOLDER / "olivetti.npz", **content)
    with pytest.raises(InputError, match=expected):
        sources.load_raw("olivetti", str(folder))
    assert str(folder / faces.FOLDER / "olivetti.npz") in refused("olivetti", folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_refused(folder, name):
    (path,) = (folder / faces.FOLDER).glob(f"{name}.*")
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refused(name, folder)


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_file_says_where_to_put_it(folder, name):
    (path,) = (folder / faces.FOLDER).glob(f"{name}.*")
    path.unlink()
    message = refused(name, folder)
    assert message.startswith(f"no {path.name} in {folder}, ")
    assert message.endswith(f"put that file into {folder / faces.FOLDER}")


def test_the_sets_are_what_they_were(data_dir):
    """Their mean levels, and that neighbours on the film are alike and people differ."""
    film, pictures = (sources.load_raw(name, str(data_dir)) for name in NAMES)
    assert film.images.mean() == pytest.approx(154.46, abs=0.1)
    near, far = (np.std(film.images[lag:] - 1.0 * film.images[:-lag]) for lag in (1, 300))
    assert near < 0.6 * far
    levels = pictures.images.astype(float)
    within = [levels[pictures.groups == person].std(axis=0).mean() for person in range(40)]
    assert np.mean(within) < 0.8 * levels.std(axis=0).mean()
