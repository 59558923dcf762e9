"""Makes cases.jsonl and train.json with the `tokenizers` library.  usage: make.py (in this folder); seed fixed below.

cases.jsonl   line 1: {"texts": [...]}; lines of {"model": name, "vocab", "merges"}; then a line a tokenizer:
              {"name", "model", "tokenizer": a tokenizer.json without vocab and merges, "ids": [[...] a text, with special
              tokens], "before", "after": how many ids the post-processor adds, "back": {number of text: what the ids
              decode to, where that is not the text}}
sp.jsonl      a line a SentencePiece model beside it: {"file", "ids": [[...] a text of cases.jsonl], "back"}
train.json    the text trained on, the vocabulary size, and the merges the library learns
"""
import json
import tempfile

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import families
import nasty
import parts

SEED = 20240607
CORPUS = """The small engine reads the question twice before it answers. It doesn't guess; it counts: 1, 2, 3, 10, 250.
"Where is the lighthouse?" asked Mira. "It's over there, behind the 3 grey rocks," said Tom. They'll walk, we've time.
A river that bends keeps its water; a river that runs straight gives it to the sea. I'm sure you'd like the bend.
def add(a, b):
    return a + b  # the sum of a and b

for i in range(12):
\tprint(i, add(i, i + 1))

She had 24 apples, gave away 7, and bought 15 more. 24 - 7 = 17. 17 + 15 = 32. So she has 32 apples now.
He walked 5 km to the mill and 5 km back: 5 + 5 = 10. The answer is 10. The answer is 32. The answer is 17.
Über den Fluß führt eine Brücke; der Müller wohnt daneben. Où est la gare ? La gare est là-bas, près du café.
Мост стоит над рекой. Река течёт к морю. Вода холодная, а мост старый. 桥在河上。河流向海。水很冷,桥很老。
その橋は古い。川は海へ流れる。水は冷たい。 다리는 낡았다. 강은 바다로 흐른다. الجسر قديم والنهر يجري إلى البحر.
If the light is green, go; if the light is red, wait; if there is no light, look left and right and left again.
THE END is not the end, he said, AND SHE SAID: what isn't an end can't end. ... --- !!! ??? ((())) [[]] {} <> == != <= >=
😀 👍🏽 🇩🇪 👨‍👩‍👧 ✅ ❤️ naïve façade coöperate São Tomé Ångström 1️⃣ ½ ² Ⅷ ٣٤ हिन्दी ไทย e\u0301 a\u0308 o\u0302\u0323
"""


def trained(pre, size, specials, alphabet):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet,
                                                        show_progress=False))
    m = json.loads(t.to_str())["model"]
    return m["vocab"], [tuple(x) for x in m["merges"]]


def frame(t):
    """The tokenizer.json without what the families share."""
    j = json.loads(t.to_str())
    del j["model"]["vocab"]
    j["model"].pop("merges", None)
    return j


def case(name, model, t, texts):
    t = Tokenizer.from_str(t.to_str())
    ids = [t.encode(x).ids for x in texts]
    after = int(name.startswith("post-"))
    before = len(t.encode("").ids) - after
    back = {}
    for k, x in enumerate(texts):
        y = t.decode(ids[k][before:len(ids[k]) - after], skip_special_tokens=False)
        if y != x:
            back[k] = y
    if name == "flags":  # the library decodes added tokens that are not ASCII to broken bytes
        back = None
    if name == "unigram-bytes":  # its own vocabulary
        return {"name": name, "model": name, "tokenizer": json.loads(t.to_str()), "ids": ids, "before": before, "after": after, "back": back}
    return {"name": name, "model": model, "tokenizer": frame(t), "ids": ids, "before": before, "after": after, "back": back}


# What becomes what in the small maps of characters: full-width letters, ligatures, a space of another width, dropped ones.
RULES = "FF21\t0041\nFF22\t0042\nFB01\t0066 0069\nFB00\t0066 0066\n3000\t0020\nA0\t0020\n9\t0020\nA\t0020\n65 301\tE9\nAD\t\nFF9E\t3099\n" \
        "2126\t3A9\n212B\tC5\nBD\t31 2044 32\n958\t915 93C\n"


def sentencepiece(name, **kw):
    """Trains a small model; returns the bytes of its file, which is kept when it has a name."""
    import sentencepiece as spm
    with tempfile.TemporaryDirectory() as d:
        open(f"{d}/text", "w").write(CORPUS)
        open(f"{d}/rules", "w").write(RULES)
        if kw.pop("rules", False):
            kw["normalization_rule_tsv"] = f"{d}/rules"
        spm.SentencePieceTrainer.train(input=f"{d}/text", model_prefix=f"{d}/x", minloglevel=2, hard_vocab_limit=False,
                                       character_coverage=0.99, num_threads=1, **kw)
        data = open(f"{d}/x.model", "rb").read()
    if name:
        open(name, "wb").write(data)
    return data


def sp_case(name, texts, **kw):
    import sentencepiece as spm
    sp = spm.SentencePieceProcessor(model_proto=sentencepiece(name, **kw))
    ids = [sp.encode(x) for x in texts]
    back = [sp.decode(x) if sp.unk_id() not in x else None for x in ids]
    return {"file": name, "ids": ids, "back": back}


def sp_cases(texts):
    texts = [x if not any(t in x for t in ("<s>", "</s>", "<unk>")) else "" for x in texts]
    user = ["<tool>", "12", "  "]
    return [sp_case("bpe.model", texts, model_type="bpe", vocab_size=600, byte_fallback=True, normalization_rule_name="identity",
                    remove_extra_whitespaces=False, user_defined_symbols=user),
            sp_case("bpe2.model", texts, model_type="bpe", vocab_size=420, treat_whitespace_as_suffix=True, rules=True,
                    split_by_whitespace=False),
            sp_case("unigram.model", texts, vocab_size=300, rules=True, add_dummy_prefix=False, user_defined_symbols=user[:1]),
            sp_case("unigram2.model", texts, vocab_size=560, byte_fallback=True, rules=True)]


def main():
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_model = trained(pre_tokenizers.ByteLevel(add_prefix_space=False), 420, families.SPECIALS, alphabet)
    meta = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    meta_model = trained(pre_tokenizers.Metaspace(), 520, meta, sorted(set("▁" + CORPUS) - set(" \n\t")))
    tags = [str(t) for t in families.SPECIALS + ["[L]", "[R]", "[LR]", "word", "<tool>", "<tool>x", "foo", "<|end|>", "</s>", "<s>"]]
    texts = ["", " ", "  ", "Hello world", " Hello  world ", "don't DON'T 'ſ we'll", "12345 6 78\n\n\n x", "[L]  [R]  [LR] a word.words",
             "  <|im_start|> user <tool>x<|im_end|>\n", "\uac00\u11a7", "a\U0001e2ae\u0316", "\U00011935\U00011930",
             "[R]\x85\xa0\u3000x", "x\u180e [L]y", "\U0002ebf0\U00031350a", "\U00010d401\U00011de0 ", "_word word\u0301 word-",
             "a\u1c89b\u1c8a", "\x85\u2003\n x\u180e", "\u32ff\uab69 \U0001f16c\U0001fbf5 \ua7f2\U00010781\U0001ccd6",
             "x\u1cf2y\u1cf3z\u1ace", "e\u0301\u1ae7 e\u0301\U00011b61 e\u0301\U00010d69 e\u0301x",
             "\u0915\u094d\u0958\u0301 \u0915\u0958\u0301 \U000113d1e\u0301 \U00011a3ae\u0301"]
    texts += [t for t in nasty.many(SEED, 900, tags) if "\0" not in t and len(t.encode()) < 80][:58]
    rows = [(k, "bytes", t) for k, t in families.byte_families(*byte_model).items()]
    rows += [(k, "meta", t) for k, t in families.meta_families(*meta_model).items()]
    from sentencepiece import sentencepiece_model_pb2 as pb
    model = pb.ModelProto.FromString(sentencepiece(None, vocab_size=330, rules=True))
    pieces = [[p.piece, p.score] for p in model.pieces]
    few = [(k, "bytes", t) for k, t in parts.byte_parts(*byte_model).items()]
    few += [(k, "meta", t) for k, t in parts.meta_parts(*meta_model).items()]
    few += [(k, "unigram", t) for k, t in parts.unigrams(pieces, model.normalizer_spec.precompiled_charsmap).items()]
    with open("sp.jsonl", "w", encoding="utf8") as f:
        for c in sp_cases(texts):
            f.write(json.dumps(c, ensure_ascii=False, separators=(",", ":")) + "\n")
    with open("cases.jsonl", "w", encoding="utf8") as f:
        def line(o):
            f.write(json.dumps(o, ensure_ascii=False, separators=(",", ":")) + "\n")
        line({"texts": texts})
        for name, (vocab, merges) in (("bytes", byte_model), ("meta", meta_model)):
            line({"model": name, "vocab": vocab, "merges": [" ".join(m) for m in merges]})
        line({"model": "unigram", "vocab": pieces})
        for r in rows:
            line(case(*r, texts))
        for r in few:
            line(case(*r, texts[:36]))
    vocab, merges = trained(digits, 500, families.SPECIALS, alphabet)
    json.dump({"text": CORPUS, "vocab": len(vocab), "merges": [" ".join(m) for m in merges]}, open("train.json", "w"), ensure_ascii=False)


main()
