"""What the acceptance tests share: one running world per worker, and members computed apart from the product."""

import os
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from sandbox.run import Order, Outcome, Run
from sandbox.world import Options, World

# Children of the sandbox bring their own authority; these variables of the machine would win over it.
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(_name, None)


def expected_hashes(addresses: list[str]) -> list[str]:
    """Return what LinkedIn must hold of these usable addresses: distinct, sorted, hashed as LinkedIn wants it."""
    return sorted({sha256("".join(address.split()).lower().encode()).hexdigest() for address in addresses})


@pytest.fixture
def hashes() -> Callable[[list[str]], list[str]]:
    """Return the independent computation of what LinkedIn must hold."""
    return expected_hashes


@pytest.fixture
def new_world() -> Iterator[Callable[..., World]]:
    """Return a way to start worlds that end with the test."""
    worlds: list[World] = []

    def start(**settings: str) -> World:
        worlds.append(World.start(Options(settings=settings)))
        return worlds[-1]

    yield start
    for world in worlds:
        world.stop()


@pytest.fixture
def play(new_world: Callable[..., World]) -> Callable[..., tuple[Outcome, World]]:
    """Return a way to play one job in a world of its own."""

    def played(order: Order, settings: dict[str, str] | None = None) -> tuple[Outcome, World]:
        world = new_world(**(settings or {}))
        run = Run(world, order)
        return run.follow(run.prepare(), patience=100), world

    return played
