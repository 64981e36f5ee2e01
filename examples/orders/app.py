"""The application: `usecasecore lifecycle show order --app examples.orders.app:app`."""

from __future__ import annotations

from examples.orders.use_cases import USE_CASES
from usecasecore import AllowAll, Application

app = Application(USE_CASES, policy=AllowAll(), name="orders")
