"""The application: `usecasecore usecase show PayOrder --app examples.repositories.app:app`."""

from __future__ import annotations

from examples.repositories.use_cases import USE_CASES
from usecasecore import AllowAll, Application

app = Application(USE_CASES, policy=AllowAll(), name="orders")
