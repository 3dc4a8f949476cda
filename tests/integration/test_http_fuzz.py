"""The running app's HTTP surface under generated requests, and its description held to the routes that there are."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from function_app import app
from sandbox.world import Options, World
from scripts.fuzzing.doors import knock

pytestmark = pytest.mark.xdist_group("http_fuzz")

DESCRIPTION = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text("utf-8"))
INPUTS = 400


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Give a running product."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        os.environ.pop(name, None)
    with World.start(Options()) as running:
        yield running


def test_the_description_names_exactly_the_routes_that_there_are() -> None:
    """A door that nobody wrote down is a door that nobody guards."""
    described = {(method.upper(), path) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    functions = [builder._function for builder in app._function_builders]  # get_functions() works once per process
    triggers = [trigger.get_dict_repr() for function in functions if (trigger := function.get_trigger())]
    routes = {
        (getattr(method, "value", method), f"/api/{trigger['route']}")
        for trigger in triggers
        if trigger["type"] == "httpTrigger"
        for method in trigger["methods"]
    }

    assert described == routes


def test_no_generated_request_is_answered_with_a_server_error(world: World) -> None:
    """Nor with anything that the description does not name; and nothing behind the doors fails."""
    answers = knock(world, INPUTS, seed=20261124)

    assert answers.total() >= INPUTS
    assert max(status for _, status in answers) < 500
    for address in DESCRIPTION["paths"]:
        assert any(at == address for at, _ in answers)
