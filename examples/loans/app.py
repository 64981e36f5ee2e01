"""The application: `usecasecore --app examples.loans.app:app lifecycle list`."""

from __future__ import annotations

from examples.loans.use_cases import USE_CASES
from usecasecore import AllowAll, Application

# The log says who did what, and nothing about who was allowed to: a stricter policy would be an invention.
app = Application(USE_CASES, policy=AllowAll(), name="loans")
