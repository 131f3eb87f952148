"""Options that take several values in a row: `--flows a.log b.log`, as shells expand a glob."""

from __future__ import annotations

import click


class RepeatedValues(click.Command):
    """A command whose options of `multiple` named in `several` take every value up to the next option."""

    several = ("--flows",)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write `--flows a b` as `--flows a --flows b`; `-` is a value, `--` ends options as always."""
        spread: list[str] = []
        option = ""
        for place, word in enumerate(args):
            if word == "--":
                spread += args[place:]
                break
            if word.startswith("-") and word != "-":
                option = word if word in self.several else ""
                spread.append(word)
            elif option and spread[-1] != option:
                spread += [option, word]
            else:
                spread.append(word)
        return super().parse_args(ctx, spread)
