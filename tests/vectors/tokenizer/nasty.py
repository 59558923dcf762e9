"""Strings that tokenizers get wrong: used by make.py (vectors) and fuzz.py (comparison by hand)."""
import random

WORDS = """the of Once upon a time little girl named Lily don't it's I'M we'll they'd HE'S you've o'clock
naïve café über straße Ελλάδα Привет мир 你好 世界 日本語 テスト 한국어 안녕 مرحبا שלום हिन्दी ไทย
0 1 42 007 3.14 1,234,567 2024-10-31 ½ ² ٣٤ Ⅷ e=mc^2 foo_bar snake_case camelCase HTML <b> </p> {} [] ()
http://example.com/a?b=c&d=e user@mail.org #tag @name ... --- ___ *** $100 50% a+b=c x/y \\n \\t
the the and and ing tion er est un re""".split()
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n", "\n ", "\u00a0", "\u2003", "\u3000", "\u0085",
          "\u2028", "\u2029", "\u1680", "\u180e", "\u200b", "\u202f", "\v", "\f", "\x1c", "\x1f", "        "]
MARKS = [chr(c) for c in list(range(0x300, 0x370)) + [0x483, 0x5B0, 0x64B, 0x93C, 0x94D, 0x9BE, 0xE31, 0x1AB0, 0x20D0,
                                                      0x3099, 0x309A, 0xFE00, 0xFE0F, 0x1D165, 0x1E2AE]]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "1️⃣", "❤️", "🦙", "✅", "☎", "🤷🏻‍♀️"]
JAMO = [chr(c) for c in list(range(0x1100, 0x1113)) + list(range(0x1161, 0x1176)) + list(range(0x11A7, 0x11C3))
        + [0xAC00, 0xAC01, 0xD55C, 0xD7A3]]
TRICKY = ["'s", "'S", "'ſ", "'T", "'re", "'RE", "'lL", "'d", "'", "''", "'m", "\u2019s", "'K", "\u212a", "\u2126", "\u212b", "Å",
          "ﬁ", "ﬀ", "ß", "ẞ", "İ", "ı", "ǅ", "▁", "▁▁", "▁a", "Ġ", "Ċ", "Â", "\u00ad", "\ufeff", "\ufffd", "\uffff", "\x00", "\x01",
          "\x7f", "\x80", "\u0344", "\u0958", "\u2adc", "\u1e0a\u0323", "\u0344\u0301", "\ud7a3\u11a8", "<0x41>", "<0x0A>", "<unk>",
          "\U000e0001", "\U0010ffff", "\U00031350", "\U0002ebf0", "\U00010d40", "\U00011de0", "\U00016130", "²", "㊀", "①"]


def one(rng, tokens=()):
    """One random string; `tokens` are spellings of added tokens to scatter in it."""
    kind = rng.randrange(12)
    if kind == 0:  # a long run of one thing
        return rng.choice(WORDS + SPACES + MARKS + EMOJI + TRICKY + list("aA0 '.-")) * rng.randrange(1, 60)
    parts = []
    for _ in range(rng.randrange(1, 24)):
        k = rng.randrange(16)
        if k < 4:
            parts.append(rng.choice(WORDS))
        elif k < 7:
            parts.append(rng.choice(SPACES) if rng.random() < 0.4 else " ")
        elif k == 7:
            parts.append(rng.choice(MARKS))
        elif k == 8:
            parts.append(rng.choice(EMOJI))
        elif k == 9:
            parts.append("".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 8))))
        elif k == 10:
            parts.append(rng.choice(TRICKY))
        elif k == 11:
            parts.append("".join(rng.choice(JAMO) for _ in range(rng.randrange(1, 4))))
        elif k == 12:
            c = rng.randrange(0x110000)
            parts.append(chr(c) if not 0xD800 <= c < 0xE000 else "?")
        elif k == 13:
            c = rng.choice([rng.randrange(0x80), rng.randrange(0x3000), rng.randrange(0xD800), rng.randrange(0x1F000, 0x1FB00)])
            parts.append(chr(c))
        elif k == 14:
            parts.append("".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(1, 12))))
        elif tokens:
            t = rng.choice(tokens)
            parts.append(t if rng.random() < 0.8 else t[: rng.randrange(len(t) + 1)])
    return "".join(parts)


def stream(seed, n, tokens=()):
    rng = random.Random(seed)
    return (one(rng, tokens) for _ in range(n))


def many(seed, n, tokens=()):
    rng = random.Random(seed)
    return [one(rng, tokens) for _ in range(n)]
