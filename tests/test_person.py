"""People: the sampling follows its tables, and one change changes one thing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from facegan.config import UsageError
from facegan.people import population
from facegan.people.head import expression_names, head_shapes, local_pairs
from facegan.people.labels import hair_colour
from facegan.people.person import CHOICES, RANGES, Detail, Person

COUNT = 1500
LEAST_P = 1e-3  # the seed is fixed, so this passes or fails for good


def person_of(seed: int) -> Person:
    return Person.sample(np.random.default_rng(seed))


@pytest.fixture(scope="session")
def crowd() -> list[Person]:
    return [Person.sample(np.random.default_rng([5, number])) for number in range(COUNT)]


def p_value(seen: list[int], shares: list[float]) -> float:
    expected = np.array(shares) / sum(shares) * sum(seen)
    return float(chisquare(seen, expected).pvalue)


def test_a_person_is_a_function_of_the_generator() -> None:
    assert person_of(3) == person_of(3)
    assert person_of(3) != person_of(4)


@pytest.mark.parametrize("table", [name for name in vars(population) if name.endswith("TABLE")])
def test_shares_of_tables_sum_to_one(table: str) -> None:
    assert sum(row[-1] for row in getattr(population, table)) == pytest.approx(1)


def test_shares_of_choices_sum_to_one_and_name_what_there_is() -> None:
    for name, kind in {
        "HAIR_MALE": "hair_style", "HAIR_FEMALE": "hair_style", "HAIR_MALE_KINKY": "hair_style",
        "HAIR_FEMALE_KINKY": "hair_style", "BEARDS_MALE": "beard", "GLASSES_WORN": "glasses",
        "HATS_MALE": "hat", "HATS_FEMALE": "hat", "CLOTHES_WORN": "clothes", "BACKDROPS_SEEN": "backdrop",
    }.items():  # fmt: skip
        shares = getattr(population, name)
        assert sum(shares.values()) == pytest.approx(1), name
        assert set(shares) <= set(CHOICES[kind]), name


def test_ages_follow_their_table(crowd: list[Person]) -> None:
    edges = [row[0] for row in population.AGE_TABLE] + [population.AGE_TABLE[-1][1]]
    seen, _ = np.histogram([person.age_years for person in crowd], edges)
    assert seen.sum() == COUNT  # nobody is younger than 18
    assert p_value(list(seen), [row[2] for row in population.AGE_TABLE]) > LEAST_P


def test_half_of_the_people_are_of_each_gender(crowd: list[Person]) -> None:
    male = sum(person.is_male for person in crowd)
    assert p_value([COUNT - male, male], [row[3] for row in population.GENDER_TABLE]) > LEAST_P


def test_no_ancestry_is_preferred(crowd: list[Person]) -> None:
    seen = np.bincount([int(np.argmax(person.ancestry)) for person in crowd], minlength=3)
    assert p_value(list(seen), [1, 1, 1]) > LEAST_P
    assert np.allclose([sum(person.ancestry) for person in crowd], 1)


def test_every_third_of_the_skin_tones_has_many_people(crowd: list[Person]) -> None:
    thirds = np.bincount([min(int(person.skin_tone / 2), 2) for person in crowd], minlength=3)
    assert thirds.min() > 0.2 * COUNT


@pytest.mark.parametrize(
    ("kind", "shares"), [("glasses", population.GLASSES_WORN), ("backdrop", population.BACKDROPS_SEEN)]
)
def test_what_is_worn_and_seen_follows_its_table(
    crowd: list[Person], kind: str, shares: dict[str, float]
) -> None:
    seen = [sum(getattr(person, kind) == name for person in crowd) for name in shares]
    assert p_value(seen, list(shares.values())) > LEAST_P


def test_rare_things_are_rare(crowd: list[Person]) -> None:
    assert 0.03 < np.mean([person.hat != "none" for person in crowd]) < 0.12
    before_grey = [person.replace(greying_years=150.0) for person in crowd]
    assert 0 < np.mean([hair_colour(person) == "dyed" for person in before_grey]) < 0.03


def test_only_men_have_beards_and_only_women_make_up(crowd: list[Person]) -> None:
    assert all(person.beard == "none" for person in crowd if not person.is_male)
    assert all(person.makeup == 0 for person in crowd if person.is_male)


def test_names_of_features_and_expressions_are_the_heads(crowd: list[Person]) -> None:
    features = {*local_pairs(), *head_shapes()}
    for person in crowd[:50]:
        assert set(person.features) <= features
        assert set(person.expression) <= set(expression_names())


def test_replace_changes_one_thing() -> None:
    person = person_of(1)
    older = person.replace(age_years=80)
    assert {name for name, value in vars(older).items() if value != vars(person)[name]} == {"age_years"}
    assert older.greyness > person.replace(age_years=20).greyness
    assert older.ageing > person.replace(age_years=20).ageing == 0


def test_small_things_do_not_depend_on_one_another_or_on_the_pose() -> None:
    person = person_of(1)
    before = person.detail(Detail.SCALP_HAIR).random(4)
    assert (person.replace(yaw_degrees=20, age_years=30).detail(Detail.SCALP_HAIR).random(4) == before).all()
    assert (person.detail(Detail.BROWS).random(4) != before).all()
    assert (person.replace(seed=person.seed + 1).detail(Detail.SCALP_HAIR).random(4) != before).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"age_yeers": 3}, r"'age_yeers'.*age_years"),
        ({"age_years": 12.0}, r"age_years 12.*18 to 90"),
        ({"hair_style": "bobb"}, r"'bobb'.*bob"),
        ({"makeup": 1.5}, r"makeup 1.5: need 0 to 1"),
        ({"makeup": float("nan")}, r"makeup nan"),
        ({"eye_colour": (0.1, 0.2)}, r"eye_colour .*: need three numbers, 0 to 1"),
        ({"eye_colour": (5.0, 0.2, 0.2)}, r"eye_colour .*: need three numbers, 0 to 1"),
        ({"hair_colour": (-0.1, 0.0, 0.0)}, r"hair_colour .*: need three numbers, 0 to 1"),
        ({"hat_colour": (float("nan"), 0.0, 0.0)}, r"hat_colour .*: need three numbers, 0 to 1"),
        ({"ancestry": (1.0, 1.0, 1.0)}, r"ancestry .*: need shares of sum 1"),
        ({"ancestry": (1.5, -0.5, 0.0)}, r"ancestry .*: need three numbers, 0 to 1"),
        ({"expression": {"jawOpen": float("inf")}}, r"expression 'jawOpen' inf: need -1 to 1"),
        ({"expression": {"jawOpen": 50.0}}, r"expression 'jawOpen' 50.0: need -1 to 1"),
        ({"expression": {"jawOpn": 0.5}}, r"expression 'jawOpn' \(did you mean 'jawOpen'\?\): one of"),
        ({"features": {"x": 1.0}}, r"features 'x': one of \d+, such as "),
        ({"features": {"nose/nose-hump": -1.1}}, r"features 'nose/nose-hump' -1.1: need -1 to 1"),
        ({"features": {"head/head-oval": -0.1}}, r"features 'head/head-oval' -0.1: need 0 to 1"),
        ({"seed": -1}, r"seed -1"),
        ({"seed": 1.5}, r"seed 1.5: need a whole number, 0 or more"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        person_of(1).replace(**changes)


def test_ranges_are_of_fields_that_exist() -> None:
    assert {*RANGES, *CHOICES} <= set(vars(person_of(0)))
