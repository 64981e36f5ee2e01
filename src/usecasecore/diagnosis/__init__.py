"""Is everything around the commands as they need it? `diagnose` looks at the environment, the database and the mapped classes."""

from usecasecore.diagnosis.examination import Diagnosis, diagnose
from usecasecore.diagnosis.finding import Finding, Severity

__all__ = ["Diagnosis", "Finding", "Severity", "diagnose"]
