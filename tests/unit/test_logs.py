"""Logs: one JSON object per line, correlated, and nothing personal or secret in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Return what a handler of the host would write, with the product's logs set up."""
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    logs.set_up()
    yield stream
    logging.getLogger().removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_a_record_becomes_one_line_with_its_fields_and_correlation(lines: io.StringIO) -> None:
    """Without OpenTelemetry the host passes on the message only, so the fields are in it."""
    with logs.correlated("c-1"):
        logs.get_logger("lima.test").warning("Sent a %s", "batch", extra={"action": "batch-sent", "count": 3})

    line = json.loads(lines.getvalue())
    assert line["message"] == "Sent a batch"
    assert (line["action"], line["count"], line["correlation"], line["level"]) == ("batch-sent", 3, "c-1", "WARNING")


def test_an_exception_is_part_of_the_line_and_redacted(lines: io.StringIO) -> None:
    """Other people's exceptions repeat what they were given."""
    try:
        int("refused ada@contoso.example with Bearer abc.def.ghi")
    except ValueError:
        logs.get_logger("lima.test").exception("It failed")

    assert lines.getvalue().count("\n") == 1
    assert "contoso" not in lines.getvalue()
    assert "abc.def" not in lines.getvalue()
    assert "ValueError" in json.loads(lines.getvalue())["error"]


@pytest.mark.parametrize(
    "secret",
    [
        "ada.lovelace+news@contoso.example",
        "用户@例子.example",
        "Bearer AQXdSP_W41_UPs5ioT_t8HESyODB4FqbkJ8LrV_5mff4gPODzOYR",
        "a" * 64,
        "eyJhbGciOi.eyJzdWIiOiIx.SflKxwRJSMeKKF2QT4",
    ],
)
def test_planted_secrets_are_nowhere_in_message_arguments_or_fields(lines: io.StringIO, secret: str) -> None:
    """The last wall; nothing should reach it."""
    logger = logs.get_logger("lima.test.child")
    logger.error(f"in the text {secret}")  # noqa: G004  planted
    logger.error("as an argument %s", secret, extra={"as_field": secret})
    logger.error("in a query code=%s&state=%s", secret, secret)

    assert secret not in lines.getvalue()


@given(st.emails())
def test_no_address_survives_redaction(address: str) -> None:
    """Whatever an address looks like."""
    assert address not in logs.redacted(f"sent to {address} today")


def test_ids_and_counts_survive() -> None:
    """A log without them would help nobody."""
    text = "job 2d2d6a4e-6f0c-4d8e-9a57-3f1c2f0f3b11 sent 5000 of 12000"

    assert logs.redacted(text) == text
