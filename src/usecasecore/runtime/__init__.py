"""Runs commands: `execute` is the shell, the rest is what stands around it."""

from usecasecore.runtime.limits import Limits
from usecasecore.runtime.sync import Runtime

__all__ = ["Limits", "Runtime"]
