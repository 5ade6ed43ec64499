"""Writes what infra/checks knows of the Terraform providers: the schemas of the resources that the modules use.

Terraform checks a configuration against its providers' schemas, and gets a provider only from a registry that an
offline machine does not have. The schemas also stand in the providers' CDKTF bindings, which are npm packages:

    npm pack @cdktf/provider-aws @cdktf/provider-google @cdktf/provider-azurerm
    python scripts/provider_schemas.py cdktf-provider-*.tgz

Run it again when a module uses another type of resource. The last bindings are of December 2025 (AWS 6.25,
Google 6.50, azurerm 4.55); none will follow.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

INFRA = Path(__file__).parent.parent / "infra"
OUT = INFRA / "checks" / "schemas"
CLOUDS = {"aws": "aws", "google": "gcp", "azurerm": "azure"}

_USED = re.compile(r'^resource "(\w+)"', re.MULTILINE)
_CLASS = re.compile(r"^export class (\w+) extends", re.MULTILINE)
_MODE = re.compile(r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n")
_CONFIGURABLE = re.compile(r'(\w+): \{\s+value: .*,\s+isBlock: (\w+),\s+type: "(\w+)",\s+storageClassType: "(\w+)",')
_SIMPLE = {
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "stringList": "string",
    "numberList": "number",
    "stringMap": "string",
    "booleanMap": "bool",
    "numberMap": "number",
}
_COMPUTED = [
    (re.compile(r"Fn\.tolist\(this\.getListAttribute"), ["set", "string"]),
    (re.compile(r"getListAttribute"), ["list", "string"]),
    (re.compile(r"getNumberListAttribute"), ["list", "number"]),
    (re.compile(r"getStringAttribute"), "string"),
    (re.compile(r"getNumberAttribute"), "number"),
    (re.compile(r"getBooleanAttribute"), "bool"),
    (re.compile(r"new cdktf\.StringMap\("), ["map", "string"]),
]


def typescript(archive: tarfile.TarFile, folder: str) -> str:
    """Return the source of a binding, which its source map holds."""
    member = archive.extractfile(f"package/lib/{folder}/index.js")
    assert member is not None
    encoded = member.read().decode().rsplit("sourceMappingURL=data:application/json;base64,", 1)[1]
    (source,) = json.loads(base64.b64decode(encoded))["sourcesContent"]
    return str(source)


def classes_of(source: str) -> dict[str, str]:
    """Return the text of each class."""
    found = list(_CLASS.finditer(source))
    ends = [*(match.start() for match in found[1:]), len(source)]
    return {match[1]: source[match.start() : end] for match, end in zip(found, ends, strict=True)}


def configurable(name: str, source: str) -> dict[str, re.Match[str]]:
    """Return what a block serialises: each attribute and block that a configuration can set."""
    serialiser = f"function {name[0].lower()}{name[1:]}ToHclTerraform("
    text = source[source.index(serialiser) :].partition("\n}\n")[0] if serialiser in source else source
    if serialiser not in source:  # a resource's own
        text = text[text.rindex("synthesizeHclAttributes") :]
    return {found[1]: found for found in _CONFIGURABLE.finditer(text)}


def block(name: str, source: str) -> dict[str, object]:
    """Return the schema of a block: its attributes, and the blocks within."""
    classes = classes_of(source)
    text = classes.get(f"{name}OutputReference") or classes.get(name)
    settable = configurable(name, source)
    attributes: dict[str, object] = {}
    blocks: dict[str, object] = {}
    # The blocks within a provider's settings have no class, which would tell what is required.
    for attribute, mode, body in modes(text) if text else ((known, "optional", "") for known in settable):
        known = settable.get(attribute)
        if known is None:
            kind = next((kind for pattern, kind in _COMPUTED if pattern.search(body)), None)
            if kind is not None and mode == "computed":
                attributes[attribute] = [kind, mode]
        elif known[2] == "true":
            blocks[attribute] = nested(known, mode, body, source)
        elif known[4] in _SIMPLE:
            kind = _SIMPLE[known[4]]
            attributes[attribute] = [kind if known[3] == "simple" else [known[3], kind], mode]
    return {"attributes": attributes, **({"blocks": blocks} if blocks else {})}


def modes(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, mode and text of each attribute of a class."""
    found = list(_MODE.finditer(text))
    for here, after in zip(found, [*found[1:], None], strict=True):
        words = ("computed", "optional", "required")
        mode = " ".join(word for word, is_so in zip(words, here.groups()[1:], strict=True) if is_so == "true")
        yield here[1], mode, text[here.end() : after.start() if after else len(text)]


def nested(known: re.Match[str], mode: str, body: str, source: str) -> dict[str, object]:
    """Return a block within a block; one that is no list of the binding comes once at most."""
    many = re.search(r"new (\w+)List\(this", body)
    single = known[3] == "struct"
    return {
        "nesting": "single" if single else known[3],
        "min": int("required" in mode),
        "max": 0 if many or single else 1,
        "block": block(known[4].removesuffix("List"), source),
    }


def schema(path: Path) -> tuple[str, dict[str, object]]:
    """Return the provider's name, and its schema."""
    with tarfile.open(path) as archive:
        package = json.load(archive.extractfile("package/package.json"))["cdktf"]["provider"]  # type: ignore[arg-type]
        provider = package["name"].rsplit("/", 1)[1]
        module = INFRA / CLOUDS[provider]
        used = sorted({kind for file in module.rglob("*.tf") for kind in _USED.findall(file.read_text())})
        resources: dict[str, object] = {}
        for kind in used:
            source = typescript(archive, kind.removeprefix(f"{provider}_").replace("_", "-"))
            (name,) = re.findall(r"export class (\w+) extends cdktf.TerraformResource", source)
            resources[kind] = block(name, source)
        settings = typescript(archive, "provider")
        (name,) = re.findall(r"export class (\w+) extends cdktf.TerraformProvider", settings)
        return provider, {
            "source": "hashicorp/" + provider,
            "version": package["version"],
            "settings": block(name, settings),
            "resources": resources,
        }


def lines(found: dict[str, object]) -> str:
    """Return JSON with a line for each type of resource, so that a change shows which one it is of."""
    resources = found["resources"]
    assert isinstance(resources, dict)
    each = ",\n".join(f'"{kind}": {json.dumps(known, sort_keys=True)}' for kind, known in resources.items())
    rest = json.dumps({**found, "resources": {}}, sort_keys=True)
    return rest.replace('"resources": {}', f'"resources": {{\n{each}\n}}')


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        provider, found = schema(path)
        (OUT / f"{provider}.json").write_text(lines(found) + "\n")
        print(f"{provider}: {', '.join(found['resources'])}")  # type: ignore[arg-type]
