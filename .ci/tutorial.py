"""Runs the commands of Docs/tutorial_adapt.md, exactly as they stand there, and says how long each took."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "Docs" / "tutorial_adapt.md"
END = Path("adapted") / "evaluation" / "evaluation.html"


def commands(page: str) -> list[str]:
    """The lines of the page's `sh` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def quick(command: str) -> str:
    """The same walk with tiny scans and a few steps: proves that every command works, and nothing else."""
    if " phantom " in command:
        return command.replace("--preset medium", "--preset ci")
    return re.sub(r"--minutes \S+", "--minutes 0.1 --iterations 4", command)


def main() -> int:
    """Run them one after another; stops at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder to work in")
    parser.add_argument("--quick", action="store_true", help="tiny scans, a few steps")
    arguments = parser.parse_args()
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        return _say(f"{arguments.folder} is not empty: choose another folder", 2)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    here = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    began, spent = time.monotonic(), []
    for command in commands(PAGE.read_text(encoding="utf-8")):
        command = quick(command) if arguments.quick else command
        _say(f"$ {command}")
        started = time.monotonic()
        if code := subprocess.run(
            shlex.split(command), cwd=arguments.folder, env=here, check=False
        ).returncode:
            return _say(f"this command ended with {code}", code)
        spent.append((time.monotonic() - started, command))
    for seconds, command in spent:
        _say(f"{seconds:7.0f} s  {' '.join(command.split()[:2])}")
    _say(f"{(time.monotonic() - began) / 60:.1f} minutes in all; open {arguments.folder / END}")
    return 0 if (arguments.folder / END).is_file() else 1


def _say(text: str, code: int = 0) -> int:
    sys.stderr.write(text + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
