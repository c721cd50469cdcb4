"""Configuration as JSON and overrides (facegan.config)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facegan.config import UsageError, choose, differences, from_json, nearest, override, to_json
from facegan.data import DataConfig
from facegan.growth import Growth
from facegan.presets import PRESETS, preset
from facegan.run import Adam, Run

RUN = PRESETS["dcgan-64"].run


@dataclass(frozen=True)
class Circle:
    kind: Literal["circle"] = "circle"
    radius: float = 1.0


@dataclass(frozen=True)
class Square:
    kind: Literal["square"] = "square"
    side: float = 1.0


@dataclass(frozen=True)
class Drawing:
    """Every sort of annotation that a config may have."""

    title: str
    shape: Circle | Square = field(default_factory=Circle)
    outline: Circle | None = None
    limit: int | None = None
    widths: tuple[float, ...] = ()
    style: Literal["plain", "dashed"] = "plain"
    filled: bool = False
    copies: int = 1


DRAWING = Drawing("d")
PLAIN: dict[str, Any] = {
    "title": "d",
    "shape": {"kind": "circle", "radius": 1.0},
    "outline": None,
    "limit": None,
    "widths": [],
    "style": "plain",
    "filled": False,
    "copies": 1,
}


# ---- to and from JSON


@pytest.mark.parametrize("name", PRESETS)
def test_preset_survives_json_text(name: str) -> None:
    run = PRESETS[name].run
    assert from_json(Run, json.loads(json.dumps(to_json(run)))) == run


def test_to_json_gives_plain_values() -> None:
    assert to_json(replace(DRAWING, widths=(1.0, 2.0))) == {**PLAIN, "widths": [1.0, 2.0]}


NUMBER = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    st.builds(
        Drawing,
        title=st.sampled_from(["", "a b", '"\\', "\u2028"]),
        shape=st.builds(Circle, radius=NUMBER) | st.builds(Square, side=NUMBER),
        outline=st.none() | st.builds(Circle, radius=NUMBER),
        limit=st.none() | st.integers(-(2**62), 2**62),
        widths=st.lists(NUMBER, max_size=3).map(tuple),
        style=st.sampled_from(["plain", "dashed"]),
        filled=st.booleans(),
        copies=st.integers(-(2**62), 2**62),
    )
)
def test_any_config_survives_json_text(drawing: Drawing) -> None:
    assert from_json(Drawing, json.loads(json.dumps(to_json(drawing)))) == drawing


def test_missing_fields_take_their_defaults() -> None:
    assert from_json(Drawing, {"title": "d"}) == DRAWING


def test_list_becomes_tuple_with_converted_elements() -> None:
    widths = from_json(Drawing, {"title": "d", "widths": [1, 2.5]}).widths
    assert repr(widths) == "(1.0, 2.5)"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"kind": "circle", "radius": 3}, Circle(radius=3.0)),
        ({"kind": "square", "side": 3}, Square(side=3.0)),
        ({"kind": "square"}, Square()),
    ],
)
def test_tag_chooses_the_member_of_a_union(shape: dict[str, Any], expected: Circle | Square) -> None:
    assert from_json(Drawing, {"title": "d", "shape": shape}).shape == expected


@pytest.mark.parametrize("value", [None, {"kind": "circle", "radius": 2.0}])
def test_optional_dataclass_is_none_or_read_as_the_dataclass(value: dict[str, Any] | None) -> None:
    outline = from_json(Drawing, {"title": "d", "outline": value}).outline
    assert outline == (None if value is None else Circle(radius=2.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titel": "x"}, "titel: no such setting; .*did you mean 'title'"),
        ({"shape": {"kind": "square", "sied": 1.0}}, r"shape\.sied: no such setting.*did you mean 'side'"),
        ({"shape": {"kind": "squere"}}, r"shape.kind 'squere': one of circle, square .did you mean 'square'"),
        ({"shape": {"kind": None}}, r"shape\.kind 'null': one of circle, square"),
        ({"shape": {"side": 1.0}}, r"shape\.kind: missing; one of circle, square"),
        ({"shape": "circle"}, "shape: expected an object, got 'circle'"),
        ({"outline": 3}, "outline: expected an object, got 3"),
        ({"style": "dahsed"}, "style 'dahsed': one of plain, dashed .*did you mean 'dashed'"),
        ({"limit": "many"}, "limit 'many': expected a whole number"),
        ({"widths": 1.0}, "widths 1.0: expected a list"),
        ({"widths": [1.0, "x"]}, "widths 'x': expected a number"),
        ({"copies": 1.5}, "copies 1.5: expected a whole number"),
        ({"copies": True}, "copies true: expected a whole number"),
        ({"filled": 1}, "filled 1: expected true or false"),
        ({"title": 3}, "title 3: expected text"),
        ({"style": None}, "style null: one of plain, dashed"),
        ({"widths": True}, "widths true: expected a list"),
        ({"shape": [False]}, r"shape: expected an object, got \[false\]"),
        ({"title": None}, "title null: expected text"),
        ({"shape": {"kind": "circle", "radius": True}}, r"shape\.radius true: expected a number"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_json(Drawing, PLAIN | change)


def test_a_value_that_is_too_deep_to_be_shown_is_told_in_a_line() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UsageError, match="copies nested too deeply: expected a whole number"):
        from_json(Drawing, PLAIN | {"copies": deep})


def test_missing_required_field_is_named() -> None:
    with pytest.raises(UsageError, match="title: missing"):
        from_json(Drawing, {})


@pytest.mark.parametrize("data", [None, 3, "text", [1, 2]])
def test_config_that_is_not_an_object_is_refused(data: object) -> None:
    with pytest.raises(UsageError, match="Drawing: expected an object"):
        from_json(Drawing, data)


def test_checks_of_the_dataclass_itself_hold_for_json() -> None:
    with pytest.raises(UsageError, match="micro_batch"):
        from_json(Run, to_json(RUN) | {"batch": 100, "micro_batch": 30})


# ---- overrides


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("seed=7", replace(RUN, seed=7)),
        (" seed =7", replace(RUN, seed=7)),
        ("optimizer.lr=0.001", replace(RUN, optimizer=Adam(lr=0.001))),
        ("optimizer.lr=1e-3", replace(RUN, optimizer=Adam(lr=0.001))),
        ("model.z_dim=32", replace(RUN, model=replace(RUN.model, z_dim=32))),
        ("data.path=/some/folder", replace(RUN, data=DataConfig("/some/folder"))),
        ("data.path=a=b.zip", replace(RUN, data=DataConfig("a=b.zip"))),
        ('data.path="2024"', replace(RUN, data=DataConfig("2024"))),
        ("data.mirror=false", replace(RUN, data=DataConfig(mirror=False))),
        ("data.crop=pad", replace(RUN, data=DataConfig(crop="pad"))),
        ('optimizer={"lr": 0.5}', replace(RUN, optimizer=Adam(lr=0.5))),
    ],
)
def test_override_changes_the_one_named_value(assignment: str, expected: Run) -> None:
    assert override(RUN, [assignment]) == expected


def test_int_given_for_float_becomes_float() -> None:
    assert repr(override(RUN, ["optimizer.lr=1"]).optimizer.lr) == "1.0"


def test_overrides_apply_together_and_the_last_one_wins() -> None:
    changed = override(RUN, ["batch=96", "micro_batch=48", "seed=1", "seed=2"])
    assert (changed.batch, changed.micro_batch, changed.seed) == (96, 48, 2)


def test_no_overrides_leave_the_config_equal() -> None:
    assert override(RUN, []) == RUN


def test_override_leaves_the_given_config_alone() -> None:
    before = to_json(RUN)
    override(RUN, ["optimizer.lr=1"])
    assert to_json(RUN) == before


def test_override_replaces_a_union_member_as_a_whole() -> None:
    shape = override(DRAWING, ['shape={"kind": "square", "side": 2}']).shape
    assert shape == Square(side=2.0)


def test_a_tag_given_last_throws_no_setting_of_its_new_group_away() -> None:
    assert override(DRAWING, ["shape.side=2", "shape.kind=square"]).shape == Square(side=2.0)
    with pytest.raises(UsageError, match=r"shape\.sied: no such setting; .*did you mean 'side'"):
        override(DRAWING, ["shape.sied=2", "shape.kind=square"])


def test_a_whole_group_given_last_throws_no_setting_in_it_away() -> None:
    assert override(DRAWING, ["outline.radius=2", "outline={}"]).outline == Circle(radius=2.0)


def test_of_two_tags_of_a_group_the_last_wins() -> None:
    assert override(DRAWING, ["shape.kind=square", "shape.kind=circle"]).shape == Circle()


def test_override_sets_an_optional_value_to_null() -> None:
    assert override(replace(DRAWING, limit=3), ["limit=null"]).limit is None


@pytest.mark.parametrize(
    ("text", "expected"), [("1,2.5", (1.0, 2.5)), ("[1, 2]", (1.0, 2.0)), ("3", (3.0,)), ("", ())]
)
def test_a_list_needs_no_brackets(text: str, expected: tuple[float, ...]) -> None:
    assert override(DRAWING, [f"widths={text}"]).widths == expected


def test_a_list_in_a_group_that_was_null_needs_no_brackets() -> None:
    run = override(preset("stylegan-64").run, ["growth=null"])
    grows = override(run, ["optimizer.lr=0.2", "growth={}", "growth.lrs=0.1,0.2"])
    assert grows.growth == Growth(lrs=(0.1, 0.2))


def test_labels_and_bases_are_such_lists() -> None:
    run = override(RUN, ["data.labels=glasses, age_years:young<35<old", "model.base=5,4"])
    assert run.data.labels == ("glasses", "age_years:young<35<old")
    assert run.model.image_shape == (3, 80, 64)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "'seed': expected NAME=VALUE"),
        ("", "expected NAME=VALUE"),
        ("sead=1", "sead: no such setting; .*did you mean 'seed'"),
        ("model.z_dm=3", r"model\.z_dm: no such setting; .*did you mean 'z_dim'"),
        ("modle.z_dim=3", "modle: no such group of settings; one of model, loss, .*did you mean 'model'"),
        ("optimizer.lr.x=3", r"optimizer\.lr: no such group of settings"),
        ("data.crop=centre", r"data\.crop 'centre': one of center, pad, celeba .did you mean 'center'"),
        ("batch=many", "batch 'many': expected a whole number"),
        ("batch=1.5", "batch 1.5: expected a whole number"),
        ("data.mirror=yes", "data.mirror 'yes': expected true or false"),
        ("optimizer.lr=fast", "optimizer.lr 'fast': expected a number"),
        ("optimizer=3", "optimizer: expected an object, got 3"),
    ],
)
def test_wrong_override_says_what_is_allowed(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(RUN, [assignment])


def test_a_name_that_looks_like_a_number_stays_a_name() -> None:
    assert override(RUN, ["data.path=2024"]).data.path == "2024"
    assert override(RUN, ["data.path=true"]).data.path == "true"


def test_whole_numbers_may_be_written_with_an_exponent() -> None:
    assert override(RUN, ["total_images=1e6"]).total_images == 1_000_000
    with pytest.raises(UsageError, match="expected a whole number"):
        override(RUN, ["total_images=1.5"])


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e400", "1" + 400 * "0"])
def test_a_setting_is_a_finite_number(word: str) -> None:
    with pytest.raises(UsageError, match=r"optimizer\.lr .*: expected a finite number"):
        override(RUN, [f"optimizer.lr={word}"])


@pytest.mark.parametrize("word", [str(2**63), str(-(2**63)), "1" + 400 * "0", "1e30", "-1e19"])
def test_a_whole_number_fits_into_64_bits(word: str) -> None:
    with pytest.raises(UsageError, match=r"total_images .*: expected a number below 2\*\*63"):
        override(RUN, [f"total_images={word}"])


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, 5000 * "9"])
def test_rubbish_that_json_chokes_on_is_a_wrong_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"optimizer\.lr .*: expected a number"):
        override(RUN, [f"optimizer.lr={text}"])


# ---- words and differences


def test_choose_gives_back_an_allowed_word() -> None:
    assert choose("colour", "red", ["red", "green"]) == "red"


def test_choose_lists_what_is_allowed_and_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        choose("colour", "grene", ["red", "green"])
    assert str(caught.value) == "colour 'grene': one of red, green (did you mean 'green'?)"


def test_nearest_is_silent_where_nothing_is_close() -> None:
    assert nearest("xyzzy", ["red", "green"]) == ""


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'dcgan-64'"):
        preset("dcgan64")


def test_usage_error_is_a_value_error() -> None:
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, []),
        ({"a": 1}, {"a": 2}, ["a: 1 -> 2"]),
        ({"b": {"c": 2, "d": 3}}, {"b": {"c": 2, "d": "x"}}, ["b.d: 3 -> 'x'"]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ["a.b.c: 1 -> 2"]),
        ({"a": 1}, {"a": 1, "b": 2}, ["b: null -> 2"]),
        ({"a": 1, "b": 2}, {"a": 1}, ["b: 2 -> null"]),
        ({"a": {"c": 1}}, {"a": 3}, ['a: {"c": 1} -> 3']),
        ({"a": False}, {"a": True}, ["a: false -> true"]),
        ({"a": [None, 1.5]}, {"a": "x"}, ["a: [null, 1.5] -> 'x'"]),
        ({"a": 1, "b": 1}, {"b": 2, "a": 2}, ["a: 1 -> 2", "b: 1 -> 2"]),
    ],
)
def test_differences_has_one_line_for_each_value_that_changed(
    old: dict[str, Any], new: dict[str, Any], expected: list[str]
) -> None:
    assert differences(old, new) == expected


# ---- what a run refuses


def test_a_seed_beyond_32_bits_is_refused() -> None:
    with pytest.raises(UsageError, match="0 to 4294967295"):
        replace(RUN, seed=2**32)


@pytest.mark.parametrize(
    ("preset_name", "settings", "words"),
    [
        ("stylegan2-64-tiny", ["batch=6", "micro_batch=6"], "micro_batch 6: a multiple of .* 4"),
        ("dcgan-64", ["loss.name=stylegan2"], "for StyleGAN and StyleGAN2, not for dcgan"),
    ],
)
def test_what_cannot_train_is_refused_before_it_begins(
    preset_name: str, settings: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        override(preset(preset_name).run, settings)
