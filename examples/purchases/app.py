"""The application: declarations only."""

from __future__ import annotations

from examples.purchases.use_cases import USE_CASES
from usecasecore import AllowAll, Application

app = Application(USE_CASES, policy=AllowAll(), name="purchases")
