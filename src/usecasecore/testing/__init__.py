"""What the tests of an application import. It must not be loaded in production: nothing in the library does."""

from usecasecore.testing.failpoints import Crashed, Failpoint, crash_after, crash_before, fail, failpoints

__all__ = ["Crashed", "Failpoint", "crash_after", "crash_before", "fail", "failpoints"]
