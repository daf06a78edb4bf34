"""Rows of both forms: what is taken, and what is said of what is not."""

import gzip
from collections.abc import Sequence

import pytest
from tallycast.config.sites import parse
from tallycast.domain.sites import Site
from tallycast.ledger.bulk_import.errors import ImportFailed
from tallycast.ledger.bulk_import.rows import MAX_COUNT, Bad, Row, Rows, Start, Vote
from tallycast.ledger.bulk_import.text import LONGEST_LINE, Text

NOW = 1_800_000_000.0
ANONYMOUS = "a:" + "x" * 22


def read(
    *lines: str | bytes,
    first: int = 1,
    site: Site | None = None,
    encoding: str | None = "utf-8",
    delimiter: str | None = None,
) -> list[Row]:
    encoded = [line if isinstance(line, bytes) else f"{line}\n".encode() for line in lines]
    return list(Rows(site or Site(), NOW).read(Text(encoded, encoding), first, delimiter))


def read_csv(*lines: str | bytes, header: str = "item,visitor,reaction") -> list[Row]:
    return read(header, *lines)


def reasons(rows: Sequence[Row]) -> list[str]:
    assert all(isinstance(row, Bad) for row in rows), rows
    return [row.reason for row in rows if isinstance(row, Bad)]


def test_votes_in_both_forms() -> None:
    assert read_csv("posts/1,u:42,like", f"posts/é,{ANONYMOUS},dislike") == [
        Vote(2, "posts/1", "u:42", "like", None),
        Vote(3, "posts/é", ANONYMOUS, "dislike", None),
    ]
    assert read(
        '{"item":"a","visitor":"u:1","reaction":"like"}', '{"reaction":"like","item":"b","visitor":"u:2"}'
    ) == [
        Vote(1, "a", "u:1", "like", None),
        Vote(2, "b", "u:2", "like", None),
    ]


def test_starting_counts_in_both_forms() -> None:
    rows = [Start(2, "a", {"like": 12, "dislike": 3}), Start(3, "b", {"like": 0, "dislike": MAX_COUNT})]
    assert read("dislike,item,like", "3,a,12", f"{MAX_COUNT},b,0") == rows
    assert (
        read(
            "",
            '{"item":"a","counts":{"like":12,"dislike":3}}',
            f'{{"item":"b","counts":{{"dislike":{MAX_COUNT}}}}}',
        )
        == rows
    )
    assert read("item,like", "a,1") == [Start(2, "a", {"like": 1, "dislike": 0})]


def test_both_in_one_file() -> None:
    assert read('{"item":"a","counts":{"like":1}}', '{"item":"a","visitor":"u:1","reaction":"like"}') == [
        Start(1, "a", {"like": 1, "dislike": 0}),
        Vote(2, "a", "u:1", "like", None),
    ]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("1700000000", 1_700_000_000_000_000),
        ("1700000000.123456", 1_700_000_000_123_456),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
        ("2023-11-14 22:13:20.5+00:00", 1_700_000_000_500_000),
        ("2023-11-15T00:13:20+02:00", 1_700_000_000_000_000),
        ("0", 0),
    ],
)
def test_times(text: str, at: int | None) -> None:
    header = "time,item,visitor,reaction"
    assert read_csv(f"{text},a,u:1,like", header=header) == [Vote(2, "a", "u:1", "like", at)]
    if text:
        quoted = [f'"{text}"', text] if text.replace(".", "").isdecimal() else [f'"{text}"']
        for value in quoted:
            assert read(f'{{"item":"a","visitor":"u:1","reaction":"like","time":{value}}}') == [
                Vote(1, "a", "u:1", "like", at)
            ]


def test_values_in_quotes() -> None:
    assert read_csv('"a, ""b""",u:1,"like"') == [Vote(2, 'a, "b"', "u:1", "like", None)]


def test_lines_as_other_systems_write_them() -> None:
    """A byte order mark, CRLF, empty lines, no end behind the last line."""
    lines = [b"\xef\xbb\xbfitem, visitor, reaction\r\n", b"a,u:1,like\r\n", b"\r\n", b"b,u:2,like"]
    votes = [Vote(2, "a", "u:1", "like", None), Vote(4, "b", "u:2", "like", None)]
    assert read(*lines) == votes
    assert read(b'\xef\xbb\xbf{"item":"a","counts":{}}\r\n') == [Start(1, "a", {"like": 0, "dislike": 0})]


def test_from_a_line_on() -> None:
    assert [row.line for row in read("item,visitor,reaction", *["a,u:1,like"] * 5, first=4)] == [4, 5, 6]
    assert [row.line for row in read(*['{"item":"a","counts":{}}'] * 5, first=4)] == [4, 5]


EITHER = "a row has a visitor and a reaction, or counts"
ONE_OF = "a reaction is one of like, dislike, not"
STRAY = "not CSV: a value with a quote in it stands in quotes, and each quote in it is doubled"
VISITOR = "a visitor is u: and your user's id (1 to 128 bytes), or an anonymous a:…"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,u:1", "2 values, and the header has 3"),
        ("a,u:1,like,x", "4 values, and the header has 3"),
        ("a,,u:1,like", "4 values, and the header has 3"),
        ("a,u:1,love", f"{ONE_OF} 'love'"),
        ("a,u:1,", f"{ONE_OF} ''"),
        ("a,u:1, like", f"{ONE_OF} ' like'"),
        (",u:1,like", "an item id has at least 1 byte"),
        ("a\x00,u:1,like", "an item id has no control characters and is valid Unicode"),
        (b"\xe9,u:1,like\n", "byte 0xE9 is not utf-8"),
        (
            "a\rb,u:1,like",
            "not CSV: line ends are mixed, a CR stands alone",
        ),
        (
            f"{'é' * 129},u:1,like",
            "an item id has at most 256 bytes of UTF-8 (embed.js shortens longer ones on https pages only)",
        ),
        ("a,1,like", VISITOR),
        ("a,u:,like", VISITOR),
        ("a,a:1,like", VISITOR),
        ("a,x:1,like", VISITOR),
        (f"a,u:{'é' * 65},like", VISITOR),
        (b"a,u:\xff,like\n", "byte 0xFF is not utf-8"),
        ('"a,u:1,like', f"not CSV: the quote that opens here is not closed within {LONGEST_LINE} characters"),
        ('2",u:1,like', STRAY),
        ('="a",u:1,like', STRAY),
        ('"a"b,u:1,like', "not CSV: ',' expected after '\"'"),
        ("a" * (LONGEST_LINE + 1), f"a row has at most {LONGEST_LINE} characters"),
    ],
)
def test_rows_of_csv_that_are_bad(line: str | bytes, reason: str) -> None:
    """They cost no other line than their own."""
    good = "a,u:1,like"
    first, bad, last = read_csv(good, line, good)
    assert isinstance(bad, Bad)
    assert (bad.line, bad.reason[: len(reason)]) == (3, reason)
    assert (first, last) == (Vote(2, "a", "u:1", "like", None), Vote(4, "a", "u:1", "like", None))


@pytest.mark.parametrize("count", ["", "-1", "+1", "1.0", " 1", "1_000", "١", str(MAX_COUNT + 1), "9" * 5000])
def test_counts_that_are_none(count: str) -> None:
    (reason,) = reasons(read("item,like", f"a,{count}"))
    assert reason.startswith("the count of like is a whole number up to 10^15, not '")
    assert len(reason) < 120


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("yesterday", "a time is seconds since 1970, or like 2026-01-31T12:00:00Z, not 'yesterday'"),
        ("nan", "the time nan is not between 1970 and now"),
        ("-1", "the time -1 is not between 1970 and now"),
        ("1900000000", "the time 1900000000 is not between 1970 and now"),
        ("2023-11-14T22:13:20", "the time 2023-11-14T22:13:20 says no time zone: append Z for UTC"),
    ],
)
def test_times_that_are_none(time: str, reason: str) -> None:
    assert reasons(read_csv(f"a,u:1,like,{time}", header="item,visitor,reaction,time")) == [reason]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x", "JSON is malformed: invalid character (byte 0)"),
        ("[1]", "expected `object`, got `array`"),
        ("{}", "object missing required field `item`"),
        ('{"item":1,"counts":{}}', "expected `str`, got `int` - at `$.item`"),
        ('{"item":"a"}', EITHER),
        ('{"item":"a","visitor":"u:1"}', EITHER),
        ('{"item":"a","visitor":"u:1","reaction":null}', EITHER),
        ('{"item":"a","visitor":"u:1","counts":{}}', f"{EITHER}, and not both"),
        ('{"item":"a","vistor":"u:1"}', "object contains unknown field `vistor`"),
        ('{"item":"a","counts":{"love":1}}', f"{ONE_OF} 'love'"),
        ('{"item":"a","counts":{"like":-1}}', "expected `int` >= 0 - at `$.counts[...]`"),
        ('{"item":"a","counts":{"like":1.5}}', "expected `int`, got `float` - at `$.counts[...]`"),
        ('{"item":"a","visitor":"1","reaction":"like"}', VISITOR),
        ('{"item":"a","visitor":"u:1","reaction":"love"}', f"{ONE_OF} 'love'"),
        ('{"item":"a","visitor":"u:1","reaction":"like","time":1e9999}', "number out of range - at `$.time`"),
    ],
)  # fmt: skip
def test_rows_of_ndjson_that_are_bad(line: str, reason: str) -> None:
    good = '{"item":"a","counts":{}}'
    _, bad, last = read(good, line, good)
    assert isinstance(bad, Bad)
    assert bad.reason == reason
    assert isinstance(last, Start)


def test_json_that_is_not_utf_8_or_endless() -> None:
    good = b'{"item":"a","counts":{}}\n'
    _, *bad = read(good, b'{"item":"\xff","counts":{}}\n', b'{"item":' + b"[" * 8000 + b"\n")
    assert len(reasons(bad)) == 2


ONE_A_LINE = "and one object a line is expected"
EXPECTED = "the header: expected item, visitor, reaction and perhaps time, or item and some of like, dislike"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], "there is nothing in it"),
        (["", " "], "there is nothing in it"),
        (["a,u:1,like"], f"line 1: {EXPECTED}; found a, u:1, like"),
        (["", "item,visitor"], "line 2: the header: expected item, visitor, reaction and "),
        (["item"], f"line 1: {EXPECTED}; found item"),
        (["item,like,liek"], "line 1: the header: 'liek' is none of dislike, item, like"),
        (["item,like,like"], "line 1: the header: 'like' is there twice"),
        (["item,visitor,reaction,at"], "line 1: the header: 'at' is none of item, reaction, time, visitor"),
        (["like,dislike"], "line 1: the header: expected item, "),
        (["Item,like,LIKE"], "line 1: the header: 'LIKE' is there twice"),
        (["item;visitor;reaction;at"], "line 1: the header: 'at' is none of item, reaction, time, visitor"),
        (["item:like"], f"line 1: {EXPECTED}; found item:like; --delimiter says"),
        (['"item'], "line 1: not CSV: the quote that opens here is not closed"),
        (["sep=;"], "there is nothing in it"),
        (["[", '{"item":"a","counts":{}}', "]"], "line 1: it is a JSON array, and one object a line is"),
        (['[{"item":"a","counts":{}}]'], f"line 1: it is a JSON array, {ONE_A_LINE}: jq -c '.[]' FILE"),
        (["", "{", '"item":"a"}'], "line 2: the JSON object does not end on its line: jq -c . FILE"),
    ],
)  # fmt: skip
def test_headers_that_are_wrong(lines: list[str], line: str) -> None:
    with pytest.raises(ImportFailed) as caught:
        read(*lines)
    assert str(caught.value).startswith(line)


def test_a_file_that_is_compressed() -> None:
    with pytest.raises(ImportFailed, match=r"^it is compressed: zcat FILE \| tallycast import -$"):
        read(gzip.compress(b"item,like\na,1\n"))


def test_a_value_over_several_lines_is_one_row() -> None:
    """Its second half is no row, and the next line is."""
    good = Vote(6, "a", "u:1", "like", None)
    for broken, reason in (
        ('"1\n2\n3",u:1,like', "an item id has no control characters and is valid Unicode"),
        ('"1\n2\n3"x,u:1,like', "not CSV: ',' expected after '\"' (lines 3 to 5)"),
        ('"1\r\n2\r\n3"x,u:1,like', "not CSV: ',' expected after '\"' (lines 3 to 5)"),
    ):
        assert read_csv("", broken, "a,u:1,like")[0] == Bad(3, reason)
        assert read_csv("", broken, "a,u:1,like")[1:] == [good]
        # What was reported of its first line is not reported once more, nor is the rest of it a row.
        assert read("item,visitor,reaction", "", broken, "a,u:1,like", first=4) == [good]


def test_a_quote_that_is_never_closed_costs_one_row() -> None:
    rows = read_csv('"a,u:1,like', *["b,u:1,like"] * 5000)
    assert isinstance(rows[0], Bad)
    assert rows[0].line == 2
    assert [row.line for row in rows[1:]] == [*range(3, 5003)]
    assert all(isinstance(row, Vote) for row in rows[1:])


def test_a_value_too_long_over_several_lines_is_no_row() -> None:
    rows = read_csv('"' + "x\n" * LONGEST_LINE + '2",u:1,like', "a,u:1,like")
    assert [row for row in rows if not isinstance(row, Bad)] == [
        Vote(LONGEST_LINE + 3, "a", "u:1", "like", None)
    ]


VOTES = [Vote(2, "a", "u:1", "like", None), Vote(3, "b", "u:2", "dislike", None)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(delimiter: str) -> None:
    lines = [
        line.replace(",", delimiter) for line in ("item,visitor,reaction", "a,u:1,like", '"b",u:2,dislike')
    ]
    assert read(*lines) == VOTES
    assert read(*lines, delimiter=delimiter) == VOTES
    rest = [vote._replace(line=vote.line + 1) for vote in VOTES]
    assert read(f"sep={delimiter}", *lines) == rest
    assert read(f'"sep={delimiter}"', *lines) == rest
    with pytest.raises(ImportFailed, match=r"^line 1: the header: "):
        read(*lines, delimiter=":")


def test_another_delimiter_is_given() -> None:
    lines = [line.replace(",", "~") for line in ("item,visitor,reaction", "a,u~1,like")]
    with pytest.raises(ImportFailed, match=r"; --delimiter says what is between values$"):
        read(*lines)
    assert read("item~visitor~reaction", "a~u:1~like", delimiter="~") == VOTES[:1]
    assert read("sep=~", "item~visitor~reaction", "a~u:1~like") == [VOTES[0]._replace(line=3)]


@pytest.mark.parametrize(
    "header",
    [
        "Item,VISITOR, Reaction ",
        '"Item","Visitor","Reaction"',
        "item,visitor,reaction,",
        "item,visitor,reaction,,",
    ],
)
def test_headers_as_other_systems_write_them(header: str) -> None:
    """Rows have the empty values of spreadsheets, too, and there are rows of nothing else."""
    assert read(header, "a,u:1,like", "b,u:2,dislike") == VOTES
    assert read(header, "a,u:1,like,,", "b,u:2,dislike,,", ",,") == VOTES


def test_kinds_that_differ_by_their_case() -> None:
    file = '[sites.a]\norigins=["*"]\nkinds=["Up","up","Down"]'
    site = parse(file, "")["a"]
    assert read("ITEM,up,Up,down", "a,1,2,3", site=site) == [Start(2, "a", {"Up": 2, "up": 1, "Down": 3})]
    with pytest.raises(ImportFailed, match=r"'UP' is none of Down, Up, item, up$"):
        read("item,UP", "a,1", site=site)


def test_a_site_has_its_own_items_and_kinds() -> None:
    file = '[sites.polls]\norigins=["*"]\nkinds=["yes","no"]\nitems="poll/[0-9]+"'
    site = parse(file, "")["polls"]
    rows = read("item,visitor,reaction", "poll/1,u:1,yes", "other,u:1,yes", "poll/1,u:1,like", site=site)
    assert rows == [
        Vote(2, "poll/1", "u:1", "yes", None),
        Bad(3, "this site has no such items"),
        Bad(4, "a reaction is one of yes, no, not 'like'"),
    ]
