"""Adopting tables that live already: what their columns lack, which rows can't be taken, and the baseline of each that can."""

from usecasecore.adoption.baselines import Progress, adopt, outstanding
from usecasecore.adoption.columns import Finding, column_findings
from usecasecore.adoption.operations import operations
from usecasecore.adoption.rows import LiveRows, rows_of, undeclared_states

__all__ = [
    "Finding",
    "LiveRows",
    "Progress",
    "adopt",
    "column_findings",
    "operations",
    "outstanding",
    "rows_of",
    "undeclared_states",
]
