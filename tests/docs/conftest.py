"""What the pages need around them: a mocked bucket, a provider; the fixtures of the README's test."""

from tests.test_readme import bucket, llm_provider

__all__ = ["bucket", "llm_provider"]
