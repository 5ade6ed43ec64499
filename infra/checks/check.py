"""Checks the Terraform modules offline: format, validity, plans of the examples, and checkov's rules.

`scripts/infra.py` makes the environment that this runs in.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from terraform import INFRA, MODULES, Terraform, workspace

SKIPPED = Path(__file__).parent / "checkov.yaml"


def of_terraform(folders: dict[str, Terraform]) -> Iterator[str]:
    """Yield what Terraform says against a module or an example."""
    for module in MODULES:
        if changes := folders[module].format_problems():
            yield f"{module}: not formatted as `terraform fmt` would:\n{changes}"
    for path, folder in folders.items():
        yield from (f"{path}: {problem}" for problem in folder.problems())
        if "examples" in path:
            plan = folder.plan({})
            yield from (f"{path}: {problem}" for problem in plan["errors"])


def of_checkov() -> Iterator[str]:
    """Yield each check that fails and is not listed with its reason, and each that is listed for nothing."""
    listed = dict(re.findall(r"^ +- (CKV\w+) +# (.+)$", SKIPPED.read_text(), re.MULTILINE))
    options = ["--framework", "terraform", "--skip-download", "--output", "json", "--soft-fail"]
    checkov = Path(sys.executable).parent / "checkov"
    done = subprocess.run([checkov, "--directory", INFRA, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"checkov: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return
    results = json.loads(done.stdout)["results"]
    yield from (f"checkov cannot parse {path}" for path in results["parsing_errors"])
    failed = {check["check_id"]: check for check in results["failed_checks"]}
    for name in sorted(failed.keys() - listed.keys()):
        check = failed[name]
        yield f"checkov: {name} at {check['file_path']}:{check['file_line_range'][0]}: {check['check_name']}"
    for name in sorted(listed.keys() - failed.keys()):
        yield f"checkov: {name} fails nowhere: take it out of {SKIPPED.name}"


def main() -> int:
    """Print what is wrong, or that nothing is."""
    with workspace() as folders:
        problems = list(of_terraform(folders))
    problems += of_checkov()
    print("\n".join(problems) or f"infra: {', '.join(folders)} are formatted, valid, planned and pass checkov")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
