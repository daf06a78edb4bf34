"""The error tree is drawn in its module as it is."""

from tallycast.contract import errors


def test_every_error_stands_in_the_drawing() -> None:
    drawing = errors.__doc__ or ""
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, errors.TallycastError):
            assert name in drawing or issubclass(thing, errors.BadMessage), name


def test_codes_and_statuses_are_those_of_the_contract() -> None:
    refusals = errors.Refusal.__subclasses__()
    assert {refusal.code: refusal.status for refusal in refusals} == {
        "bad_message": 400,
        "bad_item": 400,
        "bad_reaction": 400,
        "too_many_items": 400,
        "unauthorized": 401,
        "forbidden": 403,
        "unknown_site": 404,
        "rate_limited": 429,
        "unavailable": 503,
    }
