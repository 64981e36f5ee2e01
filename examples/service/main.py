"""The orders as a web service: `uvicorn examples.service.main:app`, on the database that USECASECORE_URL names."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload
from starlette.exceptions import HTTPException

from examples.orders.app import app as orders
from examples.orders.model import Base, Order
from examples.orders.use_cases import AddLine, Cancel, CreateOrder, OrderSeen, Pay, Submit, seen
from usecasecore import Actor, AsyncRuntime, Command, CommandBody, Conflict, Rejected, errors

PROBLEM = {"description": "Problem details (RFC 9457)", "content": {"application/problem+json": {}}}
# Any other refusal is a 409, and what else may succeed later a 503. The rest is the service's own fault: a 500 without details.
HTTP = {"forbidden": 403, "aggregate_not_found": 404, "stale_version": 412, "in_progress": 409}
HTTP |= dict.fromkeys(("invalid_command", "idempotency_key_reused"), 422)


async def problem(request: Request, error: Any) -> Response:
    if isinstance(error, RequestValidationError):  # FastAPI's own answer echoes what was sent: a card token, say
        error = errors.InvalidCommand(command="the request", errors=error.errors())
    if isinstance(error, HTTPException):
        status, code, detail, headers, facts = error.status_code, f"http_{error.status_code}", error.detail, error.headers, {}
    else:
        refusal = error.refusal
        code, detail = refusal.code, refusal.message
        headers = {"Retry-After": f"{refusal.retry_after:.0f}"} if refusal.retry_after is not None else None
        status = HTTP.get(code, 409 if refusal.retry_after is None else 503)
        allowed = None if refusal.allowed is None else sorted(refusal.allowed)
        more = {"version": refusal.version, "allowed": allowed, "command_id": refusal.command_id}
        facts = {**refusal.params, **{name: fact for name, fact in more.items() if fact is not None}}
    about = {"type": f"https://orders.example/problems/{code.replace('_', '-')}", "title": code.replace("_", " ").capitalize()}
    content = {**facts, **about, "status": status, "detail": detail, "code": code}
    # ASCII, because the name of an unknown field may hold what UTF-8 can't. Decimals are text, as in the results.
    return Response(json.dumps(content, default=str), status, headers, media_type="application/problem+json")


def current_actor(x_user: Annotated[str | None, Header()] = None) -> Actor:
    """A STUB: it believes whoever says who they are. Authenticate here, with a token or a session."""
    if not x_user:
        raise HTTPException(401, "say who you are in the header X-User", {"WWW-Authenticate": "X-User"})
    return Actor("user", x_user)


@dataclass
class Run:
    """Runs a command with what the request's headers say. When it returns, the command is committed."""

    request: Request
    response: Response
    actor: Annotated[Actor, Depends(current_actor)]
    idempotency_key: Annotated[str | None, Header()] = None
    if_match: Annotated[str | None, Header(pattern=r'^"[0-9]{1,18}"$')] = None

    async def __call__(self, command: Command[OrderSeen], reason: str | None = None) -> OrderSeen:
        runtime: AsyncRuntime = self.request.app.state.runtime
        key, version = self.idempotency_key, int(self.if_match.strip('"')) if self.if_match else None
        outcome = await runtime.run(command, actor=self.actor, idempotency_key=key, expected_version=version, reason=reason)
        self.response.headers["ETag"] = f'"{outcome.version}"'
        if outcome.replayed:
            self.response.headers["Idempotent-Replayed"] = "true"
        return outcome.result


Runner = Annotated[Run, Depends()]
router = APIRouter(prefix="/orders", dependencies=[Depends(current_actor)], responses=dict.fromkeys([422, "4XX", "5XX"], PROBLEM))


async def stored(request: Request, response: Response, order_id: UUID) -> Order:
    async with AsyncSession(request.app.state.runtime.engine) as session:
        order = await session.get(Order, order_id, options=[selectinload(Order.lines)])
    if order is None:
        raise errors.AggregateNotFound(aggregate="order", key=str(order_id))
    response.headers["ETag"] = f'"{order.version}"'
    return order


@router.post("", status_code=201)
async def create(run: Runner, command: CreateOrder) -> OrderSeen:
    return await run(command)


@router.get("/{order_id}")
async def look(order: Annotated[Order, Depends(stored)]) -> OrderSeen:
    return seen(order)


@router.get("/{order_id}/actions")
async def actions(run: Runner, order_id: UUID) -> dict[str, Any]:
    found = await run.request.app.state.runtime.allowed(Order, order_id, actor=run.actor)
    run.response.headers["ETag"] = f'"{found.version}"'
    about = [(one, {"answer": one.answer, "depends_on": one.depends_on, "command": one.schema}) for one in found]
    told = {one.use_case: {**more, "why_not": [refusal.message for refusal in one.refusals]} for one, more in about}
    return {"state": found.state, "version": found.version, "actions": told}


@router.post("/{order_id}/lines")
async def add_line(run: Runner, order_id: UUID, body: CommandBody[AddLine]) -> OrderSeen:
    return await run(AddLine.of(body, order_id=order_id))


@router.post("/{order_id}/submit")
async def submit(run: Runner, order_id: UUID) -> OrderSeen:
    return await run(Submit(order_id=order_id))


@router.post("/{order_id}/pay")
async def pay(run: Runner, order_id: UUID, body: CommandBody[Pay]) -> OrderSeen:
    return await run(Pay.of(body, order_id=order_id))


@router.post("/{order_id}/cancel")
async def cancel(run: Runner, order_id: UUID, reason: Annotated[str | None, Body(embed=True)] = None) -> OrderSeen:
    return await run(Cancel(order_id=order_id), reason)


def create_app(url: str) -> FastAPI:
    """Return the service. On SQLite it makes all tables; any other database it only checks: its schema is deployed before."""

    @asynccontextmanager
    async def lifespan(service: FastAPI) -> AsyncIterator[None]:
        engine = create_async_engine(url)
        service.state.runtime = runtime = AsyncRuntime(engine, orders, create=url.startswith("sqlite"))
        try:
            await runtime.check()
            if url.startswith("sqlite"):
                async with engine.begin() as connection:
                    await connection.run_sync(Base.metadata.create_all)
            yield
        finally:
            await engine.dispose()

    kinds = (Rejected, Conflict, errors.DatabaseUnavailable, RequestValidationError, HTTPException)
    service = FastAPI(title="Orders", lifespan=lifespan, exception_handlers=dict.fromkeys(kinds, problem))
    service.include_router(router)
    return service


app = create_app(os.environ.get("USECASECORE_URL", "sqlite+aiosqlite:///service.db"))
