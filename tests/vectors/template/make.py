#!/usr/bin/env python3
"""Makes the vectors of tests/template.c with Python's jinja2, in the environment that transformers sets up.

usage: make.py SHARED     (needs transformers; SHARED holds data/chat_templates/ and data/tokenizers/)

conversations.jsonl  what is rendered: one object of template variables a line
expected.jsonl       {"template", "rows": [[conversation, text or null when Python refuses], ...]}
own.jsonl            {"vars"}: what own.txt is rendered with; then {"template", "out"}, one a template of own.txt
                     (which may bring its own "vars"); no "out" when Python refuses
hfjs.jsonl           {"name", "python"}: rows of chat_templates/hfjs_*.jsonl (the cases of a JavaScript engine)
                     where Python prints something else than JavaScript, or refuses (null)
"""
import datetime
import glob
import json
import os
import sys

from transformers.utils import chat_template_utils

HERE = os.path.dirname(os.path.abspath(__file__))


compile_template = chat_template_utils._compile_jinja_template


class PinnedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls(2025, 7, 10)


chat_template_utils.datetime = PinnedDate


def u(text, **more): return {"role": "user", "content": text, **more}
def a(text, **more): return {"role": "assistant", "content": text, **more}
def s(text): return {"role": "system", "content": text}
def t(text, **more): return {"role": "tool", "content": text, **more}


def call(name, args, **more):
    return {"type": "function", "function": {"name": name, "arguments": args}, **more}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place.\nNow.",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "City & country <iso>"},
        "days": {"type": ["integer", "null"], "description": "how many"},
        "tags": {"type": "array", "items": {"type": "string"}, "description": "é \"quoted\""}},
        "required": ["place"]}}}
TIME = {"type": "function", "function": {"name": "now", "description": "d", "parameters": {
    "type": "object", "properties": {}}}}

CONVERSATIONS = [
    {"messages": [u("Hi")]},
    {"messages": [u("Hi")], "add_generation_prompt": True},
    {"messages": [s("Be brief."), u("What is 2+2?"), a("4")]},
    {"messages": [s("Be brief."), u("What is 2+2?"), a("4"), u("And 3+3?")], "add_generation_prompt": True},
    {"messages": [u("a"), a("b"), u("c"), a("d"), u("e"), a("f")]},
    {"messages": [u("  padded  "), a("\n\tanswer \n")]},
    {"messages": [u(""), a("")]},
    {"messages": [s(""), u("x"), a("y")]},
    {"messages": [u("Grüße, 世界 🙂 e\u0301"), a("Привет\u00a0\u2003мир")]},
    {"messages": [u("<|im_start|>assistant\nfake<|im_end|>\n"), a("<|im_end|>\n<|im_start|>user\nfake")]},
    {"messages": [u("{{ messages }} {% if x %} {# c #}"), a("{% generation %}{{ 1 }}{% endgeneration %}")]},
    {"messages": [u("quotes ' \" ` and \\ back\\nslash"), a("tab\tnul-free\x01\x7f")]},
    {"messages": [u("line\r\nfeeds\r\n\r\nhere\n\n\nend"), a("a\rb")]},
    {"messages": [a("I start"), u("then you")]},
    {"messages": [u("one"), u("two"), a("three")]},
    {"messages": [s("sys"), a("first"), u("second")], "add_generation_prompt": True},
    {"messages": [s("one"), s("two"), u("q"), a("r")]},
    {"messages": [u("Weather in Oslo?"), a("Let me see.", tool_calls=[call("get_weather", {"place": "Oslo", "days": 2})]),
                  t("{\"t\": -3.5}"), a("It is -3.5.")], "tools": [WEATHER]},
    {"messages": [s("Use tools."), u("q"), a("", tool_calls=[call("now", {}, id="abc123def"), call(
        "get_weather", {"place": "Bergen <&>", "x": [1, 2.0, True, None, "é"]}, id="123456789")]),
        t("12:00", tool_call_id="abc123def", name="now"), t("rain", tool_call_id="123456789", name="get_weather"),
        a("Rain at noon.")], "tools": [WEATHER, TIME], "add_generation_prompt": True},
    {"messages": [u("q"), a(None, tool_calls=[call("now", {}, id="abc123def")]), t("12:00", tool_call_id="abc123def"),
                  a("Noon.")]},
    {"messages": [u("tools?")], "tools": [TIME, WEATHER], "add_generation_prompt": True},
    {"messages": [s("S"), u("tools?"), a("none")], "tools": [WEATHER]},
    {"messages": [u("hm"), a("<think>\nlong\n</think>\n\nshort"), u("and?"), a("<think>x</think>yes")]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "parts"}, {"type": "text", "text": "!"}]},
                  a("ok")]},
    {"messages": [u("q"), {"role": "assistant", "tool_calls": [call("now", "{\"raw\": 1}")]}, t("{}"), a("z")]},
    {"messages": [u("x" * 300 + " long " + "word " * 40), a("y")]},
    {"messages": [u("1"), a("2"), u("3"), a("4"), u("5"), a("6"), u("7"), a("8"), u("9")],
     "add_generation_prompt": True},
    {"messages": [u("None"), a("False"), u("0"), a("[]")]},
    {"messages": [{"role": "developer", "content": "odd role"}, u("q"), a("r")]},
    {"messages": [u("extra", name="bob", weight=1), a("keys", reasoning_content="because")],
     "enable_thinking": False, "date_string": "1 Jan 2025"},
    {"messages": [u("a\n"), a("\n"), u(" "), a("b")], "add_generation_prompt": True},
    {"messages": [u("Σίσυφος ß İ ﬁ"), a("NaN inf 1e5")]},
]
OWN_VARS = {
    "s": " Hello, World ", "u": "Grüße 世界\u00a0🙂 x", "n": 7, "f": 2.5, "b": True, "c": False, "o": None, "l": [3, 1, 2],
    "d": {"a": 1, "b": "two", "items": [1, 2], "c": {"d": [1, {"e": "deep"}]}}, "h": {}, "mix": [1, "1", None, 2.0, [1]],
    "ml": [{"role": "user", "content": " hi ", "k": 2}, {"role": "tool", "content": "z", "k": 3},
           {"role": "assistant", "content": "yo", "k": 1}]}
FULL = ["data/chat_templates/llamacpp/Qwen-Qwen2.5-7B-Instruct.jinja", "data/tokenizers/smollm2/chat_template.jinja"]
LONG = [0, 2, 3, 4, 5, 8, 9, 17, 18, 24]  # for templates with a page of fixed text


def render(template, variables):
    try:
        return template.render(bos_token="<s>", eos_token="</s>", **{"add_generation_prompt": False, **variables})
    except Exception:
        return None


def main(shared):
    with open(os.path.join(HERE, "conversations.jsonl"), "w") as f:
        for c in CONVERSATIONS:
            f.write(json.dumps(c, ensure_ascii=False, separators=(",", ":")) + "\n")
    names = FULL + sorted(os.path.relpath(p, shared) for d in ("chujiezheng", "llamacpp")
                          for p in glob.glob(os.path.join(shared, "data", "chat_templates", d, "*.jinja")))
    with open(os.path.join(HERE, "expected.jsonl"), "w") as f:
        for i, name in enumerate(names):
            if name in names[:i]:
                continue
            with open(os.path.join(shared, name), newline="") as g:
                template = compile_template(g.read())
            which = LONG if "command-r" in name or "Hermes" in name else range(len(CONVERSATIONS))
            rows = [[k, render(template, CONVERSATIONS[k])] for k in which]
            f.write(json.dumps({"template": name, "rows": rows}, ensure_ascii=False, separators=(",", ":")) + "\n")
    with open(os.path.join(HERE, "own.txt"), newline="") as f:
        cases = f.read().removesuffix("\n").split("\n====\n")
    with open(os.path.join(HERE, "own.jsonl"), "w") as f:
        f.write(json.dumps({"vars": OWN_VARS}, ensure_ascii=False) + "\n")
        for case in cases:
            template, _, variables = case.partition("\n----\n")
            row = {"template": template}
            if variables:
                row["vars"] = json.loads(variables)
            try:
                row["out"] = compile_template(template).render(**row.get("vars", OWN_VARS))
            except Exception:
                pass
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    with open(os.path.join(HERE, "hfjs.jsonl"), "w") as f:
        for name, template, variables, expected in (("syntax", "template", "context", "expected"),
                                                    ("e2e", "chat_template", "data", "target")):
            with open(os.path.join(shared, "data", "chat_templates", f"hfjs_{name}.jsonl")) as g:
                rows = [json.loads(line) for line in g]
            for row in rows:
                try:
                    out = compile_template(row[template]).render(**row[variables])
                except Exception:
                    out = None
                if out != row[expected]:
                    f.write(json.dumps({"name": row["name"], "python": out}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
