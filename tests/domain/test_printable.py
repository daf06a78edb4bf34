"""What is escaped of a text from outside, and what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallycast.domain.printable import printable, printable_lines

BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
INVISIBLE = "\u00ad\u034f\u115f\u180e\u200b\u200c\u200d\u2060\u2800\u3164\ufeff\ufff9\U000e0001\U000e0101"
CONTROLS = "\x00\x07\x08\t\n\r\x1b\x7f\x85\x9b"
SEPARATORS = "\u2028\u2029\u00a0\u3000"
SHOWN = ["posts/42", "größe é", "日本語", "שלום", "مرحبا", "नमस्ते", "👍🏽", "❤️", 'a "b" <c> \\u202e', ""]


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("char", [*BIDIRECTIONAL, *INVISIBLE, *CONTROLS, *SEPARATORS, "\udcff"])
def test_what_is_escaped(char: str) -> None:
    answer = printable(f"a{char}b")
    assert answer.isprintable()
    assert char not in answer
    assert json.loads(f'"{answer}"') == f"a{char}b", "as JSON escapes it"


@given(st.dictionaries(st.text(), st.text()))
def test_a_json_document_means_the_same(value: dict[str, str]) -> None:
    answer = printable(json.dumps(value, ensure_ascii=False))
    assert answer.isprintable()
    assert json.loads(answer) == value


def test_lines_stay_lines() -> None:
    assert printable_lines("a\n  b\x1b[2J\n") == "a\n  b\\u001b[2J\n"


def test_another_form_of_escapes() -> None:
    assert printable("a\u202eb\U000e0001", lambda char: f"<{ord(char):x}>") == "a<202e>b<e0001>"
