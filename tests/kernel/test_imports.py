"""Who may import whom, read from ARCHITECTURE.md; and that the front door loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trustplane

PACKAGE = Path(trustplane.__file__).parent
ARCHITECTURE = PACKAGE.parent / "ARCHITECTURE.md"
HEAVY = ["torch", "numpy", "spacy", "presidio_analyzer", "grpc", "typer", "rich", "sklearn", "httpx", "starlette",
         "jinja2", "opacus", "art"]  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def table():
    """Return layer -> (members, what they may import) from the document."""
    found = {}
    for line in ARCHITECTURE.read_text("utf-8").splitlines():
        cells = [cell.strip().replace("`", "").replace("*", "") for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0] in ("kernel", "rooms", "plane", "faces"):
            found[cells[0]] = [[word.strip() for word in cell.split(",")] for cell in cells[1:]]
    assert set(found) == {"kernel", "rooms", "plane", "faces"}, "ARCHITECTURE.md has no table of imports"
    return found


def member(parts):
    """Return the member that a module path below trustplane belongs to, its first part."""
    return "cli" if parts[0] == "__main__" else parts[0]


def imports(path):
    """Yield (line, dotted name) of every import in a module, those inside functions included.

    Those under ``if TYPE_CHECKING`` name types only and count for rooms as well: a type is knowledge, too.
    """
    package = ["trustplane", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{start}.{alias.name}" if start == "trustplane" else start


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_import_is_one_that_the_table_allows(path):
    layers = table()
    layer_of = {name: layer for layer, (members, _) in layers.items() for name in members}
    own = member(path.relative_to(PACKAGE).with_suffix("").parts)
    if own == "__init__":
        allowed = {"kernel", "plane"}  # the curated names
        layer = "front"
    else:
        layer = layer_of[own]
        allowed = set(layers[layer][1])
    wrong = []
    for line, name in imports(path):
        top, *rest = name.split(".")
        if top != "trustplane":
            if layer == "kernel" and top not in sys.stdlib_module_names and top not in allowed:
                wrong.append((line, name))
            continue
        if not rest:
            if layer != "faces":  # `import trustplane` is the plane's face
                wrong.append((line, name))
            continue
        target = rest[0]
        if target in layer_of:
            fine = layer_of[target] in allowed or target == own or (layer == layer_of[target] != "rooms")
        else:
            fine = layer == "faces" or target == "__version__"  # a curated name of the package
        if not fine:
            wrong.append((line, name))
    assert wrong == []


def test_every_module_belongs_to_a_layer():
    named = {name for members, _ in table().values() for name in members}
    assert {member(p.relative_to(PACKAGE).with_suffix("").parts) for p in MODULES} - {"__init__"} == named


def test_the_kernel_has_no_circle():
    kernel = table()["kernel"][0]
    edges = {
        name: {n.split(".")[1] for _, n in imports(PACKAGE / f"{name}.py") if n.startswith("trustplane.")}
        for name in kernel
    }

    def walk(name, above):
        assert name not in above, [*above, name]
        for target in edges.get(name, ()):
            walk(target, [*above, name])

    for name in kernel:
        walk(name, [])


@pytest.mark.parametrize("statement", ["import trustplane", "from trustplane import Step, Finding, Dataset"])
def test_importing_the_package_loads_nothing_heavy(statement):
    code = f"{statement}; import sys; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_curated_name_is_there():
    for name in trustplane.__all__:
        assert getattr(trustplane, name) is not None
    with pytest.raises(AttributeError):
        _ = trustplane.nothing
