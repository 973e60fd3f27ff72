import json

from hypothesis import given

from sockscope.core.results.shape import (
    ANYTHING,
    DEEPEST,
    FLAG,
    LARGEST,
    NAME,
    NUMBER,
    SCALAR,
    TEXT,
    Shape,
    list_of,
    one_of,
    optional,
    record,
)
from tests.core.reread import ANY_JSON
from tests.each import each

POINT = record({"x": NUMBER, "name": NAME, "tags": list_of(TEXT)}, SCALAR)


def faults(shape: Shape, value: object) -> list[str]:
    return list(shape.faults("it", value))


@each(
    ("shape", "fine"),
    [
        (NUMBER, [None, 0, -1.5, 10**29]),
        (TEXT, [None, "", "text"]),
        (NAME, ["", "text"]),
        (FLAG, [None, True, False]),
        (SCALAR, [None, 0, "text", True]),
        (one_of("a", "b"), ["a", "b"]),
        (optional(NAME), [None, "text"]),
        (list_of(NUMBER), [[], [1, None]]),
        (POINT, [{"name": "", "tags": []}, {"x": 1, "name": "n", "tags": ["t"], "later": "more"}]),
        (ANYTHING, [None, {"deep": [{"er": [1, "text", True]}]}]),
    ],
)
def test_what_is_fine(shape: Shape, fine: list[object]) -> None:
    for value in fine:
        assert faults(shape, value) == []


@each(
    ("shape", "value", "found"),
    [
        (NUMBER, "1", ["it is not a number"]),
        (NUMBER, True, ["it is not a number"]),
        (NUMBER, float("nan"), ["it is out of range"]),
        (NUMBER, float("-inf"), ["it is out of range"]),
        (NUMBER, 10**400, ["it is out of range"]),
        (NUMBER, LARGEST, ["it is out of range"]),
        (TEXT, 1, ["it is not text"]),
        (NAME, None, ["it is not text"]),
        (FLAG, 1, ["it is neither true nor false"]),
        (SCALAR, [], ["it is not a single value"]),
        (SCALAR, float("inf"), ["it is out of range"]),
        (one_of("a", "b"), None, ["it is none of a, b"]),
        (one_of("a", "b"), ["a"], ["it is none of a, b"]),
        (optional(list_of(TEXT)), {}, ["it is not a list"]),
        (list_of(TEXT), ["a", 1, 2], ["it.1 is not text", "it.2 is not text"]),
        (POINT, [], ["it is not an object"]),
        (POINT, {"x": "far"}, ["it.name is missing", "it.tags is missing", "it.x is not a number"]),
        (POINT, {"name": "", "tags": None}, ["it.tags is not a list"]),
        (POINT, {"name": "", "tags": [], "later": []}, ["it.later is not a single value"]),
        (ANYTHING, {"a": [0, {"b": float("inf")}]}, ["it.a.1.b is out of range"]),
        (ANYTHING, {"a": object()}, ["it.a is not a single value"]),
    ],
)  # fmt: skip
def test_what_is_told(shape: Shape, value: object, found: list[str]) -> None:
    assert faults(shape, value) == found


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    assert faults(ANYTHING, nested(DEEPEST)) == []
    assert faults(ANYTHING, nested(DEEPEST + 1)) == ["it is nested too deeply"]
    assert faults(ANYTHING, nested(100_000)) == ["it is nested too deeply"]


@given(ANY_JSON)
def test_what_has_no_fault_can_be_written_again(value: object) -> None:
    if not faults(ANYTHING, value):
        assert json.loads(json.dumps(value, allow_nan=False, indent=2)) == value
