"""Documents are tested: shell blocks run, Python blocks run or at least import, make targets and links exist."""

import ast
import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"(?:<!-- tested by: (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
RUN_WHOLE = {"README.md", "README.zh.md"}


def blocks(page, language):
    for test, found, text in BLOCK.findall(page.read_text()):
        if found == language:
            yield test, text


def names(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_make_targets_and_files_named_exist(page):
    makefile = (ROOT / "Makefile").read_text()
    text = page.read_text()
    for target in re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in re.findall(r"`((?:bench|examples|tests|train|docs|trustplane)/[\w/.-]+\.\w+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [p for p in PAGES if list(blocks(p, "sh"))], ids=names)
def test_shell_blocks_run(page, tmp_path):
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path),
    }  # fmt: skip
    if page.name in RUN_WHOLE:
        for _, text in blocks(page, "python"):
            done = subprocess.run(
                [sys.executable, "-c", text], cwd=tmp_path, env=environ, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{text}\n{done.stderr}"
    for test, text in blocks(page, "sh"):
        if test:
            assert (ROOT / test).exists(), test
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, env=environ, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", [p for p in PAGES if list(blocks(p, "python"))], ids=names)
def test_python_blocks_compile_and_name_what_exists(page):
    imports = []
    for _, text in blocks(page, "python"):
        tree = ast.parse(text)
        imports += [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    done = subprocess.run([sys.executable, "-c", "\n".join(imports)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [p for p in PAGES if list(blocks(p, "console"))], ids=names)
def test_console_lines_are_commands_that_exist(page):
    """Lines that need files of their own are parsed, not run: verbs, options and arguments must fit."""
    import typer

    from trustplane.cli import build

    top = typer.main.get_command(build())
    lines = [line for _, text in blocks(page, "console") for line in text.splitlines() if line.startswith("$ ")]
    assert lines
    for line in lines:
        words = shlex.split(line[2:], comments=True)
        if words[0] != "trustplane":
            continue
        arguments = list(itertools.takewhile(lambda w: w not in ("<", ">", "|"), words[1:]))
        command, context = top, top.make_context("trustplane", list(arguments), resilient_parsing=True)
        while hasattr(command, "commands"):
            name, command, arguments = command.resolve_command(context, arguments)
            if not hasattr(command, "commands"):
                command.make_context(name, list(arguments))
            else:
                context = command.make_context(name, list(arguments), resilient_parsing=True)


@pytest.mark.parametrize("script", sorted(ROOT.glob("examples/*.py")), ids=lambda p: p.name)
def test_examples_run(script, tmp_path):
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_every_command_has_help_and_every_verb_is_in_the_docs():
    import typer

    from trustplane.cli import build

    command = typer.main.get_command(build())
    documented = "".join(p.read_text() for p in PAGES)

    def walk(node, path):
        if hasattr(node, "commands"):
            for name, child in node.commands.items():
                walk(child, f"{path} {name}")
            return
        assert node.help, path
        assert path in documented or path.replace("lineage", "ledger") in documented, path

    walk(command, "trustplane")
