"""Compares a million random strings a family with the `tokenizers` library, in batches; run by hand.

usage: million.py [--n 1000000] [--seed 1] [--only PATTERN,...] SHARED      (SHARED/data/tokenizers holds real vocabularies)
Prints a line a family; strings that differ are shown and, when they hold characters that are newer than Unicode 13, counted
apart.  Exits 1 on a difference without such characters.  fuzz.py looks at more (texts without special tokens, covers).
"""
import argparse
import array
import fnmatch
import os
import struct
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import Tokenizer

import families
import fuzz
import nasty
import parts

CHUNK = 50000
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<tool>"]
# Assigned in Unicode 14, which is what Python's own table ends with.
NEW14 = [(0x61D, 0x61D), (0x870, 0x88E), (0x890, 0x891), (0x898, 0x89F), (0x8B5, 0x8B5), (0x8C8, 0x8D2), (0xC3C, 0xC3C), (0xC5D, 0xC5D),
         (0xCDD, 0xCDD), (0x170D, 0x170D), (0x1715, 0x1715), (0x171F, 0x171F), (0x180F, 0x180F), (0x1AC1, 0x1ACE), (0x1B4C, 0x1B4C),
         (0x1B7D, 0x1B7E), (0x1DFA, 0x1DFA), (0x20C0, 0x20C0), (0x2C2F, 0x2C2F), (0x2C5F, 0x2C5F), (0x2E53, 0x2E5D), (0x9FFD, 0x9FFF),
         (0xA7C0, 0xA7C1), (0xA7D0, 0xA7D9), (0xA7F2, 0xA7F4), (0xFBC2, 0xFBC2), (0xFD40, 0xFD4F), (0xFDCF, 0xFDCF), (0xFDFE, 0xFDFF),
         (0x10570, 0x105BC), (0x10780, 0x107BA), (0x10F70, 0x10F89), (0x11070, 0x11075), (0x110C2, 0x110C2), (0x116B9, 0x116B9),
         (0x11740, 0x11746), (0x11AB0, 0x11ABF), (0x12F90, 0x12FF2), (0x16A70, 0x16AC9), (0x1AFF0, 0x1AFFE), (0x1B11F, 0x1B122),
         (0x1CF00, 0x1CFC3), (0x1DF00, 0x1DF1E), (0x1E290, 0x1E2AE), (0x1E7E0, 0x1E7FE), (0x1F6DD, 0x1F6DF), (0x1F7F0, 0x1F7F0),
         (0x1F979, 0x1F979), (0x1F9CC, 0x1F9CC), (0x1FA7B, 0x1FAFF), (0x2A6DE, 0x2A6DF), (0x2B735, 0x2B738)]


def newer(s):
    return any(unicodedata.category(c) == "Cn" or any(a <= ord(c) <= b for a, b in NEW14) for c in s)


def build(where):
    src = [f"{fuzz.ROOT}/src/base/{x}.c" for x in ("base", "io", "io_dir", "json")]
    src += [f"{fuzz.ROOT}/src/text/{x}" for x in sorted(os.listdir(f"{fuzz.ROOT}/src/text"))
            if x.endswith(".c") and (x.startswith("tok") or x == "utf8.c")]
    subprocess.check_call(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", f"-I{fuzz.ROOT}/src", *src, f"{fuzz.ROOT}/tests/vectors/tokenizer/batch.c",
                           "-o", f"{where}/batch", "-ljansson", "-lpcre2-8", "-lutf8proc", "-lnettle", "-lm"])


def each():
    """Private use and the ideographs of plane 2 are alike; all else, one by one."""
    cps = [*range(1, 0xD800), *range(0xF8F0, 0x20010), *range(0x2A6D0, 0x2B750), *range(0x2EBD0, 0x32400), *range(0xE0000, 0xE0200)]
    return [f"a{c}1 {c}{c}\u0301b's{c} \u017f{c}\u0439 e\u0301{c}" for c in map(chr, cps)]


def chosen(data, more):
    """The families of the comparison: name -> (tokenizer, folder or None); `more`: those that ask for classes as well."""
    import json
    v, m = json.load(open(f"{data}/gpt2/vocab.json")), fuzz.merges(f"{data}/gpt2/merges.txt")
    llama3 = families.byte_level(v, m, families.LLAMA3, ignore=True, bos="<|endoftext|>")
    f = {"gpt2": (families.byte_level(v, m, added=families.SPECIALS[:1]), f"{data}/gpt2"),
         "llama3": (llama3, None),
         "smollm2": (Tokenizer.from_file(f"{data}/smollm2/tokenizer.json"), f"{data}/smollm2")}
    if more:
        f.update({k: (t, None) for k, t in parts.byte_parts(v, m).items() if k[:4] in ("norm", "whit", "bert") or k == "punct-isolated"})
    v, m = json.load(open(f"{data}/qwen2/vocab.json")), fuzz.merges(f"{data}/qwen2/merges.txt")
    from tokenizers import normalizers
    f["qwen2"] = (families.byte_level(v, m, families.QWEN2, normalizers.NFC()), f"{data}/qwen2")
    tokens, scores, _, _ = fuzz.gguf_vocab(f"{data}/gguf/ggml-vocab-llama-spm.gguf")
    f["metaspace"] = (families.meta_families(*fuzz.score_merges(tokens, scores))["llama"], None)
    f["metaspace-split"] = (families.meta_families(*fuzz.score_merges(tokens, scores))["always"], None)
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = pb.ModelProto.FromString(open(f"{data}/torchtune/m.model", "rb").read())
    vocab = [[p.piece, p.score] for p in model.pieces]
    f["unigram"] = (parts.unigrams(vocab, model.normalizer_spec.precompiled_charsmap)["unigram"], None)
    return f


def ours(where, folder, texts):
    with open(f"{where}/in", "wb") as f:
        for t in texts:
            b = t.encode()
            f.write(struct.pack("<I", len(b)) + b)
    subprocess.check_call([f"{where}/batch", folder, f"{where}/in", f"{where}/out"])
    data, at = open(f"{where}/out", "rb").read(), 0
    for _ in texts:
        n = 4 * int.from_bytes(data[at:at + 4], "little")
        ids, at = data[at + 4:at + 4 + n], at + 4 + n
        n = int.from_bytes(data[at:at + 4], "little")
        yield ids, data[at + 4:at + 4 + n]
        at += 4 + n


def ranges(cps):
    """'10D4A..10D4F 16130' of sorted numbers."""
    runs = []
    for c in cps:
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return " ".join(f"{a:04X}" if a == b else f"{a:04X}..{b:04X}" for a, b in runs)


def compare(name, ref, folder, where, texts, each):
    n = old = new = shown = 0
    late_ones = []
    for k in range(0, len(texts), CHUNK):
        part = texts[k:k + CHUNK]
        ids = [e.ids for e in ref.encode_batch_fast(part)]
        back = ref.decode_batch(ids, skip_special_tokens=False)
        for t, a, b, (x, y) in zip(part, ids, back, ours(where, folder, part)):
            n += 1
            if array.array("i", a).tobytes() == x and b.encode() == y:
                continue
            late = newer(t)
            old, new, shown = old + (not late), new + late, shown + 1
            late_ones += [ord(t[1])] if each and late else []
            if shown < 6 and not (each and late):
                print(f"  {t!r}:\n    want {a} {b!r}\n    got  {array.array('i', x).tolist()} {y.decode()!r}", flush=True)
    print(f"{name}: {n} strings, different: {old}, and {new} with characters newer than Unicode 13", flush=True)
    if late_ones:
        print("  " + ranges(late_ones), flush=True)
    return old


def main():
    p = argparse.ArgumentParser()
    p.add_argument("shared")
    p.add_argument("--n", type=int, default=1000000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--each", action="store_true", help="instead: every character that any Unicode to 17 has, in a few places")
    p.add_argument("--only", default="*", help="names or patterns, with commas between")
    a = p.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    texts, total = each() if a.each else nasty.many(a.seed, a.n, TOKENS), 0
    with tempfile.TemporaryDirectory() as where:
        build(where)
        for name, (ref, folder) in chosen(f"{a.shared}/data/tokenizers", a.each).items():
            if not any(fnmatch.fnmatch(name, x) for x in a.only.split(",")):
                continue
            if not folder:
                folder = f"{where}/{name}"
                os.mkdir(folder)
                ref.save(f"{folder}/tokenizer.json")
                ref = Tokenizer.from_file(f"{folder}/tokenizer.json")
            total += compare(name, ref, folder, where, texts, a.each)
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
