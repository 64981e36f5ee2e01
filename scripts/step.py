"""Run a command as a named step and say how long it took: `step.py NAME COMMAND...`. Standard library only."""

import subprocess
import sys
import time


def main() -> int:
    """Return the command's exit code; a signal's is 128 + its number, as in a shell."""
    name, *command = sys.argv[1:]
    print(f"==> {name}", flush=True)
    started = time.monotonic()
    code = subprocess.call(command)
    mark = "" if code == 0 else f" (failed: exit code {code})"
    print(f"<== {name}: {time.monotonic() - started:.1f} s{mark}", flush=True)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
