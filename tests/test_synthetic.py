import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import matthews_corrcoef

from oneway.errors import InputError
from oneway.synthetic.faces import ATTRIBUTES, LANDMARKS, Face, draw, sample

pytestmark = pytest.mark.whole

HAIR = {"Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"}
PASSING = {"Smiling", "Mouth_Slightly_Open", "Eyeglasses", "Wearing_Hat", "Wearing_Lipstick", "Bangs"}
numbers = st.integers(0, 2**40)
faces = st.builds(sample, numbers, st.integers(0, 2**31), st.integers(0, 2**31))


@pytest.fixture(scope="module")
def people() -> list[Face]:
    return [sample(3, identity, 0) for identity in range(3000)]


def digest(seed: int, identity: int, shot: int, size: int) -> str:
    return sha256(draw(sample(seed, identity, shot), size).tobytes()).hexdigest()


def test_a_picture_depends_on_nothing_but_its_numbers() -> None:
    wanted = [(5, 1, 2, 48), (0, 0, 0, 64), (5, 2, 1, 31)]
    first = [digest(*key) for key in wanted]
    np.random.seed(1)  # noqa: NPY002
    assert [digest(*key) for key in wanted[::-1]] == first[::-1]
    script = (
        "from hashlib import sha256; from oneway.synthetic.faces import draw, sample\n"
        f"for *key, size in {wanted}: print(sha256(draw(sample(*key), size).tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == first


@settings(max_examples=40, deadline=None)
@given(numbers, st.integers(0, 2**31), st.integers(0, 2**31))
def test_every_number_changes_the_face(seed: int, identity: int, shot: int) -> None:
    face = sample(seed, identity, shot)
    assert sample(seed, identity, shot) == face
    assert sample(seed, identity, shot + 1).shot != face.shot
    assert sample(seed, identity + 1, shot).person != face.person
    assert sample(seed + 1, identity, shot).person != face.person


@settings(max_examples=60, deadline=None)
@given(faces, st.integers(16, 200))
def test_any_size_gives_a_full_rgb_picture(face: Face, size: int) -> None:
    picture = draw(face, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.std() > 10


@settings(max_examples=20, deadline=None)
@given(faces, st.sampled_from([16, 32, 64]))
def test_a_small_picture_is_a_large_one_averaged(face: Face, size: int) -> None:
    """Layers that share a pixel's edge are blended one after another, which costs some of 255 levels."""
    large = draw(face, 256).astype(float)
    averaged = large.reshape(size, 256 // size, size, 256 // size, 3).mean((1, 3))
    assert np.abs(averaged - draw(face, size)).mean() < 120 / size


def test_attributes_are_as_uneven_as_in_the_world(people: list[Face]) -> None:
    share = np.mean([face.labels() for face in people], axis=0)
    assert share.min() > 0.03
    assert share.max() < 0.70
    assert len(ATTRIBUTES) == len(set(ATTRIBUTES)) == len(share)


def test_labels_do_not_contradict_each_other(people: list[Face]) -> None:
    for face in people:
        names = face.attributes
        assert names <= set(ATTRIBUTES)
        assert [name in names for name in ATTRIBUTES] == face.labels().tolist()
        assert len(names & HAIR) <= 1
        assert not ("Bald" in names and names & (HAIR | {"Bangs", "Wavy_Hair"}))
        assert not ({"Bangs", "Wearing_Hat"} <= names)


@settings(max_examples=40, deadline=None)
@given(numbers, st.integers(0, 2**31))
def test_a_life_is_the_same_in_every_shot(seed: int, identity: int) -> None:
    shots = [sample(seed, identity, shot) for shot in range(6)]
    assert all(face.person == shots[0].person for face in shots)
    assert len({frozenset(face.attributes - PASSING) for face in shots}) == 1


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_is_drawn(name: str, people: list[Face]) -> None:
    """The same shot with and without the attribute must differ where a 64 pixel picture shows it."""
    excluded = {"Bald": {"Bangs", "Wavy_Hair", *HAIR}, "Wearing_Hat": {"Bangs"}}
    excluded |= {hair: (HAIR | {"Bald"}) - {hair} for hair in HAIR}
    excluded |= {"Bangs": {"Bald", "Wearing_Hat"}, "Wavy_Hair": {"Bald"}}
    for face in people[:20]:
        without = face.attributes - excluded.get(name, set()) - {name}
        plain, shown = (draw(replace(face, attributes=names), 64) for names in (without, without | {name}))
        assert (np.abs(plain.astype(int) - shown).max(-1) > 12).sum() >= 5


def test_every_attribute_can_be_read_from_pixels_of_strangers() -> None:
    shots = [sample(11, identity, shot) for identity in range(1000) for shot in range(2)]
    pixels = np.stack([draw(face, 32)[4:28, 5:27].ravel() for face in shots]).astype(np.float32) / 255 - 0.5
    features = np.concatenate([pixels, pixels**2], 1)  # the squares tell middling brown from black and blond
    labels = np.stack([face.labels() for face in shots])
    known, strangers = slice(0, 1500), slice(1500, None)
    share = labels[known].mean(0)
    probe = Ridge(alpha=20.0, solver="cholesky").fit(features[known], labels[known] - share)
    rank = probe.predict(features[strangers])
    guess = rank > np.quantile(rank, 1 - share, axis=0).diagonal()  # as many as there were among the known
    skill = [matthews_corrcoef(*pair) for pair in zip(labels[strangers].T, guess.T, strict=True)]
    assert min(skill) > 0.2, dict(zip(ATTRIBUTES, skill, strict=True))


def test_shots_of_one_person_resemble_each_other_more() -> None:
    pairs = [[draw(sample(7, identity, shot), 32)[8:26, 8:24] for shot in (0, 1)] for identity in range(80)]
    shots = np.array(pairs)
    first, second = shots.reshape(80, 2, -1).astype(float).transpose(1, 0, 2)
    distance = np.abs(first[:, None] - second[None]).mean(-1)
    assert np.mean(distance.argmin(1) == np.arange(80)) > 0.25  # chance is 1 in 80
    assert np.diag(distance).mean() < 0.7 * distance.mean()


def test_landmarks_lie_where_the_average_face_has_them() -> None:
    (left, right, nose, mouth_left, mouth_right) = LANDMARKS
    assert left[0] < nose[0] < right[0]
    assert left[1] == right[1] < nose[1] < mouth_left[1] == mouth_right[1]
    average = np.mean([draw(sample(2, identity, 0), 64) for identity in range(150)], axis=(0, 3))
    column, row = (np.array(left) * 64).astype(int)
    assert average[row, column] < average[row + 6, column] - 10  # an eye is darker than the cheek below it


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_negative_numbers_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="must be 0 or more, not -1; count from 0"):
        sample(*numbers)


def test_a_tiny_size_is_refused() -> None:
    with pytest.raises(InputError, match="size must be 16 pixels or more, not 15; draw larger"):
        draw(sample(0, 0, 0), 15)
