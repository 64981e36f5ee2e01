"""The ticket as a Django model with `django-fsm-2`, its transitions logged by `django-fsm-log`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.engine import make_url

from benchmarks import tickets
from benchmarks.tickets import TicketState


class Refused(Exception):
    """The policy said no."""


def prepare(url: str) -> tuple[Callable[[int, str], object], Sequence[int]]:
    import django
    from django.conf import settings

    where = make_url(url)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": where.database,
        "HOST": where.host,
        "PORT": where.port,
        "USER": where.username,
        "PASSWORD": where.password,
        "CONN_MAX_AGE": None,
    }
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_fsm", "django_fsm_log"],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    ticket_model = _model()
    ids, agent = _created(ticket_model)
    return _perform(ticket_model, agent), ids


def _model() -> Any:
    # Django wants its settings before a model is made.
    from django.db import models
    from django_fsm import FSMField, transition
    from django_fsm_log.decorators import fsm_log_by

    class Ticket(models.Model):
        customer = models.CharField(max_length=100)
        subject = models.CharField(max_length=200)
        priority = models.IntegerField()
        budget = models.IntegerField()
        minutes = models.IntegerField(default=0)
        answers = models.IntegerField(default=0)
        answered_at = models.DateTimeField(null=True)
        state = FSMField(default=TicketState.OPEN.value, protected=True)
        version = models.IntegerField(default=1)

        class Meta:
            app_label = "tickets"

        def __str__(self) -> str:
            return str(self.subject)

        @fsm_log_by
        @transition(state, source=TicketState.OPEN.value, target=TicketState.WAITING.value, conditions=[tickets.within_budget])
        @transition(state, source=TicketState.WAITING.value, target=TicketState.OPEN.value, conditions=[tickets.within_budget])
        def answer(self, minutes: int, by: Any = None) -> None:
            from django.utils import timezone

            tickets.answer(self, minutes, timezone.now())
            self.version += 1

    return Ticket


def _created(ticket_model: Any) -> tuple[list[int], Any]:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(ticket_model)
    made = ticket_model.objects.bulk_create(
        ticket_model(customer="c", subject="s", priority=n % 5, budget=10**9) for n in range(1_000)
    )
    return [ticket.pk for ticket in made], User.objects.create(username=tickets.AGENT)


def _perform(ticket_model: Any, agent: Any) -> Callable[[int, str], object]:
    from django.db import transaction

    def perform(ticket_id: int, _key: str) -> object:
        with transaction.atomic():
            ticket = ticket_model.objects.select_for_update().get(pk=ticket_id)
            if not tickets.may_answer(tickets.ROLES, ticket):
                raise Refused("the policy")
            ticket.answer(tickets.MINUTES, by=agent)
            ticket.save()
        return {"ticket_id": ticket.pk, "state": ticket.state, "answers": ticket.answers, "minutes": ticket.minutes}

    return perform
