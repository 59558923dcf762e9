#!/usr/bin/env python3
"""Random templates through Python's jinja2 (as transformers sets it up) and through our engine: do they agree?

usage: fuzz.py PROGRAM [-n 10000] [--seed 1] [--kind all|expr|body|lex]     PROGRAM: build/tests/template_lines

Each program must give the same text on both sides, or be refused by both.  Where only we refuse and say that the
thing is not supported, or beyond a limit, the refusal is counted under its message and shown at the end: those are
the list in doc/templates.md.  Anything else is a difference: it is printed, and the exit code is 1.
"""
import argparse
import collections
import json
import random
import re
import signal
import subprocess
import sys

import make

VARS = {
    "s": " Hello, World ", "t": "a-b_c.d", "u": "Grüße 世界\u00a0🙂 x", "e": "", "w": "one two  three\n\tfour\r\nfive",
    "z": "Zebra", "html": "<a href='x'>\"&amp;\"</a>", "j": "{\"k\": [1, 2]}", "num": "42", "fl": "3.5e2",
    "n": 7, "m": -3, "zero": 0, "one": 1, "big": 9007199254740993, "f": 2.5, "g": -0.125, "h": 1e16, "p": 0.1,
    "yes": True, "no": False, "none_": None,
    "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "le": [], "lm": [1, "1", None, 2.0, [1], {"a": 1}, True],
    "ln": [[1, 2], [3], []], "lp": [["k", 1], ["v", 2]],
    "d": {"a": 1, "b": "two", "items": [1, 2], "c": {"d": [1, {"e": "deep"}]}}, "de": {}, "dn": {"x": None, "y": False},
    "ds": {"B": 2, "a": 3, "C": 1}, "1": 5,
    "ml": [{"role": "user", "content": " hi ", "k": 2}, {"role": "tool", "content": "z", "k": 3},
           {"role": "assistant", "content": "yo", "k": 1, "x": {"y": "q"}}],
    "tree": [{"n": "a", "kids": [{"n": "b", "kids": [{"n": "d", "kids": []}]}, {"n": "c", "kids": []}]}, {"n": "e", "kids": []}],
    "messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "Hi <b>"},
                 {"role": "assistant", "content": "<think>why</think>\n\nyo", "tool_calls": [
                     {"type": "function", "function": {"name": "f", "arguments": {"x": 1, "y": [True, None, 1.5]}}}]},
                 {"role": "tool", "content": "{\"r\": 1}"}, {"role": "user", "content": [{"type": "text", "text": "part"}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}}],
    "add_generation_prompt": True,
}
STR = ["s", "t", "u", "e", "w", "z", "html", "j", "num", "fl"]
INT = ["n", "m", "zero", "one", "big"]
FLOAT = ["f", "g", "h", "p"]
LIST = ["l", "ls", "le", "lm", "ln", "lp", "ml", "messages", "tools", "tree"]
DICT = ["d", "de", "dn", "ds", "ml[0]", "messages[1]", "tools[0].function"]
MISSING = ["nix", "d.nix", "d['nix']", "ml[9]", "loop", "messages[0].tool_calls", "self_"]
TEXTS = ["a", "b", "", " ", "x y", "-", ",", "l", "o", "He", "two", "\\n", "\\t", "é", "世", "<b>", "&", "'", "\\\"", "\\\\", "%",
         "{}", "{{", "%s", "k", "role", "content", "\\u00e9", "\\x41", "0", "1", "-1", "A", "Ab cD", "a.b", "items", "a,b,,c", " a b ",
         "think", "</think>", "\u00a0", "ß", "ǆ", "Ω", "\u2028", "\\r\\n"]


class Gen:
    def __init__(self, rng):
        self.r = rng
        self.vars = []
        self.macros = []
        self.ns = []
        self.loops = 0
        self.args = 0

    def pick(self, *options):
        return self.r.choice(options)

    def chance(self, p):
        return self.r.random() < p

    # ---- expressions ----
    def text(self):
        q = self.pick("'", "\"")
        s = self.r.choice(TEXTS)
        return q + (s.replace("'", "\\'") if q == "'" else s.replace("\"", "\\\"") if s == "\"" else s) + q

    def number(self):
        return self.pick("0", "1", "2", "3", "10", "-1", "-2", "5", "100", "7", "1_000", "0x1F", "0b11", "0o17")

    def real(self):
        return self.pick("0.5", "1.0", "2.5", "-1.5", "1e3", "1e-7", "1e22", "0.1", "3.0", "1_0.5", "123456789.125")

    def of(self, kind, depth):
        if self.chance(0.04):
            kind = self.pick("str", "int", "float", "bool", "list", "dict", "none", "missing")
        leaf = depth <= 0 or self.chance(0.15)
        return getattr(self, kind + ("_leaf" if leaf else "_"))(depth - 1)

    def any(self, depth):
        kind = self.r.choices(["str", "int", "float", "bool", "list", "dict", "none", "missing"],
                              [8, 4, 2, 3, 5, 3, 1, 1])[0]
        return self.of(kind, depth)

    def str_leaf(self, _):
        return self.r.choice(STR) if self.chance(0.6) else self.text()

    def int_leaf(self, _):
        if self.loops and self.chance(0.3):
            return self.pick("loop.index", "loop.index0", "loop.length", "loop.revindex", "loop.revindex0", "loop.depth")
        return self.r.choice(INT) if self.chance(0.4) else self.number()

    def float_leaf(self, _): return self.r.choice(FLOAT) if self.chance(0.5) else self.real()
    def bool_leaf(self, _):
        if self.loops and self.chance(0.3):
            return self.pick("loop.first", "loop.last")
        return self.pick("true", "false", "yes", "no", "True", "False")
    def list_leaf(self, _): return self.r.choice(LIST)
    def dict_leaf(self, _): return self.r.choice(DICT)
    def none_leaf(self, _): return self.pick("none", "None", "none_")
    def missing_leaf(self, _): return self.r.choice(MISSING)
    none_ = none_leaf
    missing_ = missing_leaf

    def index(self, d):
        return self.pick("0", "1", "-1", "2", "-2", "n", self.of("int", d))

    def slice(self, d):
        def part():
            return self.pick("", "", "1", "2", "-1", "-2", "0", "10", "-10", "none", self.of("int", d - 1))
        return part() + ":" + part() + (":" + self.pick("", "2", "-1", "-2", "1", part()) if self.chance(0.3) else "")

    def paren(self, kind, d):
        x = self.of(kind, d)
        return x if re.fullmatch(r"[A-Za-z_]\w*", x) else "(" + x + ")"

    def known(self):
        if self.vars and self.chance(0.8):
            return self.r.choice(self.vars)
        if self.ns and self.chance(0.5):
            return self.r.choice(self.ns) + "." + self.pick("a", "b", "c")
        return self.any(0)

    def cond(self, kind, d):
        e = f"{self.of(kind, d)} if {self.of('bool', d)}"
        return "(" + e + (f" else {self.of(kind, d)}" if self.chance(0.85) else "") + ")"

    def subject(self, kind, d):
        return self.paren(kind, d)

    def str_(self, d):
        x = lambda: self.subject("str", d)  # noqa: E731
        c = self.r.randrange(47)
        chars = lambda: self.pick("", "", "' '", self.of("str", 0), "none")  # noqa: E731
        if c == 0: return f"{x()} + {self.of('str', d)}"
        if c == 1: return f"{x()} ~ {self.any(d)}"
        if c == 2: return f"{x()}[{self.slice(d)}]"
        if c == 3: return f"{x()}[{self.index(d)}]"
        if c == 4: return f"{x()} * {self.pick('0', '2', '3', 'm', 'true')}"
        if c == 5: return f"{x()}.{self.pick('strip', 'lstrip', 'rstrip')}({chars()})"
        if c == 6: return f"{x()}.{self.pick('upper', 'lower', 'title', 'capitalize', 'swapcase', 'casefold')}()"
        if c == 7: return f"{x()}.replace({self.of('str', 0)}, {self.of('str', 0)}{self.pick('', '', ', 1', ', -1', ', 0')})"
        if c == 8: return f"{x()}.join({self.pick('ls', x(), 'd', self.of('list', d))})"
        if c == 9: return f"{x()} | {self.pick('trim', 'upper', 'lower', 'title', 'capitalize', 'string', 'escape', 'e', 'safe', 'forceescape', 'striptags', 'urlencode')}"
        if c == 10: return f"{x()} | replace({self.of('str', 0)}, {self.any(0)}{self.pick('', ', 1', ', count=2')})"
        if c == 11: return f"{x()} | {self.pick('first', 'last', 'reverse', 'trim(chars=' + self.text() + ')')}"
        if c == 12: return f"{self.any(d)} | string"
        if c == 13:
            args = self.r.sample(["ensure_ascii=true", "indent=2", "sort_keys=true", "separators=(',', ':')", "indent=none",
                                  "indent='\\t'", "indent=0", "ensure_ascii=false"], self.r.randrange(0, 3))
            if len({a.split("=")[0] for a in args}) < len(args):
                args = args[:1]
            return f"{self.pick(self.any(d), self.of('dict', d), self.of('list', d))} | tojson" + ("(" + ", ".join(args) + ")" if args or self.chance(.2) else "")
        if c == 14: return f"{self.subject('list', d)} | join({self.pick('', self.of('str', 0), self.of('str', 0))})"
        if c == 15: return f"ml | join({self.of('str', 0)}, attribute={self.pick(chr(39) + 'role' + chr(39), chr(39) + 'k' + chr(39), chr(39) + 'nix' + chr(39))})"
        if c == 16: return self.pick("'%s-%d' % (s, n)", "'%5.2f|%-4d|%04d|%x' % (f, n, n, n)", "'%r %s' % (u, l)", "'%%' % ()",
                                     f"'%s' % {self.any(0)}", f"'%s %s' % ({self.any(0)}, {self.any(0)})", f"'%{self.pick('', '-', '0', '+', ' ', '#')}{self.pick('', '3', '8')}{self.pick('', '.1', '.3')}{self.pick('d', 'i', 's', 'r', 'f', 'e', 'g', 'x', 'o', 'X', 'c', 'a', 'G', 'u')}' % {self.pick('n', 'm', 'f', 's', 'u', 'g', 'big', 'h', '65')}",
                                     f"'%(a)s' % {self.of('dict', 0)}", "'%(a)s %(b)5s' % d", f"'%*d' % (5, n)")
        if c == 17: return self.pick(f"'{{}} {{}}'.format({self.any(0)}, {self.any(0)})", f"'{{0}}{{1}}{{0}}'.format({self.any(0)}, {self.any(0)})",
                                     f"'{{a}}{{{{}}}}'.format(a={self.any(0)})", f"'{{:{self.pick('>', '<', '^', '*^', '')}{self.pick('', '5', '10')}{self.pick('', '.2')}{self.pick('', 'd', 'f', 's', 'x', 'e')}}}'.format({self.pick('n', 'f', 's', 'u', 'm')})",
                                     "'{a.b}{0[0]}'.format(l, a=d)", "'{!r} {!s}'.format(s, u)")
        if c == 18: return f"{x()} | format({self.any(0)}{self.pick('', ', ' + self.any(0))})"
        if c == 19: return f"{x()}.split({self.pick('', self.of('str', 0))})[{self.pick('0', '-1', '1')}]"
        if c == 20: return f"{x()} | indent({self.pick('', '2', '2, true', 'first=true', 'width=3, blank=true', chr(39) + '>>' + chr(39))})"
        if c == 21: return f"{x()} | default({self.of('str', 0)}{self.pick('', ', true', ', boolean=true')})"
        if c == 22: return f"{self.of('missing', 0)} | default({self.of('str', 0)})"
        if c == 23: return self.cond("str", d)
        if c == 24: return f"({x()} {self.pick('or', 'and')} {self.of('str', d)})"
        if c == 25: return f"d.{self.pick('b', 'nix', 'get(' + self.text() + ')', 'get(' + chr(39) + 'b' + chr(39) + ')', 'get(' + chr(39) + 'q' + chr(39) + ', s)')}"
        if c == 26: return f"{x()} | truncate({self.pick('3', '5, true', '8, false, ' + self.text(), '5, true, ' + chr(39) + chr(39), '4, leeway=0', '6, end=' + chr(39) + '!' + chr(39))})"
        if c == 27: return f"{x()} | {self.pick('center(9)', 'center', 'wordwrap(5)', 'wordwrap(4, false)', 'wordcount', 'length', 'xmlattr', 'urlize', 'pprint', 'filesizeformat', 'list | join', 'format')}"
        if c == 28: return f"{x()}.{self.pick('center(9)', 'ljust(8)', 'rjust(8, ' + chr(39) + '*' + chr(39) + ')', 'zfill(5)', 'expandtabs()', 'expandtabs(4)', 'removeprefix(' + self.text() + ')', 'removesuffix(' + self.text() + ')')}"
        if c == 29: return self.pick("strftime_now('%Y-%m-%d')", "strftime_now('%d %b %Y')", "strftime_now(s)", "strftime_now('%H:%M:%S %j %A %B %y %%')")
        if c == 30: return f"ml[{self.pick('0', '1', '-1', 'loop.index0')}]{self.pick('.role', '.content', '[' + chr(39) + 'role' + chr(39) + ']', '.x.y', '.k')}"
        if c == 31: return f"messages[{self.pick('0', '1', '2', '-1', 'n - 5')}]{self.pick('.role', '.content', '[' + chr(39) + 'content' + chr(39) + ']', '.get(' + chr(39) + 'role' + chr(39) + ')')}"
        if c == 32: return f"{self.subject('dict', d)} | {self.pick('string', 'join', 'first', 'length | string', 'tojson(indent=1)')}"
        if c == 33 and self.macros: return self.call_macro(d)
        if c == 34: return f"{self.any(0)} ~ {self.any(0)} ~ {self.text()}"
        if c == 35: return f"{x()} {self.text() if self.chance(0.1) else ''}".strip()
        if c == 36: return self.text() + " " + self.text()
        if c == 37: return f"{self.subject('list', d)} | {self.pick('first', 'last', 'min', 'max', 'sum', 'string')}"
        if c == 38 and self.loops: return self.pick("loop.cycle('odd', 'even')", "loop.previtem", "loop.nextitem", "loop.cycle(n, s, l)", "loop.changed(s)", "loop.previtem is defined", "loop.nextitem.role")
        if c == 39: return f"-{self.paren('int', 0)} | {self.pick('abs', 'string', 'float', 'tojson')}"
        if c == 40: return f"{x()}.{self.pick('partition', 'rpartition')}({self.of('str', 0)}) | {self.pick('join(' + chr(39) + '|' + chr(39) + ')', 'string', 'last', 'first')}"
        if c == 41: return f"{x()}.encode().{self.pick('hex()', 'decode()')}" if self.chance(0.05) else f"{x()} ~ ''"
        if c == 42: return f"namespace(a={self.any(0)}).a"
        if c == 43: return f"dict(a={self.any(0)}){self.pick('.a', '[' + chr(39) + 'a' + chr(39) + ']', ' | string', '.b', ' | tojson')}"
        if c == 44: return f"{x()}.format({self.any(0)})"
        if c == 45: return f"({self.any(0)}, {self.any(0)}) | {self.pick('join', 'string', 'first', 'tojson', 'list')}"
        return self.known()

    def call_macro(self, d):
        name, n = self.r.choice(self.macros)
        args = [self.any(0) for _ in range(self.r.randrange(0, n + 2))]
        if self.chance(0.3):
            args.append(f"{self.pick('p0', 'p1', 'p2', 'q')}={self.any(0)}")
        if self.chance(0.1):
            args.append(self.pick("*l", "**dict(p0=1)", "*ls", "**d"))
        return f"{name}({', '.join(args)})"

    def int_(self, d):
        c = self.r.randrange(18)
        if c < 4: return f"{self.paren('int', d)} {self.pick('+', '-', '*', '//', '%')} {self.paren('int', d)}"
        if c == 4: return f"{self.subject(self.pick('str', 'list', 'dict'), d)} | {self.pick('length', 'count')}"
        if c == 5: return f"{self.pick(self.subject('str', d), 'num', self.of('float', 0), self.text())} | int{self.pick('', '(5)', '(default=none)', '(0, 16)', '(base=2)')}"
        if c == 6: return f"{self.subject('str', d)}.{self.pick('find', 'rfind', 'count', 'index', 'rindex')}({self.of('str', 0)}{self.pick('', ', 1', ', 1, 4', ', -2')})"
        if c == 7: return f"-{self.paren('int', d)}"
        if c == 8: return f"{self.paren('int', d)} | abs"
        if c == 9: return f"{self.paren('int', 0)} ** {self.pick('0', '2', '3', '-1', '0.5')}"
        if c == 10: return f"l | {self.pick('sum', 'max', 'min', 'first', 'last', 'length')}"
        if c == 11: return f"l[{self.index(d)}]"
        if c == 12: return self.cond("int", d)
        if c == 13: return f"{self.pick('l', 'ls', 'lm')}.{self.pick('index', 'count')}({self.any(0)})"
        if c == 14: return f"ml | {self.pick('sum(attribute=' + chr(39) + 'k' + chr(39) + ')', 'map(attribute=' + chr(39) + 'k' + chr(39) + ') | sum', 'selectattr(' + chr(39) + 'k' + chr(39) + ', ' + chr(39) + 'gt' + chr(39) + ', 1) | list | length', 'sum(' + chr(39) + 'k' + chr(39) + ', 10)')}"
        if c == 15: return f"+{self.paren('int', d)}"
        if c == 16: return f"{self.pick('d.a', 'd[' + chr(39) + 'a' + chr(39) + ']', 'd.get(' + chr(39) + 'a' + chr(39) + ')', 'd.items[0]', 'd[' + chr(39) + 'items' + chr(39) + '][0]')}"
        return self.known()

    def float_(self, d):
        c = self.r.randrange(9)
        if c < 2: return f"{self.paren(self.pick('int', 'float'), d)} {self.pick('+', '-', '*', '/', '//', '%', '**')} {self.paren('float', d)}"
        if c == 2: return f"{self.paren('int', d)} / {self.paren('int', d)}"
        if c == 3: return f"{self.paren('float', d)} | round{self.pick('', '(1)', '(2)', '(0, ' + chr(39) + 'floor' + chr(39) + ')', '(1, ' + chr(39) + 'ceil' + chr(39) + ')', '(precision=1)', '(-1)')}"
        if c == 4: return f"{self.pick(self.of('int', d), 'fl', 'num', self.text())} | float{self.pick('', '(1.5)', '(default=none)')}"
        if c == 5: return f"{self.paren('float', d)} | {self.pick('abs', 'int', 'float')}"
        if c == 6: return self.cond("float", d)
        if c == 7: return f"-{self.paren('float', d)}"
        return self.known()

    def bool_(self, d):
        c = self.r.randrange(17)
        any_ = lambda: self.any(min(d, 1))  # noqa: E731
        if c < 2: return f"{self.wrap(any_())} is {self.pick('', '', 'not ')}{self.test()}"
        if c == 2: return f"not {self.paren(self.pick('bool', 'str', 'list'), d)}"
        if c == 3: return f"({self.of('bool', d)} {self.pick('and', 'or')} {self.of('bool', d)})"
        if c == 4: return f"{self.wrap(any_())} {self.pick('==', '!=')} {self.wrap(any_())}"
        if c == 5: return f"{self.paren('int', d)} {self.pick('<', '>', '<=', '>=', '==', '!=')} {self.paren(self.pick('int', 'float'), d)}"
        if c == 6: return f"{self.paren('str', d)} {self.pick('<', '>', '<=', '>=', '==', '!=')} {self.paren('str', d)}"
        if c == 7: return f"{self.paren('str', d)} {self.pick('in', 'not in')} {self.paren(self.pick('str', 'list', 'dict'), d)}"
        if c == 8: return f"{self.wrap(any_())} {self.pick('in', 'not in')} {self.paren('list', d)}"
        if c == 9: return f"{self.subject('str', d)}.{self.pick('startswith', 'endswith')}({self.pick(self.of('str', 0), '(' + self.text() + ', ' + self.text() + ')')}{self.pick('', '', ', 1')})"
        if c == 10: return f"{self.subject('str', d)}.{self.pick('isdigit', 'isalpha', 'isalnum', 'isspace', 'isupper', 'islower', 'istitle', 'isnumeric', 'isdecimal', 'isascii', 'isidentifier', 'isprintable')}()"
        if c == 11: return f"{self.number()} {self.pick('<', '<=')} {self.paren('int', d)} {self.pick('<', '<=', '>')} {self.number()}"
        if c == 12: return self.cond("bool", d)
        if c == 13: return f"{self.any(d)}{self.pick('', '.a', '.x', '[0]')} is {self.pick('defined', 'undefined', 'none', 'string', 'mapping', 'sequence', 'iterable', 'not defined', 'not none', 'boolean')}"
        if c == 14: return f"{self.paren('list', d)} {self.pick('==', '<', '!=', '>')} {self.paren('list', d)}"
        if c == 15: return f"not {self.of('bool', d)} {self.pick('and', 'or')} {self.of('bool', d)}"
        return self.known()

    def wrap(self, x): return x if re.fullmatch(r"[A-Za-z_]\w*", x) else "(" + x + ")"

    def test(self):
        return self.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence",
                         "iterable", "callable", "true", "false", "odd", "even", "lower", "upper", "divisibleby(3)", "divisibleby 2",
                         "eq(1)", "equalto 'a'", "ne(1)", "gt(1)", "lt 3", "ge(2)", "le(2)", "in([1, 'a'])", "in l", "sameas(none)",
                         "sameas true", "escaped", "filter", "test")

    def list_(self, d):
        x = lambda: self.subject("list", d)  # noqa: E731
        c = self.r.randrange(26)
        if c < 3: return "[" + ", ".join(self.any(d - 1) for _ in range(self.r.randrange(0, 4))) + self.pick("", "", ",")[:0] + "]"
        if c == 3: return f"range({self.pick('3', '1, 5', '5, 1, -2', '0', 'n', 'm', '2, n, 2', self.of('int', 0))})"
        if c == 4: return f"{x()}[{self.slice(d)}]"
        if c == 5: return f"{x()} + {self.of('list', d)}"
        if c == 6: return f"{x()} | {self.pick('list', 'reverse | list', 'sort', 'unique | list', 'sort(reverse=true)', 'sort(case_sensitive=true)', 'reverse', 'unique')}"
        if c == 7: return f"{x()} | map({self.pick(*[chr(39) + f + chr(39) for f in ('upper', 'string', 'length', 'trim', 'tojson', 'int', 'first', 'list', 'lower')], 'attribute=' + chr(39) + 'role' + chr(39), 'attribute=' + chr(39) + 'k' + chr(39), 'attribute=' + chr(39) + 'x.y' + chr(39), 'attribute=0', chr(39) + 'replace' + chr(39) + ', ' + chr(39) + 'a' + chr(39) + ', ' + chr(39) + 'b' + chr(39), 'attribute=' + chr(39) + 'q' + chr(39) + ', default=' + chr(39) + 'D' + chr(39))}) | list"
        if c == 8: return f"{x()} | {self.pick('select', 'reject')}({self.pick('', *[chr(39) + f + chr(39) for f in ('string', 'defined', 'none', 'odd', 'mapping', 'number')], chr(39) + 'eq' + chr(39) + ', 1', chr(39) + 'in' + chr(39) + ', l', chr(39) + 'gt' + chr(39) + ', 1')}) | list"
        if c == 9: return f"{self.pick('ml', 'messages', x())} | {self.pick('selectattr', 'rejectattr')}({self.pick(*['role', 'k', 'x', 'x.y', 'content', 'nix']).join([chr(39)] * 2)}{self.pick('', ', ' + chr(39) + 'defined' + chr(39), ', ' + chr(39) + 'equalto' + chr(39) + ', ' + chr(39) + 'user' + chr(39), ', ' + chr(39) + 'eq' + chr(39) + ', 1', ', ' + chr(39) + 'in' + chr(39) + ', [1, ' + chr(39) + 'tool' + chr(39) + ']', ', ' + chr(39) + 'string' + chr(39), ', ' + chr(39) + '==' + chr(39) + ', ' + chr(39) + 'user' + chr(39))}) | list"
        if c == 10: return f"{self.subject('str', d)}.{self.pick('split', 'rsplit')}({self.pick('', self.of('str', 0), self.of('str', 0) + ', 1', 'none, 1', 'maxsplit=1')})"
        if c == 11: return f"{self.subject('str', d)}.splitlines({self.pick('', 'true')})"
        if c == 12: return f"{self.subject('dict', d)}.{self.pick('keys', 'values', 'items')}(){self.pick('', ' | list')}"
        if c == 13: return f"{self.subject('dict', d)} | {self.pick('items | list', 'dictsort', 'list', 'dictsort(true)', 'dictsort(by=' + chr(39) + 'value' + chr(39) + ')', 'dictsort(reverse=true)', 'items')}"
        if c == 14: return f"({self.any(0)}, {self.any(0)}{self.pick('', ',')})"
        if c == 15: return f"{self.pick('ml', 'messages', x())} | {self.pick('sort(attribute=' + chr(39) + 'k' + chr(39) + ')', 'sort(attribute=' + chr(39) + 'role,k' + chr(39) + ')', 'unique(attribute=' + chr(39) + 'role' + chr(39) + ') | list', 'map(attribute=' + chr(39) + 'content' + chr(39) + ') | list', 'max(attribute=' + chr(39) + 'k' + chr(39) + ')', 'min(attribute=' + chr(39) + 'role' + chr(39) + ')')}"
        if c == 16: return f"{x()} | {self.pick('batch(2) | list', 'batch(2, 0) | list', 'slice(2) | list', 'slice(2, 0) | list', 'batch(3) | map(' + chr(39) + 'join' + chr(39) + ') | list')}"
        if c == 17: return f"{self.pick('ml', 'messages')} | groupby({self.pick(chr(39) + 'role' + chr(39), chr(39) + 'k' + chr(39), 'attribute=' + chr(39) + 'role' + chr(39), chr(39) + 'nix' + chr(39) + ', default=1')}){self.pick('', ' | list', ' | map(attribute=0) | list', ' | map(' + chr(39) + 'last' + chr(39) + ') | list')}"
        if c == 18: return self.cond("list", d)
        if c == 19: return f"{self.subject('str', d)} | list"
        if c == 20: return f"{x()} * {self.pick('0', '2', 'true')}"
        if c == 21: return f"{self.pick('ln', 'lp', 'lm')}[{self.index(d)}]"
        if c == 22: return f"(d.items() | list + {self.of('list', 0)})"
        if c == 23: return f"{self.pick('tree[0].kids', 'd.c.d', 'd[' + chr(39) + 'items' + chr(39) + ']', 'messages[2].tool_calls', 'messages[-1].content')}"
        if c == 24: return f"{x()}.copy()"
        return self.known()

    def dict_(self, d):
        c = self.r.randrange(10)
        if c < 4:
            key = lambda: self.pick(self.text(), self.text(), self.text(), "n", "1", "1.0", "true", "none", "(1, 2)", "s")  # noqa: E731
            return "{" + ", ".join(f"{key()}: {self.any(d - 1)}" for _ in range(self.r.randrange(0, 4))) + "}"
        if c == 4: return f"dict({self.pick('', 'd', 'lp', 'd.items()')}{self.pick('', '', ', a=' + self.any(0))})".replace("(, ", "(")
        if c == 5: return f"ml[{self.index(0)}]"
        if c == 6: return self.cond("dict", d)
        if c == 7: return f"{self.pick('d', 'messages[2]')}.{self.pick('c', 'copy()', 'get(' + chr(39) + 'c' + chr(39) + ', {})', 'c.d[1]', 'tool_calls[0].function.arguments', 'tool_calls[0].function')}"
        if c == 8: return f"(ml | {self.pick('first', 'last', 'selectattr(' + chr(39) + 'k' + chr(39) + ', ' + chr(39) + 'eq' + chr(39) + ', 3) | first', 'map(' + chr(39) + 'dictsort' + chr(39) + ') | first | list')})"
        return self.known()

    # ---- statements ----
    def space(self):
        return self.r.choice(["", "", "", " ", "\n", "\n  ", "  ", " \n\n ", "\t"])

    def word(self):
        return self.space() + self.r.choice(["text", "a b", "x", "[", "]:", "é", "{", "}", "% ", "<|im_start|>", "", "1"]) + self.space()

    def marks(self, plus=True):
        m = lambda: self.r.choices(["", "-", "+"], [6, 3, 1 if plus else 0])[0]  # noqa: E731
        return m(), m()

    def tag(self, inside):
        a, b = self.marks()
        return "{%" + a + self.pick(" ", " ", "\n ", "") + inside + self.pick(" ", " ", "\n") + b + "%}"

    def out(self, depth=2):
        a, b = self.marks(plus=False)
        return "{{" + a + " " + self.any(depth) + " " + b + "}}"

    def name(self):
        v = self.pick("v0", "v1", "v2", "v3", "s", "n")
        if v not in self.vars:
            self.vars.append(v)
        return v

    def body(self, depth, in_loop=False):
        return "".join(self.statement(depth, in_loop) for _ in range(self.r.randrange(1, 4)))

    def statement(self, depth, in_loop):
        kind = self.r.choices(["out", "word", "if", "for", "set", "setblock", "macro", "callblock", "filter", "with", "ns", "nsset",
                               "raw", "comment", "generation", "jump", "recursive", "print", "settuple", "alien"],
                              [9, 6, 4, 4, 5, 1, 2, 1, 1, 1, 1, 2, 0.5, 1, 0.7, 1.5 if in_loop else 0, 0.7, 0.2, 0.7, 0.1])[0]
        if kind == "out" or (depth <= 0 and kind not in ("word", "set", "comment", "jump")):
            return self.out()
        return getattr(self, "s_" + kind)(depth - 1, in_loop)

    def s_word(self, *_): return self.word()

    def s_if(self, depth, in_loop):
        e = self.tag("if " + self.of("bool", 2)) + self.body(depth, in_loop)
        while self.chance(0.3):
            e += self.tag("elif " + self.of("bool", 1)) + self.body(depth, in_loop)
        if self.chance(0.4):
            e += self.tag("else") + self.body(depth, in_loop)
        return e + self.tag("endif")

    def s_for(self, depth, in_loop):
        saved = list(self.vars)
        how = self.r.randrange(6)
        if how == 0:
            head = f"for k, v in {self.pick('d.items()', 'ds | dictsort', 'lp', 'd | items', 'de.items()', self.of('list', 1))}"
            self.vars += ["k", "v"]
        elif how == 1:
            head = f"for m in {self.pick('ml', 'messages', 'messages[1:]', 'ml[::-1]', 'messages | reverse')}"
            self.vars += ["m", "m.role", "m.content", "m['role']", "m.k"]
        else:
            head = f"for i in {self.of(self.pick('list', 'list', 'list', 'str', 'dict'), 2)}"
            self.vars += ["i"]
        if self.chance(0.2):
            head += f" if {self.of('bool', 1)}"
        self.loops += 1
        e = self.tag(head) + self.body(depth, True)
        self.loops -= 1
        self.vars = saved
        if self.chance(0.25):
            e += self.tag("else") + self.body(depth, in_loop)
        return e + self.tag("endfor")

    def s_recursive(self, depth, _):
        self.loops += 1
        e = self.tag("for x in tree recursive") + "{{ x.n }}" + self.pick("{{ loop.depth }}", "{{ loop.depth0 }}", "", "{{ loop.index }}", self.body(0))
        e += self.pick("{{ loop(x.kids) }}", "({{ loop(x.kids) }})", "{% if x.kids %}[{{ loop(x.kids) }}]{% endif %}", "{% set q = loop(x.kids) %}{{ q | length }}")
        if self.chance(0.2): e += self.tag("else") + "E"
        self.loops -= 1
        return e + self.tag("endfor")

    def s_set(self, *_):
        value = self.any(2)
        return self.tag(f"set {self.name()} = {value}")

    def s_settuple(self, *_):
        return self.tag(f"set {self.name()}, v9 = {self.pick(self.any(0) + ', ' + self.any(0), 'lp[0]', self.of('list', 0), 's.partition(' + chr(39) + ',' + chr(39) + ')[:2]')}")

    def s_setblock(self, depth, *_):
        b = self.body(depth)
        return self.tag(f"set {self.name()}{self.pick('', '', ' | upper', ' | trim | length')}") + b + self.tag("endset")

    def s_macro(self, depth, *_):
        n = self.r.randrange(0, 3)
        name = self.pick("mac", "mac2", "f1")
        saved, loops = list(self.vars), self.loops
        ps = []
        for i in range(n):
            ps.append(f"p{i}" + (f"={self.any(0)}" if self.chance(0.3) or (ps and "=" in ps[-1]) else ""))
        self.vars += [f"p{i}" for i in range(n)]
        if self.chance(0.2): self.vars += ["varargs", "kwargs"]
        if self.chance(0.2): self.vars += ["caller()"]
        self.loops = 0
        e = self.tag(f"macro {name}({', '.join(ps)})") + self.body(depth) + self.tag("endmacro")
        self.vars, self.loops = saved, loops
        self.macros.append((name, n))
        return e

    def s_callblock(self, depth, *_):
        if not self.macros:
            return self.word()
        call = self.call_macro(0)
        return self.tag(f"call{self.pick('', '(a)', '(a, b=1)')} {call}") + self.body(depth) + self.tag("endcall")

    def s_filter(self, depth, *_):
        return self.tag(f"filter {self.pick('upper', 'trim', 'lower | trim', 'replace(' + self.text() + ', ' + self.text() + ')', 'indent', 'escape', 'length')}") + self.body(depth) + self.tag("endfilter")

    def s_with(self, depth, *_):
        saved = list(self.vars)
        head = f"with {self.name()} = {self.any(1)}{self.pick('', ', v1 = ' + self.any(0))}"
        e = self.tag(head) + self.body(depth) + self.tag("endwith")
        self.vars = saved
        return e

    def s_ns(self, *_):
        if "ns" not in self.ns: self.ns.append("ns")
        return self.tag(f"set ns = namespace({self.pick('', 'a=0', 'a=s, b=l', 'a=1, b=' + self.any(0), 'd')})")

    def s_nsset(self, *_):
        if not self.ns: return self.s_ns()
        return self.tag(f"set ns.{self.pick('a', 'b', 'c')} = {self.pick(self.any(1), 'ns.a', 'ns.a + 1', 'ns.b ~ s')}")

    def s_raw(self, *_):
        return self.tag("raw") + self.pick("{{ x }}", " {% if %} ", "\n{# #}\n", "a") + self.tag("endraw")

    def s_comment(self, *_):
        a, b = self.marks()
        return "{#" + a + self.pick(" c ", "", " {{ x }} ", "\n") + b + "#}"

    def s_generation(self, depth, *_):
        return self.tag("generation") + self.body(depth) + self.tag("endgeneration")

    def s_jump(self, *_):
        j = self.tag(self.pick("break", "continue"))
        return j if self.chance(0.2) else self.tag("if " + self.of("bool", 1)) + j + self.tag("endif")

    def s_print(self, *_): return self.tag(f"print {self.any(1)}, {self.any(0)}")
    def s_alien(self, depth, *_): return self.tag(self.pick("block x", "autoescape true", "do l", "include 'x'", "trans", "debug", "elif 1", "endfor"))


def lex_soup(rng):
    """Broken and odd pieces of syntax one after another."""
    parts = ["{{", "}}", "{%", "%}", "{#", "#}", "{%-", "-%}", "{{-", "-}}", "+%}", "{%+", " ", "\n", "if", "endif", "for", "in", "endfor", "x",
             "s", "'a'", "\"b\"", "1", "1.5", ".", ",", "(", ")", "[", "]", "{", "}", "|", "upper", "is", "defined", "not", "and", "or", "==",
             "=", "set", "endset", "raw", "endraw", "~", "+", "-", "*", "**", "/", "//", "%", ":", "else", "elif", "if", "l", "d", "a", "!", "1e5",
             "0x", "01", "1_0", "'", "\"", "\\", "text", "é", ";", "$", "<", ">", "<=", "macro", "endmacro", "generation", "endgeneration"]
    e = "".join(rng.choice(parts) + rng.choice(["", " ", ""]) for _ in range(rng.randrange(1, 14)))
    if rng.random() < 0.5:
        e = "{{ " + e.replace("{{", "").replace("}}", "").replace("{%", "").replace("%}", "") + " }}"
    return e


def mutate(rng, t):
    """A program with one character or piece changed."""
    i = rng.randrange(len(t) + 1)
    k = min(len(t), i + rng.randrange(0, 4))
    return t[:i] + rng.choice(["", " ", "-", "'", "}", "{", "%", "(", ")", ".", ",", "0", "not ", "is ", "|", "[", "]", "\n"]) + t[k:]


def program(seed, kind):
    rng = random.Random(seed)
    g = Gen(rng)
    if kind == "all":
        kind = rng.choices(["expr", "body", "lex", "mutant"], [5, 5, 0.5, 1])[0]
    if kind == "expr":
        return "{{ " + g.any(rng.randrange(1, 4)) + " }}"
    if kind == "lex":
        return lex_soup(rng)
    t = "".join(g.statement(3, False) for _ in range(rng.randrange(1, 7)))
    return mutate(rng, t) if kind == "mutant" else t


class Slow(Exception): pass


def alarm(*_): raise Slow()


def by_python(t, variables):
    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(5)
    try:
        return make.compile_template(t).render(**json.loads(json.dumps(variables)))
    except Slow:
        return Slow
    except Exception as e:
        return e
    finally:
        signal.alarm(0)


def ours(program_path, rows):
    p = subprocess.run([program_path], input="\n".join(json.dumps(r) for r in rows) + "\n", capture_output=True, text=True, encoding="utf-8")
    lines = p.stdout.split("\n")[:-1]
    if p.returncode or len(lines) != len(rows):
        sys.exit(f"{program_path} ended with {p.returncode} after {len(lines)} of {len(rows)} rows: {rows[min(len(lines), len(rows) - 1)]}\n{p.stderr[:2000]}")
    return [json.loads(line) for line in lines]


def compare(theirs, mine, refusals, counts):
    """None when both agree, else what differs."""
    if theirs is Slow or (isinstance(theirs, (MemoryError, RecursionError))):
        counts["too slow or deep in Python"] += 1
        return None
    if "e" in mine:
        if isinstance(theirs, Exception):
            counts["refused by both"] += 1
            return None
        if " object at 0x" in theirs or " at 0x" in theirs:
            counts["an address in Python's text"] += 1
            return None
        if " at 0x" in theirs:
            counts["an address in Python's text"] += 1
            return None
        if mine["e"] in make.REFUSALS:
            counts["refused by us alone"] += 1
            refusals[re.sub(r"\d+", "N", mine["m"].split(": ", 1)[-1])] += 1
            return None
        return f"Python gives {theirs!r}\n  we refuse: {mine['m']}"
    if isinstance(theirs, Exception):
        return f"Python refuses: {type(theirs).__name__}: {theirs}\n  we give {mine['o']!r}"
    if theirs != mine["o"]:
        return f"Python gives {theirs!r}\n  we give      {mine['o']!r}"
    counts["same text"] += 1
    return None


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("program")
    ap.add_argument("-n", type=int, default=10000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--kind", default="all", choices=["all", "expr", "body", "lex", "mutant"])
    ap.add_argument("--show", type=int, default=20, help="how many differences to print")
    a = ap.parse_args()
    refusals, counts, bad = collections.Counter(), collections.Counter(), 0
    for start in range(0, a.n, 2000):
        programs = [program(f"{a.seed}/{i}/{a.kind}", a.kind) for i in range(start, min(a.n, start + 2000))]
        rows = [{"t": t} for t in programs]
        rows[0]["v"] = VARS
        for t, mine in zip(programs, ours(a.program, rows)):
            why = compare(by_python(t, VARS), mine, refusals, counts)
            if why:
                bad += 1
                if bad <= a.show:
                    print(f"--- {t!r}\n  {why}")
    for message, n in refusals.most_common():
        print(f"{n:7} refused by us: {message}")
    print(f"{a.n} programs: " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())) + f", {bad} differences")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
