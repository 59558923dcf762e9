"""Tokenizers of every family, built with the `tokenizers` library from a vocabulary and merges."""
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
GPT2_ADDED = SPECIALS[:1]
FLAGGED = [AddedToken("[L]", lstrip=True), AddedToken("[R]", rstrip=True), AddedToken("[LR]", lstrip=True, rstrip=True),
           AddedToken("word", single_word=True), AddedToken("Ünï", normalized=True),
           AddedToken("e\u0301x", normalized=True), AddedToken("<tool>", normalized=False),
           AddedToken("<tool>x", normalized=False), AddedToken("  ", normalized=False, single_word=True)]


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated", False)


def byte_level(vocab, merges, pattern=None, norm=None, digits=False, ignore=False, prefix=False, bos=None, added=SPECIALS):
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore))
    if norm:
        t.normalizer = norm
    bl = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=pattern is None)
    first = [split(pattern)] if pattern else [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    t.pre_tokenizer = pre_tokenizers.Sequence(first + [bl]) if first else bl
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(list(added))
    if bos:
        template = processors.TemplateProcessing(single=f"{bos}:0 $A:0", pair=f"{bos}:0 $A:0 {bos}:1 $B:1",
                                                 special_tokens=[(bos, t.token_to_id(bos))])
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t


def byte_families(vocab, merges):
    """name -> tokenizer; vocab has the 256 byte characters."""
    f = {
        "gpt2": byte_level(vocab, merges, added=SPECIALS[:1]),
        "qwen2": byte_level(vocab, merges, QWEN2, normalizers.NFC()),
        "qwen35": byte_level(vocab, merges, QWEN35, normalizers.NFC()),
        "llama3": byte_level(vocab, merges, LLAMA3, ignore=True, bos="<|endoftext|>"),
        "smollm2": byte_level(vocab, merges, digits=True),
        "o200k": byte_level(vocab, merges, O200K),
        "prefix": byte_level(vocab, merges, prefix=True, digits=True),
        "nfd": byte_level(vocab, merges, norm=normalizers.Sequence([normalizers.NFD()])),
        "flags": byte_level(vocab, merges, QWEN2, normalizers.NFC()),
    }
    f["flags"].add_tokens(FLAGGED)
    return f


def metaspace(vocab, merges, norm=None, pre=None, dec=None, added=(), fuse=True, fallback=True, bos="<s>"):
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback))
    if norm:
        t.normalizer = norm
    if pre:
        t.pre_tokenizer = pre
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    t.decoder = dec or decoders.Sequence(steps)
    t.add_special_tokens([AddedToken(x, normalized=False) for x in ("<unk>", "<s>", "</s>")])
    t.add_tokens(list(added))
    if bos:
        t.post_processor = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B",
                                                         special_tokens=[(bos, t.token_to_id(bos))])
    return t


def meta_families(vocab, merges):
    """name -> tokenizer; vocab has <unk> <s> </s>, <0x00>.. and ▁."""
    legacy = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    ms = pre_tokenizers.Metaspace
    phi = [AddedToken("<|end|>", rstrip=True, special=True, normalized=False),
           AddedToken("</s>", rstrip=True, normalized=False), AddedToken("<|user|>", rstrip=True, special=True)]
    return {
        "llama": metaspace(vocab, merges, legacy),
        "phi3": metaspace(vocab, merges, legacy, added=phi),
        "normed": metaspace(vocab, merges, legacy, added=[AddedToken("foo", normalized=True), AddedToken("[L]", lstrip=True)]),
        "first": metaspace(vocab, merges, pre=ms(prepend_scheme="first", split=False)),
        "always": metaspace(vocab, merges, pre=ms(prepend_scheme="always", split=True), dec=decoders.Metaspace()),
        "never": metaspace(vocab, merges, pre=ms(prepend_scheme="never", split=True),
                           dec=decoders.Metaspace(prepend_scheme="never"), bos=None),
        "gemma": metaspace(vocab, merges, normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"),
                           dec=decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])),
        "unk": metaspace({k: v for k, v in vocab.items()}, merges, legacy, fuse=False, fallback=False),
        "unkfuse": metaspace(vocab, merges, legacy, fuse=True, fallback=False),
    }
