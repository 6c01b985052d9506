"""Print `make help`: the Makefile's own verbs, and the program's verbs with their docstrings.

Standard library only: it must work before there is a virtual environment.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_SECTION = re.compile(r"##@ (?P<title>.+)")
_RULE = re.compile(r"(?P<verb>[a-z-]+):.*?## (?P<text>.+)")
_PATTERN = re.compile(r"\$\((?P<list>[A-Z]+)\):")
_PLACE = re.compile(r'"(?P<verb>[a-z-]+)": "(?P<module>[\w.]+):?(?P<function>\w*)",')


def described(module: str, function: str) -> str:
    """First line of the function's docstring, and the variables it reads."""
    tree = ast.parse(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text("utf-8"))
    [node] = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == function]
    variables: list[str] = []
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call) or any(one.arg == "hidden" for one in decorator.keywords):
            continue
        kind = ast.unparse(decorator.func)
        options = [one.value for one in decorator.args if isinstance(one, ast.Constant)]
        if kind in ("click.option", "click.argument"):
            variables.append(str(options[0]).lstrip("-").replace("-", "_").upper() + "=")
        elif kind == "options.confirm":
            variables.append("CONFIRM=1")
    text = (ast.get_docstring(node) or "").partition("\n")[0].rstrip(".")
    return f"{text} ({', '.join(variables)})" if variables else text


def main() -> None:
    """Print the sections of the Makefile with a line for each verb."""
    colour, plain, bold = ("\033[36m", "\033[0m", "\033[1m") if sys.stdout.isatty() else ("", "", "")
    program = (ROOT / "operations" / "__main__.py").read_text("utf-8")
    places = {verb: (module, function or "command") for verb, module, function in _PLACE.findall(program)}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lists = dict(re.findall(r"^([A-Z]+) := ([a-z -]+)$", makefile, re.MULTILINE))
    print("Usage: make VERB [ENV=local|dev|staging|prod] [NAME=value ...]; most verbs take JSON=1")
    for line in makefile.splitlines():
        if section := _SECTION.match(line):
            print(f"\n{bold}{section['title']}{plain}")
        elif rule := _RULE.match(line):
            print(f"  {colour}{rule['verb']:12}{plain} {rule['text']}")
        elif (pattern := _PATTERN.match(line)) and pattern["list"] in lists:
            for verb in lists[pattern["list"]].split():
                print(f"  {colour}{verb:12}{plain} {described(*places[verb])}")


if __name__ == "__main__":
    main()
