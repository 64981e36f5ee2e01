"""Delivers the outbox after the commit: claims what is due, publishes it outside of any transaction, acknowledges it."""

from usecasecore.relay.jobs import JobHandlers, JobQueue
from usecasecore.relay.message import OutgoingMessage
from usecasecore.relay.publisher import LogPublisher, NotPublished, Publisher, ReceiverUnavailable
from usecasecore.relay.relay import DrainReport, Relay, exponential_backoff
from usecasecore.relay.status import OutboxStatus, TypeStatus, outbox_status
from usecasecore.relay.webhook import WebhookFailed, WebhookPublisher

__all__ = [
    "DrainReport",
    "JobHandlers",
    "JobQueue",
    "LogPublisher",
    "NotPublished",
    "OutboxStatus",
    "OutgoingMessage",
    "Publisher",
    "ReceiverUnavailable",
    "Relay",
    "TypeStatus",
    "WebhookFailed",
    "WebhookPublisher",
    "exponential_backoff",
    "outbox_status",
]
