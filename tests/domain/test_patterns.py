"""Patterns of item ids: what they match, what is refused, and that none is slow."""

import pytest
from tallycast.contract.items import MAX_BYTES
from tallycast.domain.patterns import ItemPattern


@pytest.mark.parametrize(
    ("source", "matching", "others"),
    [
        (
            "posts/[0-9]{1,9}",
            ["posts/7"],
            ["posts/", "posts/1234567890", "my posts/7", "posts/7/", "posts/7\n"],
        ),
        ("a|ab", ["a", "ab"], ["abc", "b"]),
        ("^a$", ["a"], ["a\n", "ba"]),
        ("(?i)straße", ["STRAßE", "straße"], ["strasse"]),
        # Characters count, not bytes.
        (".", ["a", "é", "☃", "\U0001f600"], ["", "éé"]),
        ("[é☃]{2}", ["é☃"], ["é", "Ã©"]),
        (r"[\pL\pN_-]+", ["größe-2", "слово", "٣"], ["a b"]),
        (r"\w+\d", ["a1"], ["é1", "a٣"]),
        ("(?P<kind>a)/(b)", ["a/b"], ["a"]),
        ("", [], ["a"]),
    ],
)
def test_all_of_an_id_must_match(source: str, matching: list[str], others: list[str]) -> None:
    pattern = ItemPattern(source)
    assert [item for item in [*matching, *others] if pattern.matches(item)] == matching


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("(", "not a regular expression of RE2: missing ): ("),
        ("(?=a)b", "not a regular expression of RE2: invalid perl operator: (?="),
        ("(?<!a)b", "not a regular expression of RE2: invalid perl operator: (?<"),
        (r"(a)\1", r"not a regular expression of RE2: invalid escape sequence: \1"),
        (r"a\Z", r"not a regular expression of RE2: invalid escape sequence: \Z"),
        ("a++", "not a regular expression of RE2: bad repetition operator: ++"),
        ("a{1,1001}", "not a regular expression of RE2: invalid repetition size: {1,1001}"),
        (r"\\a{,5}", "write {0,5} for {,5}"),
        (r"\pL{1,256}", "not a regular expression of RE2: pattern too large - compile failed"),
        (".{1000}", "too large a regular expression: use fewer and"),
    ],
)
def test_what_is_refused(source: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its text is looked at
        ItemPattern(source)
    assert str(caught.value).startswith(reason)


def test_braces_that_are_meant_as_such() -> None:
    assert ItemPattern(r"a\{,5}").matches("a{,5}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("source", ["(a+)+b", "(a|a)*b", "((a{0,9}){0,9}){0,9}b", "(?:a?){256}a{256}b"])
def test_no_id_makes_a_pattern_slow(source: str) -> None:
    """An engine that backtracks does not end while anyone waits, on however fast a machine."""
    assert not ItemPattern(source).matches("a" * MAX_BYTES)
