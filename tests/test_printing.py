"""Tables on stdout: what a line looks like, whatever its cells hold."""

from __future__ import annotations

import io

from rich.console import Console

from flowctl.printing import print_long_table


def test_a_long_table_has_a_line_for_each_row() -> None:
    out = Console(file=io.StringIO(), width=40)
    rows = [
        ("shop/cart", "1,234", "rule"),
        ("a" * 60, "5", "rule"),
        ("[bold]x[/bold]\x1b[31m\n", "66", ""),
        ("\u6771\u4eac", "7", "rule"),  # two columns of a terminal each
    ]
    print_long_table(out, "Who [talks]", ("client", "records", "becomes"), rows, (1,))
    assert isinstance(out.file, io.StringIO)
    title, *lines = out.file.getvalue().splitlines()
    assert title == "Who [talks]"
    assert lines == [
        "client" + " " * 54 + "  records  becomes",
        "shop/cart" + " " * 51 + "    1,234  rule",
        "a" * 60 + "        5  rule",
        "[bold]x[/bold]\\x1b[31m\\x0a" + " " * 34 + "       66",
        "\u6771\u4eac" + " " * 56 + "        7  rule",
    ]
