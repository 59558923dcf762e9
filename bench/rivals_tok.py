"""What bench/tok.c does, with the `tokenizers` library on one thread.

usage: rivals_tok.py FOLDER TEXT SECONDS     prints MB of text a second of processor time
       rivals_tok.py make FOLDER TEXT        trains a tokenizer of each kind on TEXT into FOLDER/<kind>/tokenizer.json, and
           writes lines of 10 MB: FOLDER/line (TEXT), FOLDER/letter (one letter), FOLDER/mixed (the letters of TEXT), and
           FOLDER/mixed1, a tenth of that"""
import os
import random
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
SIZE = 10_000_000


def make(folder, text):
    lines = open(text, encoding="utf8").read().split("\n")
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = [pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated"), plain]) for p in (QWEN2, LLAMA3)]
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte])
    meta = pre_tokenizers.Metaspace()
    kinds = {"gpt2": (models.BPE(), None, byte, decoders.ByteLevel()),
             "qwen2": (models.BPE(), normalizers.NFC(), split[0], decoders.ByteLevel()),
             "llama3": (models.BPE(ignore_merges=True), None, split[1], decoders.ByteLevel()),
             "smollm2": (models.BPE(), None, digits, decoders.ByteLevel()),
             "llama": (models.BPE(unk_token="<unk>"), None, meta, decoders.Metaspace()),
             "unigram": (models.Unigram(), normalizers.NFKC(), meta, decoders.Metaspace())}
    for name, (model, norm, pre, dec) in kinds.items():
        t = Tokenizer(model)
        t.pre_tokenizer, t.decoder = pre, dec
        if norm:
            t.normalizer = norm
        if name == "unigram":
            trainer = trainers.UnigramTrainer(vocab_size=8000, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
        else:
            trainer = trainers.BpeTrainer(vocab_size=16000, special_tokens=["<unk>"], show_progress=False,
                                          initial_alphabet=[] if name == "llama" else byte.alphabet())
        t.train_from_iterator(lines, trainer)
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        t.save(f"{folder}/{name}/tokenizer.json")
        if name == "llama":  # whole texts, as Llama 2 does it: marks by the normalizer, no pieces
            t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
            t.pre_tokenizer = None
            t.save(f"{folder}/{name}/tokenizer.json")
    write_long(folder, lines)


def write_long(folder, lines):
    """Nothing repeats at a fixed distance: the lines are shuffled again and again."""
    rng, texts = random.Random(1), {"line": "", "mixed": "", "letter": "a" * SIZE}
    letters = ["".join(c for c in x if c.isascii() and c.isalpha()) for x in lines]
    for name, pieces, space in (("line", [x.strip() for x in lines], " "), ("mixed", letters, "")):
        while len(texts[name]) < SIZE:
            rng.shuffle(pieces)
            texts[name] += space.join(pieces) + space
        texts[name] = texts[name][:SIZE]
    texts["mixed1"] = texts["mixed"][:SIZE // 10]
    for name, text in texts.items():
        with open(f"{folder}/{name}", "w", encoding="utf8") as f:
            f.write(text)


def main():
    if sys.argv[1] == "make":
        return make(*sys.argv[2:])
    folder, text, seconds = sys.argv[1:4]
    t = Tokenizer.from_file(f"{folder}/tokenizer.json")
    data = open(text, encoding="utf8").read()
    lines, size, done = data.split("\n"), len(data.encode()), 0
    start = time.process_time()
    while time.process_time() - start < float(seconds) or not done:
        t.encode_batch_fast(lines, add_special_tokens=False)
        done += size
    print(f"{done / (time.process_time() - start) / 1e6:.2f}")


main()
