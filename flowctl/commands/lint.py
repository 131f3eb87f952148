"""`flowctl lint`: what is wrong with these policies?"""

from __future__ import annotations

import sys

import click

from flowctl.policy_options import cni_option, inventory_option, refuse_left_out, strict_option


@click.command("lint", short_help="Find what is wrong, useless or dangerous in policies, with proof; --fix rewrites.")
@click.argument("policies", metavar="POLICIES...", nargs=-1)
@inventory_option
@cni_option
@click.option("--check", "checks", multiple=True, metavar="ID", help="Only this check; may be given several times.")
@click.option("--list", "list_checks", is_flag=True, help="List the checks: id, severity, what is found.")
@click.option("--fix", is_flag=True, help="Rewrite files where the meaning provably stays, and prove it.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["json", "sarif", "table"]),
    default="table",
    show_default=True,
    help="How to print the findings.",
)
@strict_option
def command(
    policies: tuple[str, ...],
    inventory: tuple[str, ...],
    cni: str,
    checks: tuple[str, ...],
    list_checks: bool,
    fix: bool,
    output_format: str,
    strict: bool,
) -> None:
    """Check POLICIES: files or directories of manifests, Terraform or `describe-security-groups` JSON, a git revision
    (HEAD~1:policies/), or - for standard input. An inventory may be among them.

    Exits with 1 when a finding is an error, or an object was left out because no server would take it.
    """
    from flowctl.lint_formats import LintOutput, printer
    from flowctl.linting import FindingPlaces, run_checks
    from flowctl.policy_sources import load_policies
    from policygen.lint.model import Severity
    from policygen.lint.run import all_checks

    if list_checks:
        _print_checks()
        return
    unknown = sorted(set(checks) - all_checks().keys())
    if unknown:
        raise click.UsageError(f"--check {unknown[0]}: no such check; `flowctl lint --list` names them")
    if not policies:
        raise click.UsageError("missing argument POLICIES...: a file, a directory, REVISION:PATH, or -")
    loaded = load_policies(policies, inventory)
    refuse_left_out(loaded, strict)
    fixed: tuple[str, ...] = ()
    not_fixed: tuple[str, ...] = ()
    if fix:
        from flowctl.lint_fixing import fix_files

        loaded, fixed, not_fixed = fix_files(loaded, cni, checks)
    report = run_checks(loaded, cni, checks)
    printer(output_format).show(LintOutput(loaded, report, FindingPlaces(loaded), cni, fixed, not_fixed))
    if report.count(Severity.ERROR) or loaded.left_out:
        sys.exit(1)


def _print_checks() -> None:
    from flowctl.printing import console, table
    from policygen.lint.run import all_checks

    rows = [(name, str(check.SEVERITY), check.DOC) for name, check in all_checks().items()]
    console().print(table("Checks", ("id", "severity", "finds"), rows))
