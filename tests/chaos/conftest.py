"""What the fault tests share: a tally, and a server of their own that can be crashed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.tally import Tally, as_property
from tests.conftest import prepare_template
from tests.postgres import PostgresServer, PostgresUnavailable, create_database


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts the faults of a test; part of the closing line of `make chaos`."""
    counted = Tally()
    yield counted
    request.node.user_properties.append(as_property(counted))


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server of this test's own, which it may crash."""
    try:
        server = PostgresServer(options={"max_connections": "60"}).start()
    except PostgresUnavailable as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture
def own_url(own_server: PostgresServer) -> str:
    """A database with a ledger on the test's own server."""
    url = create_database(own_server.url(), "shop")
    prepare_template(url)
    return url
