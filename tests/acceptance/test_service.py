"""The web service: an order's life over HTTP, refusals as problem details, and committed data for whoever looks next."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, make_url, select, update

from examples.orders.model import Base, Order
from examples.orders.use_cases import OrderSeen, Submit
from examples.service.main import Runner, create_app
from tests.postgres import create_database, drop_database
from usecasecore.errors import LedgerOutdated
from usecasecore.ledger import ledger_tables

ROOT = Path(__file__).parents[2]
ADA = {"X-User": "ada"}
LAMPS = {"article": "lamp", "quantity": 2, "unit_price": "19.90"}
CARD = "tok_4242"


def asynchronous(url: str) -> str:
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+psycopg_async"
    return make_url(url).set(drivername=driver).render_as_string(hide_password=False)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    if engine.dialect.name != "sqlite":
        Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def service(database_url: str, engine: Engine) -> FastAPI:
    return create_app(asynchronous(database_url))


@pytest.fixture
def client(service: FastAPI) -> Iterator[TestClient]:
    with TestClient(service, headers=ADA) as client:
        yield client


@pytest.fixture
def draft(client: TestClient) -> str:
    """The path of a new order."""
    return f"/orders/{client.post('/orders', json={'customer': 'Grace'}).json()['order_id']}"


@pytest.fixture
def worthy(client: TestClient, draft: str) -> str:
    """The path of a draft that is worth 39.80 EUR, at version 2."""
    assert client.post(f"{draft}/lines", json=LAMPS).status_code == 200
    return draft


@pytest.fixture
def submitted(client: TestClient, worthy: str) -> str:
    assert client.post(f"{worthy}/submit").status_code == 200
    return worthy


def problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    found: dict[str, Any] = response.json()
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert found["type"] == f"https://orders.example/problems/{code.replace('_', '-')}"
    assert (found["status"], found["code"]) == (status, code)
    assert found["title"]
    assert found["detail"]
    return found


def test_the_service_is_written_in_at_most_150_lines() -> None:
    assert len((ROOT / "examples/service/main.py").read_text().splitlines()) <= 150


def test_an_order_lives_its_life(client: TestClient) -> None:
    created = client.post("/orders", json={"customer": "Grace"})
    assert (created.status_code, created.headers["ETag"]) == (201, '"1"')
    order = f"/orders/{created.json()['order_id']}"
    steps = [
        client.post(f"{order}/lines", json=LAMPS),
        client.post(f"{order}/submit"),
        client.post(f"{order}/pay", json={"amount": "39.80", "card_token": CARD}),
        client.get(order),
        client.post(f"{order}/cancel", json={"reason": "sold out"}),
        client.get(order),
    ]
    assert [step.status_code for step in steps] == [200] * 6
    assert [step.json()["state"] for step in steps] == ["draft", "submitted", "paid", "paid", "cancelled", "cancelled"]
    assert [step.headers["ETag"] for step in steps] == ['"2"', '"3"', '"4"', '"4"', '"5"', '"5"']
    assert steps[-1].json() == {"order_id": created.json()["order_id"], "state": "cancelled", "total": "39.80"}


def possible(client: TestClient, order: str) -> list[str]:
    """What the actions of an order say is possible."""
    actions = client.get(f"{order}/actions").json()["actions"]
    return sorted(name for name, action in actions.items() if action["answer"] != "no")


def test_the_actions_of_an_order_follow_its_state(client: TestClient, worthy: str) -> None:
    before = client.get(f"{worthy}/actions")
    assert (before.json()["state"], before.json()["version"], before.headers["ETag"]) == ("draft", 2, '"2"')
    assert possible(client, worthy) == ["AddOrderLine", "CancelOrder", "SubmitOrder"]
    client.post(f"{worthy}/submit")
    assert possible(client, worthy) == ["CancelOrder", "PayOrder"]
    client.post(f"{worthy}/cancel", json={"reason": "changed my mind"})
    assert possible(client, worthy) == []


def test_an_action_that_is_not_possible_says_why_as_the_refusal_would(client: TestClient, draft: str) -> None:
    actions = client.get(f"{draft}/actions").json()["actions"]
    refused = problem(client.post(f"{draft}/submit"), 409, "guard_rejected")
    assert (actions["SubmitOrder"]["answer"], actions["SubmitOrder"]["why_not"]) == ("no", [refused["detail"]])
    assert actions["PayOrder"]["command"]["required"] == ["order_id", "amount", "card_token"]


def test_a_wrong_state_is_refused_with_the_state_and_what_is_possible(client: TestClient, worthy: str) -> None:
    refused = problem(client.post(f"{worthy}/pay", json={"amount": "39.80", "card_token": CARD}), 409, "transition_not_allowed")
    assert (refused["state"], refused["trigger"], refused["version"]) == ("draft", "pay", 2)
    assert refused["allowed"] == ["add_line", "cancel", "submit"]


def test_nothing_is_possible_from_a_final_state(client: TestClient, worthy: str) -> None:
    client.post(f"{worthy}/cancel", json={"reason": "sold out"})
    assert problem(client.post(f"{worthy}/submit"), 409, "transition_not_allowed")["allowed"] == []


def test_a_guard_refuses_with_its_reason(client: TestClient, draft: str) -> None:
    refused = problem(client.post(f"{draft}/submit"), 409, "guard_rejected")
    assert (refused["state"], refused["guard"], refused["version"]) == ("draft", "has_value", 1)
    assert refused["reason"] == "an order must be worth something before it is submitted"
    assert refused["allowed"] == ["add_line", "cancel", "submit"]


def test_a_domain_error_is_refused_with_its_facts(client: TestClient, submitted: str) -> None:
    refused = problem(client.post(f"{submitted}/pay", json={"amount": "1.00", "card_token": CARD}), 409, "wrong_amount")
    assert (refused["due"], refused["offered"], refused["version"]) == ("39.80", "1.00", 3)
    assert "allowed" not in refused


@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("GET", "/actions"), ("POST", "/submit")])
def test_an_order_that_does_not_exist_is_not_found(client: TestClient, method: str, action: str) -> None:
    order_id = str(uuid4())
    refused = problem(client.request(method, f"/orders/{order_id}{action}"), 404, "aggregate_not_found")
    assert (refused["aggregate"], refused["key"]) == ("order", order_id)


def test_a_cancellation_without_a_reason_is_refused(client: TestClient, draft: str) -> None:
    for body in (None, {}, {"reason": " "}):
        refused = problem(client.post(f"{draft}/cancel", json=body), 422, "invalid_command")
        assert refused["errors"] == [{"loc": ["reason"], "msg": "this use case wants a reason", "type": "invalid_call"}]


def test_a_repeated_key_is_replayed_and_says_so(client: TestClient, worthy: str) -> None:
    first, second = (client.post(f"{worthy}/submit", headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (second.status_code, second.json(), second.headers["ETag"]) == (200, first.json(), '"3"')


def test_a_replayed_creation_is_created_once_and_answers_as_then(client: TestClient) -> None:
    first, second = (client.post("/orders", json={"customer": "Grace"}, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert (second.status_code, second.json()) == (201, first.json())


def test_a_key_that_stands_for_another_command_is_refused(client: TestClient) -> None:
    client.post("/orders", json={"customer": "Grace"}, headers={"Idempotency-Key": "k1"})
    refused = client.post("/orders", json={"customer": "Alan"}, headers={"Idempotency-Key": "k1"})
    assert problem(refused, 422, "idempotency_key_reused")["key"] == "k1"


def test_a_stale_etag_fails_the_precondition(client: TestClient, worthy: str) -> None:
    refused = problem(client.post(f"{worthy}/submit", headers={"If-Match": '"1"'}), 412, "stale_version")
    assert (refused["expected"], refused["version"]) == (1, 2)
    etag = client.get(worthy).headers["ETag"]
    assert client.post(f"{worthy}/submit", headers={"If-Match": etag}).status_code == 200


def test_without_an_actor_nothing_is_done_and_nothing_shown(client: TestClient, draft: str) -> None:
    del client.headers["X-User"]
    for response in (client.get(draft), client.post(f"{draft}/submit"), client.post("/orders", json={"customer": "Grace"})):
        problem(response, 401, "http_401")


def test_what_the_framework_refuses_is_a_problem_too(client: TestClient, draft: str) -> None:
    problem(client.get("/nothing"), 404, "http_404")
    deleted = client.delete(draft)
    problem(deleted, 405, "http_405")
    assert "GET" in deleted.headers["Allow"]
    assert problem(client.get("/orders/1"), 422, "invalid_command")["errors"][0]["loc"] == ["path", "order_id"]
    problem(client.post(f"{draft}/submit", headers={"If-Match": "W/1"}), 422, "invalid_command")


@pytest.mark.parametrize(
    "body",
    [
        b'{"customer": "\\ud800"}',
        b'{"customer": "a\\u0000"}',
        b'{"customer": NaN}',
        b'{"customer": "a", "\\ud800": 1}',
        b'{"customer": "a", "other": 1}',
        b'{"customer": ',
    ],
)
def test_what_no_database_stores_is_an_invalid_request(client: TestClient, body: bytes) -> None:
    response = client.post("/orders", content=body, headers={"Content-Type": "application/json"})
    assert problem(response, 422, response.json()["code"])["errors"][0]["loc"]


@pytest.mark.parametrize(
    "body",
    [
        {"amount": "1.00", "card_token": CARD},
        {"amount": "x", "card_token": CARD},
        {"card_token": CARD},
        {"amount": "1e999999", "card_token": CARD},
        {"amount": "39.80", "card_token": [CARD]},
        {"amount": "39.80", "card_token": CARD * 100},
        {"amount": "39.80", "card_token": f"{CARD}\0"},
        {"amount": CARD},
        [CARD],
        CARD,
    ],
)
def test_a_card_token_is_never_echoed(client: TestClient, submitted: str, body: object) -> None:
    response = client.post(f"{submitted}/pay", json=body)
    problem(response, 409 if body == {"amount": "1.00", "card_token": CARD} else 422, response.json()["code"])
    assert CARD not in response.text + str(response.headers)


def test_a_field_is_as_limited_in_the_body_as_in_its_command(client: TestClient, draft: str) -> None:
    for wrong in ({"article": ""}, {"article": "a" * 101}, {"quantity": 0}, {"quantity": 10_001}, {"unit_price": "-1"}):
        problem(client.post(f"{draft}/lines", json=LAMPS | wrong), 422, "invalid_command")


def test_a_body_can_not_name_another_order_or_a_field_that_the_command_has_not(client: TestClient, draft: str) -> None:
    for more in ({"order_id": str(uuid4())}, {"colour": "red"}):
        refused = problem(client.post(f"{draft}/lines", json=LAMPS | more), 422, "invalid_command")
        assert refused["errors"][0]["loc"] == ["body", *more]


def test_a_refusal_names_its_attempt(client: TestClient, draft: str, engine: Engine) -> None:
    refused = problem(client.post(f"{draft}/submit"), 409, "guard_rejected")
    with engine.connect() as connection:
        assert [refused["command_id"]] == [str(one) for one in connection.scalars(select(ledger_tables().attempt.c.command_id))]


def test_a_locked_order_may_be_tried_again_later(client: TestClient, worthy: str, engine: Engine) -> None:
    statement = update(Order).where(Order.id == UUID(worthy.removeprefix("/orders/"))).values(customer="Alan")
    with engine.begin() as connection:
        connection.execute(statement)
        refused = client.post(f"{worthy}/submit")
    assert refused.headers["Retry-After"] == "1"
    problem(refused, 503, "aggregate_busy")
    assert client.post(f"{worthy}/submit").status_code == 200


def test_a_background_task_and_the_next_request_see_what_was_committed(service: FastAPI, engine: Engine) -> None:
    seen = []

    def note(place: str, order_id: UUID) -> None:
        with engine.connect() as connection:
            seen.append((place, connection.scalar(select(Order.__table__.c.state).where(Order.__table__.c.id == order_id))))

    @service.post("/submissions/{order_id}")
    async def submit_and_note(run: Runner, tasks: BackgroundTasks, order_id: UUID) -> OrderSeen:
        result = await run(Submit(order_id=order_id))
        note("after the call", order_id)
        tasks.add_task(note, "background task", order_id)
        return result

    with TestClient(service, headers=ADA) as client:
        order_id = client.post("/orders", json={"customer": "Grace"}).json()["order_id"]
        client.post(f"/orders/{order_id}/lines", json=LAMPS)
        assert client.post(f"/submissions/{order_id}").json()["state"] == "submitted"
        assert client.get(f"/orders/{order_id}").json()["state"] == "submitted"
    assert seen == [("after the call", "submitted"), ("background task", "submitted")]


def test_an_unknown_error_is_a_500_that_tells_nothing(service: FastAPI, engine: Engine) -> None:
    with TestClient(service, headers=ADA, raise_server_exceptions=False) as client:
        order = f"/orders/{client.post('/orders', json={'customer': 'Grace'}).json()['order_id']}"
        with engine.begin() as connection:
            connection.exec_driver_sql("drop table order_lines")
        response = client.get(order)
    assert (response.status_code, response.text) == (500, "Internal Server Error")


def test_the_documentation_shows_problems_and_headers(client: TestClient) -> None:
    pay = client.get("/openapi.json").json()["paths"]["/orders/{order_id}/pay"]["post"]
    assert set(pay["responses"]) == {"200", "422", "4XX", "5XX"}
    assert list(pay["responses"]["422"]["content"]) == ["application/problem+json"]
    assert {one["name"] for one in pay["parameters"]} == {"order_id", "x-user", "idempotency-key", "if-match"}


def test_on_postgresql_the_service_makes_nothing_and_says_what_is_missing(postgres_server: str) -> None:
    name = f"usecasecore_{uuid4().hex}"
    url = create_database(postgres_server, name)
    try:
        with pytest.raises(LedgerOutdated, match="db upgrade"), TestClient(create_app(asynchronous(url))):
            pass
    finally:
        drop_database(postgres_server, name)


def test_uvicorn_serves_it_on_a_file_in_the_current_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "examples.service.main:app", "--port", "0", "--app-dir", str(ROOT)]
    environment = {name: value for name, value in os.environ.items() if name != "USECASECORE_URL"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.:]+", line)))
            assert httpx2.post(f"{address}/orders", json={"customer": "Grace"}, headers=ADA).status_code == 201
        finally:
            server.terminate()
    assert (tmp_path / "service.db").exists()
