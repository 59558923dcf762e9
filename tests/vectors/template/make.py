#!/usr/bin/env python3
"""Makes the vectors of tests/template.c with Python's jinja2, in the environment that transformers sets up.

usage: make.py SHARED     (needs transformers 5.23; SHARED holds data/chat_templates/ and data/tokenizers/)

conversations.jsonl  what is rendered: one object of template variables a line
expected.jsonl       {"template", "rows": [[conversation, bytes, sha256 (its first half)] or [conversation] when
                     Python refuses, ...]}; with "row" the template is the chat_template of that row of a file of rows
own.jsonl            {"vars"}: what own.txt is rendered with; then {"template", "out"}, one a template of own.txt
                     (which may bring its own "vars"); no "out" when Python refuses
fuzz.jsonl           {"vars"}, then {"template", "out"} as in own.jsonl: programs of fuzz.py
hfjs.jsonl           {"name", "python"}: rows of chat_templates/hfjs_*.jsonl (the cases of a JavaScript engine)
                     where Python prints something else than JavaScript, or refuses (null)
"""
import datetime
import glob
import hashlib
import json
import os
import sys

from transformers.utils import chat_template_utils

HERE = os.path.dirname(os.path.abspath(__file__))


compile_template = chat_template_utils._compile_jinja_template
REFUSALS = (-5, -4)  # HN_EUNSUP, HN_ERANGE: what our engine says does not exist here, or is beyond a limit


def alias(messages):
    return chat_template_utils._alias_reasoning_fields(messages)


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
    {"messages": []},
    {"messages": [], "add_generation_prompt": True, "tools": [TIME]},
    {"messages": [s("alone")]},
    {"messages": [u("why?"), a("so", reasoning_content="first\n\nsecond"), u("and?"), a("x", reasoning_content=" y ")]},
    {"messages": [u("q"), a("", reasoning_content="plan", tool_calls=[call("now", {"deep": {"a": [{"b": None}], "c": 1.5e300}})]),
                  t("1"), a("end", reasoning_content="after")], "tools": [TIME], "enable_thinking": True,
     "add_generation_prompt": True},
    {"messages": [u("q")], "enable_thinking": False, "add_generation_prompt": True},
    {"messages": [u("q /no_think"), a("<think>\n\n</think>\n\nr"), u("q2")], "enable_thinking": True,
     "add_generation_prompt": True},
    {"messages": [u("old"), a("one", thinking="t1"), u("new"), a("two", reasoning="t2")], "reasoning_effort": "high"},
    {"messages": [u("two calls"), a(None, tool_calls=[call("now", {}, id="aaaaaaaa1"), call("now", {"z": 1}, id="aaaaaaaa2")]),
                  t("A", tool_call_id="aaaaaaaa1"), t("B", tool_call_id="aaaaaaaa2"), a("both")], "tools": [TIME, WEATHER]},
    {"messages": [u("flat call"), a("", tool_calls=[{"name": "now", "arguments": {"k": "v"}}]), t("ok", name="now"), a("done")],
     "tools": [{"name": "now", "description": "flat", "parameters": {"type": "object", "properties": {}}}]},
    {"messages": [u("json args"), a("", tool_calls=[call("get_weather", "{\"place\": \"Oslo\"}", id="abcdefghi")]),
                  {"role": "ipython", "content": {"t": 3}}, a("3")], "tools": [WEATHER]},
    {"messages": [u("number"), {"role": "assistant", "content": 42}, u("float"), {"role": "assistant", "content": 1e-7}]},
    {"messages": [{"role": "user", "content": True}, a("b"), {"role": "user", "content": {"k": "v"}}]},
    {"messages": [{"role": "user"}, {"role": "assistant"}]},
    {"messages": [{"content": "no role"}, a("x")]},
    {"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": None}]},
    {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
                  {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}], "add_generation_prompt": True},
    {"messages": [{"role": "system", "content": [{"type": "text", "text": "sys"}]},
                  {"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "image_url", "image_url": {"url": "x"}}]},
                  a("b")]},
    {"messages": [{"role": "user", "content": []}, a([])]},
    {"messages": [u("docs?")], "documents": [{"title": "T", "text": "body & <b>"}, {"title": "U", "text": "é"}],
     "add_generation_prompt": True},
    {"messages": [s("S"), u("q"), a("r")], "tools": [], "documents": []},
    {"messages": [u("q"), a("r")], "tools": None, "bos_token": "", "date_string": "26 July 2025", "builtin_tools": ["brave_search", "code_interpreter"]},
    {"messages": [u("py"), a("", tool_calls=[call("brave_search", {"query": "x y"})]), {"role": "ipython", "content": "res"}],
     "tools": [WEATHER], "tools_in_user_message": False, "builtin_tools": ["brave_search"], "add_generation_prompt": True},
    {"messages": [u("first"), s("late system"), a("ok"), u("again")], "add_generation_prompt": True},
    {"messages": [u("a"), t("tool without a call"), a("b")]},
    {"messages": [a("only me")]},
    {"messages": [u("prefill"), a("The answer is")], "add_generation_prompt": True},
    {"messages": [u(" lead"), a("trail "), u("\n\nnl"), a("nl\n\n"), u("\t")], "add_generation_prompt": True},
    {"messages": [u("</s><|eot_id|><end_of_turn>[/INST]"), a("[INST]<s><start_of_turn>")]},
    {"messages": [u("\u2028\u2029\x85\x1c\ufeff"), a("\u200b\u3000z\U0001f468\u200d\U0001f469")]},
    {"messages": [u("long " * 800), a("word\n" * 500), u("x"), a("y" * 3000)]},
    {"messages": [m for i in range(12) for m in (u(f"question {i}"), a(f"answer {i}"))], "add_generation_prompt": True},
]
OWN_VARS = {
    "s": " Hello, World ", "u": "Grüße 世界\u00a0🙂 x", "n": 7, "f": 2.5, "b": True, "c": False, "o": None, "l": [3, 1, 2],
    "d": {"a": 1, "b": "two", "items": [1, 2], "c": {"d": [1, {"e": "deep"}]}}, "h": {}, "mix": [1, "1", None, 2.0, [1]],
    "ml": [{"role": "user", "content": " hi ", "k": 2}, {"role": "tool", "content": "z", "k": 3},
           {"role": "assistant", "content": "yo", "k": 1}]}
FULL = ["data/chat_templates/llamacpp/Qwen-Qwen2.5-7B-Instruct.jinja", "data/tokenizers/smollm2/chat_template.jinja"]
E2E = "data/chat_templates/hfjs_e2e.jsonl"
N_FUZZ = 1500


def render(template, variables):
    try:
        return template.render({"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False, **variables})
    except Exception:
        return None


def expect(f, name, source):
    """A line of expected.jsonl."""
    template, rows = compile_template(source), []
    for k, c in enumerate(CONVERSATIONS):
        out = render(template, c)
        rows.append([k] if out is None else [k, len(out.encode()), hashlib.sha256(out.encode()).hexdigest()[:32]])
    f.write(json.dumps({**name, "rows": rows}, ensure_ascii=False, separators=(",", ":")) + "\n")


def fuzz_rows():
    """Short programs of fuzz.py; what Python refuses is one row in ten."""
    import fuzz
    with open(os.path.join(HERE, "fuzz.jsonl"), "w") as f:
        f.write(json.dumps({"vars": fuzz.VARS}, ensure_ascii=False, separators=(",", ":")) + "\n")
        n = refused = i = 0
        while n < N_FUZZ:
            i += 1
            t = fuzz.program(f"vectors/{i}", "body" if i % 3 == 0 else "expr")
            out = fuzz.by_python(t, fuzz.VARS) if len(t) < 160 else None
            if isinstance(out, str) and len(out) < 120 and " at 0x" not in out:
                f.write(json.dumps({"template": t, "out": out}, ensure_ascii=False, separators=(",", ":")) + "\n")
            elif isinstance(out, Exception) and refused * 10 < n:
                f.write(json.dumps({"template": t}, ensure_ascii=False, separators=(",", ":")) + "\n")
                refused += 1
            else:
                continue
            n += 1


def main(shared):
    fuzz_rows()
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
                expect(f, {"template": name}, g.read())
        with open(os.path.join(shared, E2E)) as g:
            for k, line in enumerate(g):
                expect(f, {"template": E2E, "row": k}, json.loads(line)["chat_template"])
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
