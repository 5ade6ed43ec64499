"""What no test does of that which the pages show, and why: nothing else in them goes unread."""

from __future__ import annotations

NOT_RUN: dict[tuple[str, str], str] = {
    ("infra/README.md", 'module "cache" {'): "HCL, which tests/infra/ checks in the modules themselves",
    ("infra/aws/README.md", "terraform init && terraform apply"): "it makes a bucket in somebody's account",
    ("infra/azure/README.md", "terraform init && terraform apply"): "it makes a container in somebody's account",
    ("infra/gcp/README.md", "terraform init && terraform apply"): "it makes a bucket in somebody's account",
}
"""(page, first line of a block) -> why nobody runs it."""

NOT_TYPED = {
    "pip install": "the tests' environment has it",
    "python3 -m venv": "the tests have an environment",
    "source ": "the tests have an environment",
    "mkdir ": "the tests have a directory for each page",
    ".venv/bin/python benchmarks/run.py": "it takes the machine for minutes; tests/test_beside.py has its parts",
    "make ": "its targets take minutes; that the Makefile has them is looked up",
}
"""How a command begins -> why nobody types it."""

ELSEWHERE = {
    ("README.md", "python"): "tests/test_readme.py",
    ("SECURITY.md", "python"): "tests/test_security_docs.py",
    ("operating.md", "sh"): "tests/cli/test_operating_page.py",
}
"""(page, language) -> the tests that run these blocks."""

NOT_CODE = {"text", "json"}
"""Languages of what a program prints."""
