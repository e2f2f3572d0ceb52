#!/usr/bin/env python3
"""Renders chat templates with Python's jinja2, set up as transformers does, for the tests of the router's own interpreter.

    python3 -m venv /tmp/jinja && /tmp/jinja/bin/pip install jinja2==3.1.6
    /tmp/jinja/bin/python tools/template_goldens.py [TEMPLATES [GOLDENS]]

Reads TEMPLATES/*.jinja (default: the templates in the router's test resources) and scenarios.json beside that directory,
or the router's own. Writes GOLDENS (default: goldens.json beside the templates): template -> scenario -> {"output": text}, or
{"error": message} where the template refuses or fails.
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

RESOURCES = pathlib.Path(__file__).resolve().parent.parent / "router/src/test/resources/template"
NOW = datetime.datetime(2025, 3, 9, 17, 5, 7)


class Generation(jinja2.ext.Extension):
    """{% generation %} marks text for training; here it only has a scope of its own, as in transformers."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _render(self, context, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def main():
    templates = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else RESOURCES / "templates"
    goldens = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else templates.parent / "goldens.json"
    scenarios = templates.parent / "scenarios.json"
    scenarios = json.loads((scenarios if scenarios.exists() else RESOURCES / "scenarios.json").read_text())
    results = {}
    for path in sorted(templates.glob("*.jinja")):
        results[path.stem] = {}
        for name, variables in scenarios.items():
            try:
                template = environment().from_string(path.read_text())
                results[path.stem][name] = {"output": template.render(**variables)}
            except Exception as error:
                results[path.stem][name] = {"error": f"{type(error).__name__}: {error}"}
    goldens.write_text(json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    count = [len(r) for r in results.values()]
    failed = sum("error" in s for r in results.values() for s in r.values())
    print(f"{len(results)} templates, {sum(count)} renderings, {failed} refused")


main()
