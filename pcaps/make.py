"""Makes the sample shop: a capture, flow logs, inventories and the right answers. Same bytes at every run.

    python pcaps/make.py [FOLDER]

Without FOLDER it renews the files beside this script. Needs scapy, which the `dev` extra brings.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]  # the flow log writer is the simulator's

import aws_tiers  # noqa: E402  (needs the line above)
import shop  # noqa: E402


def main(folder: Path) -> None:
    """Writes all files below `folder`."""
    for name, content in {**shop.files(), **aws_tiers.files()}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{len(content):>9,} bytes  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
