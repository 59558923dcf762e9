#!/usr/bin/env python3
"""Renders every conversation of make.py through templates, with Python's jinja2 and with our engine.

usage: compare.py PROGRAM FILE...     PROGRAM: build/tests/template_lines (ninja -C build tests/template_lines)

FILE: a template, a tokenizer_config.json with a chat_template, or rows of {"chat_template"} (hfjs_e2e.jsonl).  As
in fuzz.py, both sides must give the same text or both refuse; where the template refuses by raise_exception, we
must say the same words.  The exit code is 1 when there is a difference.
"""
import collections
import json
import sys

import fuzz
import make


def templates(path):
    with open(path, newline="") as f:
        text = f.read()
    if path.endswith(".jsonl"):
        return [(f"{path}:{i + 1}", json.loads(line)["chat_template"]) for i, line in enumerate(text.splitlines())]
    if path.endswith(".json"):
        return [(path, json.loads(text)["chat_template"])] if "chat_template" in json.loads(text) else []
    return [(path, text)]


def main(program, *paths):
    refusals, counts, bad, n = collections.Counter(), collections.Counter(), 0, 0
    for name, t in [pair for path in paths for pair in templates(path)]:
        n += 1
        rows = [{"t": t, "v": {"add_generation_prompt": False, "bos_token": "<s>", "eos_token": "</s>", **c}}
                for c in make.CONVERSATIONS]
        for k, (row, mine) in enumerate(zip(rows, fuzz.ours(program, rows))):
            theirs = fuzz.by_python(t, row["v"])
            why = fuzz.compare(theirs, mine, refusals, counts)
            if why is None and type(theirs).__name__ == "TemplateError" and str(theirs)[:200] not in mine["m"]:
                why = f"Python refuses: {theirs}\n  we refuse:      {mine['m']}"
            if why:
                bad += 1
                print(f"--- {name}, conversation {k}\n  {why}")
    for message, times in refusals.most_common():
        print(f"{times:7} refused by us: {message}")
    print(f"{n} templates, {len(make.CONVERSATIONS)} conversations each: " +
          ", ".join(f"{times} {what}" for what, times in sorted(counts.items())) + f", {bad} differences")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
