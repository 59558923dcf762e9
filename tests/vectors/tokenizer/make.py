"""Makes cases.jsonl and train.json with the `tokenizers` library.  usage: make.py (in this folder); seed fixed below.

cases.jsonl   line 1: {"texts": [...]}; line 2, 3: {"model": name, "vocab", "merges"}; then a line a tokenizer:
              {"name", "model", "tokenizer": a tokenizer.json without vocab and merges, "ids": [[...] a text, with special
              tokens], "before": how many ids the post-processor puts first, "back": {number of text: what the ids
              decode to, where that is not the text}}
train.json    the text trained on, the vocabulary size, and the merges the library learns
"""
import json

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import families
import nasty

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


def parts(t):
    """The tokenizer.json without what the families share."""
    j = json.loads(t.to_str())
    del j["model"]["vocab"], j["model"]["merges"]
    return j


def case(name, model, t, texts):
    t = Tokenizer.from_str(t.to_str())
    ids = [t.encode(x).ids for x in texts]
    before = len(t.encode("").ids)
    back = {}
    for k, x in enumerate(texts):
        y = t.decode(ids[k][before:], skip_special_tokens=False)
        if y != x:
            back[k] = y
    if name == "flags":  # the library decodes added tokens that are not ASCII to broken bytes
        back = None
    return {"name": name, "model": model, "tokenizer": parts(t), "ids": ids, "before": before, "back": back}


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
             "a\u1c89b\u1c8a", "\x85\u2003\n x\u180e"]
    texts += [t for t in nasty.many(SEED, 900, tags) if "\0" not in t and len(t.encode()) < 80][:58]
    rows = [(k, "bytes", t) for k, t in families.byte_families(*byte_model).items()]
    rows += [(k, "meta", t) for k, t in families.meta_families(*meta_model).items()]
    with open("cases.jsonl", "w", encoding="utf8") as f:
        def line(o):
            f.write(json.dumps(o, ensure_ascii=False, separators=(",", ":")) + "\n")
        line({"texts": texts})
        for name, (vocab, merges) in (("bytes", byte_model), ("meta", meta_model)):
            line({"model": name, "vocab": vocab, "merges": [" ".join(m) for m in merges]})
        for r in rows:
            line(case(*r, texts))
    vocab, merges = trained(digits, 500, families.SPECIALS, alphabet)
    json.dump({"text": CORPUS, "vocab": len(vocab), "merges": [" ".join(m) for m in merges]}, open("train.json", "w"), ensure_ascii=False)


main()
