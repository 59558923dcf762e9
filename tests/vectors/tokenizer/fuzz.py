"""Compares ids and texts with the `tokenizers` library on random strings; run by hand.

usage: fuzz.py [--n 100000] [--seed 1] [--only NAME,...] SHARED      (SHARED/data/tokenizers holds real vocabularies)
Builds the tokenizer sources into a shared library with cc.  Prints a line a family; exits 1 on any difference.
"""
import argparse
import ctypes as C
import fnmatch
import json
import os
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

import families
import nasty
import parts

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))


class Buf(C.Structure):
    _fields_ = [("data", C.c_void_p), ("n", C.c_size_t), ("cap", C.c_size_t), ("oom", C.c_bool)]


class Ids(C.Structure):
    _fields_ = [("id", C.POINTER(C.c_int32)), ("at", C.POINTER(C.c_int32)), ("n", C.c_int64), ("cap", C.c_int64),
                ("cap_at", C.c_int64), ("want_at", C.c_bool), ("dropped", C.c_int64)]


class Err(C.Structure):
    _fields_ = [("code", C.c_int), ("msg", C.c_char * 508)]


class Ours:
    lib = None

    @classmethod
    def build(cls, where):
        so = os.path.join(where, "tok.so")
        src = [f"{ROOT}/src/base/{x}.c" for x in ("base", "io", "io_dir", "json")]
        src += [f"{ROOT}/src/text/{x}" for x in sorted(os.listdir(f"{ROOT}/src/text"))
                if x.endswith(".c") and (x.startswith("tok") or x == "utf8.c")]
        subprocess.check_call(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", f"-I{ROOT}/src", *src, "-o", so,
                               "-ljansson", "-lpcre2-8", "-lutf8proc", "-lnettle", "-lm"])
        cls.lib = C.CDLL(so)
        cls.lib.hn_tok_encode.argtypes = [C.c_void_p, C.c_char_p, C.c_size_t, C.c_bool, C.POINTER(Ids), C.POINTER(Err)]
        cls.lib.hn_tok_decode.argtypes = [C.c_void_p, C.POINTER(C.c_int32), C.c_int64, C.c_bool, C.POINTER(Buf), C.POINTER(Err)]

    def __init__(self, folder):
        self.t, self.ids, self.buf, e = C.c_void_p(), Ids(), Buf(), Err()
        if self.lib.hn_tok_open(C.byref(self.t), folder.encode(), C.byref(e)):
            raise ValueError(e.msg.decode())

    def encode(self, text, special=False):
        b, e = text.encode(), Err()
        self.lib.hn_ids_clear(C.byref(self.ids))
        self.ids.want_at = True
        if self.lib.hn_tok_encode(self.t, b, len(b), special, C.byref(self.ids), C.byref(e)):
            raise ValueError(e.msg.decode())
        n = self.ids.n
        at = self.ids.at[: 2 * n] if n else []
        assert all(0 <= x <= y <= len(b) for x, y in zip(at[::2], at[1::2])), (text, at)
        return self.ids.id[:n] if n else []

    def decode(self, ids, skip):
        e = Err()
        self.lib.hn_buf_clear(C.byref(self.buf))
        a = (C.c_int32 * len(ids))(*ids)
        if self.lib.hn_tok_decode(self.t, a, len(ids), skip, C.byref(self.buf), C.byref(e)):
            raise ValueError(e.msg.decode())
        return C.string_at(self.buf.data, self.buf.n).decode() if self.buf.n else ""


def gguf_vocab(path):
    """(tokens, scores, types, merges) of a GGUF vocabulary file; just enough of the format for that."""
    import struct
    f = open(path, "rb")
    rd = lambda fmt: struct.unpack("<" + fmt, f.read(struct.calcsize(fmt)))[0]
    string = lambda: f.read(rd("Q"))
    kinds = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def value(k):
        if k == 8:
            return string().decode("utf8", "replace")
        if k == 9:
            k, n = rd("I"), rd("Q")
            return [value(k) for _ in range(n)]
        return rd(kinds[k])

    assert f.read(4) == b"GGUF"
    rd("I"), rd("Q")
    kv = {}
    for _ in range(rd("Q")):
        key = string().decode()
        kv[key] = value(rd("I"))
    g = lambda k: kv.get("tokenizer.ggml." + k)
    return g("tokens"), g("scores"), g("token_type"), g("merges")


def score_merges(tokens, scores):
    """Merges of a SentencePiece BPE vocabulary: every split of a token into two, best score first."""
    ids = {t: i for i, t in enumerate(tokens)}
    out = []
    for t, s in zip(tokens, scores):
        for k in range(1, len(t)):
            if t[:k] in ids and t[k:] in ids:
                out.append((-s, ids[t[:k]], ids[t[k:]], t[:k], t[k:]))
    out.sort()
    return ids, [(x[3], x[4]) for x in out]


def merges(path):
    lines = open(path, encoding="utf8").read().split("\n")
    return [tuple(x.split(" ")) for x in lines if x and not x.startswith("#version")]


def all_families(data):
    v = json.load(open(f"{data}/gpt2/vocab.json"))
    m = merges(f"{data}/gpt2/merges.txt")
    f = {k: (t, None) for k, t in families.byte_families(v, m).items()}
    v = json.load(open(f"{data}/qwen2/vocab.json"))
    m = merges(f"{data}/qwen2/merges.txt")
    import tokenizers
    f["qwen2-real"] = (families.byte_level(v, m, families.QWEN2, tokenizers.normalizers.NFC()), f"{data}/qwen2")
    f["gpt2-real"] = (f["gpt2"][0], f"{data}/gpt2")
    f["smollm2-real"] = (Tokenizer.from_file(f"{data}/smollm2/tokenizer.json"), f"{data}/smollm2")
    f["gemma-cropped"] = (Tokenizer.from_file(f"{data}/torchtune/tokenizer_gemma_cropped.json"), None)
    f.update({k: (t, None) for k, t in parts.byte_parts(v, m).items()})
    from sentencepiece import sentencepiece_model_pb2 as pb
    for name, path in (("m", "torchtune/m.model"), ("test", "sentencepiece/test_model.model")):
        model = pb.ModelProto.FromString(open(f"{data}/{path}", "rb").read())
        vocab = [[p.piece, p.score] for p in model.pieces]
        fam = parts.unigrams(vocab, model.normalizer_spec.precompiled_charsmap)
        f.update({f"{name}/{k}": (t, None) for k, t in fam.items()})
    for name in ("llama-spm", "phi-3"):
        tokens, scores, _, _ = gguf_vocab(f"{data}/gguf/ggml-vocab-{name}.gguf")
        fam = families.meta_families(*score_merges(tokens, scores))
        fam.update(parts.meta_parts(*score_merges(tokens, scores)))
        f.update({f"{name}/{k}": (t, None) for k, t in fam.items()})
    return f


def compare(name, ref, folder, texts):
    ours = Ours(folder)
    bad = {"ids": 0, "special": 0, "text": 0, "skip": 0}
    shown = n = 0
    for t in texts:
        n += 1
        want = ref.encode(t, add_special_tokens=False).ids
        got = ours.encode(t)
        diff = [("ids", want, got)]
        diff.append(("special", ref.encode(t).ids, ours.encode(t, True)))
        if name != "flags":  # it has added tokens that are not ASCII: the library decodes those to broken bytes
            diff.append(("text", ref.decode(want, skip_special_tokens=False), ours.decode(want, False)))
            diff.append(("skip", ref.decode(want), ours.decode(want, True)))
        for kind, a, b in diff:
            if a != b:
                bad[kind] += 1
                if shown < 3:
                    shown += 1
                    print(f"  {kind} of {t!r}:\n    want {a!r}\n    got  {b!r}")
    print(f"{name}: {n} strings, different: " + ", ".join(f"{k} {v}" for k, v in bad.items()), flush=True)
    return sum(bad.values())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("shared")
    p.add_argument("--n", type=int, default=100000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", help="names or patterns, with commas between")
    a = p.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as tmp:
        Ours.build(tmp)
        for name, (ref, folder) in all_families(f"{a.shared}/data/tokenizers").items():
            if a.only and not any(fnmatch.fnmatch(name, x) for x in a.only.split(",")):
                continue
            if not folder:
                folder = f"{tmp}/{name.replace('/', '_')}"
                os.mkdir(folder)
                ref.save(f"{folder}/tokenizer.json")
                ref = Tokenizer.from_file(f"{folder}/tokenizer.json")
            tokens = [t.content for t in ref.get_added_tokens_decoder().values()]
            total += compare(name, ref, folder, nasty.stream(a.seed, a.n, tokens))
    print(f"total: {total}")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
