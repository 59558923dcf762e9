"""One tokenizer for each part that the `tokenizers` library has and we read, and unigram models of every kind."""
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from families import GPT2_ADDED, byte_level, metaspace

PT, NO, DE = pre_tokenizers, normalizers, decoders


def cut(vocab, merges, *first):
    """Byte-level BPE behind other pre-tokenizers."""
    t = byte_level(vocab, merges, added=GPT2_ADDED)
    t.pre_tokenizer = PT.Sequence([*first, PT.ByteLevel(add_prefix_space=False, use_regex=False)])
    return t


def byte_parts(vocab, merges):
    """name -> tokenizer; vocab has the 256 byte characters."""
    f = {
        "whitespace": cut(vocab, merges, PT.Whitespace()),
        "whitespace-split": cut(vocab, merges, PT.WhitespaceSplit()),
        "bert-pre": cut(vocab, merges, PT.BertPreTokenizer()),
        "delimiter": cut(vocab, merges, PT.CharDelimiterSplit("e")),
        "digit-runs": cut(vocab, merges, PT.Digits(False)),
        "norm-nfkc": byte_level(vocab, merges, norm=NO.NFKC(), added=GPT2_ADDED),
        "norm-nfkd": byte_level(vocab, merges, norm=NO.NFKD(), added=GPT2_ADDED),
        "norm-lower": byte_level(vocab, merges, norm=NO.Sequence([NO.NFD(), NO.Lowercase(), NO.StripAccents()]), added=GPT2_ADDED),
        "norm-strip": byte_level(vocab, merges, norm=NO.Strip(), added=GPT2_ADDED),
        "norm-strip-left": byte_level(vocab, merges, norm=NO.Strip(True, False), added=GPT2_ADDED),
        "norm-regex": byte_level(vocab, merges, norm=NO.Replace(Regex(r"\s+"), " "), added=GPT2_ADDED),
    }
    for b in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
        f["punct-" + b] = cut(vocab, merges, PT.Punctuation(b))
        f["split-" + b] = cut(vocab, merges, PT.Split(Regex("[aeiou]+| "), b, False))
        f["invert-" + b] = cut(vocab, merges, PT.Split(Regex("[a-z]+"), b, True))
        f["text-" + b] = cut(vocab, merges, PT.Split("th", b, False))
    t = f["falcon"] = byte_level(vocab, merges, added=GPT2_ADDED)
    t.pre_tokenizer = PT.Sequence([PT.Punctuation("contiguous"), PT.ByteLevel(add_prefix_space=False), PT.Digits(False),
                                   PT.Split(Regex("[0-9][0-9][0-9]"), "isolated", False)])
    t = f["norm-bytes"] = byte_level(vocab, merges, norm=NO.ByteLevel(), added=GPT2_ADDED)
    t.pre_tokenizer = PT.Split(Regex("Ġ"), "merged_with_next", False)
    t = f["post-roberta"] = byte_level(vocab, merges, added=GPT2_ADDED)
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", 0), ("a", t.token_to_id("a")))
    t = f["post-bert"] = byte_level(vocab, merges, added=GPT2_ADDED)
    t.post_processor = processors.Sequence([processors.BertProcessing(("a", t.token_to_id("a")), ("b", t.token_to_id("b"))),
                                            processors.ByteLevel(trim_offsets=True)])
    return f


def meta_parts(vocab, merges):
    """name -> tokenizer; vocab has <unk> <s> </s>, <0x00>.. and ▁."""
    ms = PT.Metaspace(prepend_scheme="always", split=True)
    decs = {
        "dec-seq-meta": DE.Sequence([DE.Metaspace(), DE.Fuse()]),
        "dec-strip": DE.Sequence([DE.Strip("▁", 1, 0), DE.ByteFallback()]),
        "dec-regex": DE.Sequence([DE.Replace(Regex("▁+|e"), " "), DE.Fuse(), DE.Strip(" ", 2, 0)]),
        "dec-words": DE.WordPiece("▁", True),
        "dec-words-raw": DE.WordPiece("t", False),
        "dec-bytes": DE.ByteFallback(),
    }
    f = {k: metaspace(vocab, merges, pre=ms, dec=d) for k, d in decs.items()}
    t = f["dec-none"] = metaspace(vocab, merges, pre=ms, dec=DE.Fuse(), bos=None)
    t.decoder = None
    return f


def unigram(vocab, charsmap, fallback=False, pre=None, dec=None, norm=None):
    t = Tokenizer(models.Unigram([tuple(x) for x in vocab], 0, fallback))
    steps = [NO.Precompiled(charsmap)] if charsmap else []
    t.normalizer = norm or NO.Sequence([*steps, NO.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre or PT.Metaspace()
    t.decoder = dec or DE.Metaspace()
    t.add_special_tokens([x for x in ("<unk>", "<s>", "</s>") if t.token_to_id(x) is not None])
    return t


def unigrams(vocab, charsmap):
    """name -> tokenizer; vocab: [[piece, score]] with <unk> first."""
    last = min(s for _, s in vocab)
    with_bytes = list(vocab) + [[f"<0x{b:02X}>", last - 1] for b in range(256)]
    fb = DE.Sequence([DE.Replace("▁", " "), DE.ByteFallback(), DE.Fuse(), DE.Strip(" ", 1, 0)])
    return {
        "unigram": unigram(vocab, charsmap),
        "unigram-bytes": unigram(with_bytes, charsmap, True, dec=fb),
        "unigram-whole": unigram(vocab, None, pre=PT.Metaspace(split=False), norm=NO.NFKC()),
        "unigram-cut": unigram(vocab, None, pre=PT.Sequence([PT.WhitespaceSplit(), PT.Metaspace()]), norm=NO.NFC()),
        "unigram-spelled": unigram(vocab, None, pre=PT.ByteLevel(add_prefix_space=True), dec=DE.ByteLevel(), norm=NO.NFC()),
    }
