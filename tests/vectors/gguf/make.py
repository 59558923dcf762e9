#!/usr/bin/env python3
"""Vectors for tests/gguf.c, by llama.cpp's own Python.

    make.py LLAMA_CPP     (a source tree with gguf-py/ and conversion/; torch and transformers are needed)

tiny.gguf    every kind of key and a tensor of every type that is read, and one that is not
tiny.json    tensor -> sha256 of its f32 numbers as gguf-py reads them; "packed": type -> sha256 of the bytes that
             gguf-py makes of the numbers of numbers()
models.json  model of ../models -> type -> keys and tensors (type, shape as in the file, sha256 of the data), as
             convert_hf_to_gguf.py writes them
"""
import hashlib
import json
import pathlib
import sys
import tempfile

import numpy as np

here = pathlib.Path(__file__).parent
root = pathlib.Path(sys.argv[1])
sys.path[:0] = [str(root / "gguf-py"), str(root)]
import gguf  # noqa: E402
from gguf import quants  # noqa: E402

T = gguf.GGMLQuantizationType
sha = lambda a: hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()


def numbers(n):
    """What tests/gguf.c makes as well: exact in f32, of 16 sizes, with zeros and subnormals of f16."""
    i = np.arange(n, dtype=np.uint64)
    m = (i * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(8)
    x = (m.astype(np.float64) - (1 << 23)) * 2.0 ** -23
    x *= 2.0 ** -(2.0 * (i // np.uint64(32) % np.uint64(16)).astype(np.float64))
    x[i % np.uint64(37) == 5] = 0
    x[64:96] = 0
    return x.astype(np.float32)


def tiny():
    x = numbers(4 * 512).reshape(4, 512)
    w = gguf.GGUFWriter(here / "tiny.gguf", "none")
    w.add_uint8("k.u8", 200)
    w.add_int8("k.i8", -100)
    w.add_uint16("k.u16", 60000)
    w.add_int16("k.i16", -30000)
    w.add_uint32("k.u32", 4000000000)
    w.add_int32("k.i32", -2000000000)
    w.add_float32("k.f32", 1e-5)
    w.add_uint64("k.u64", 1 << 63)
    w.add_int64("k.i64", -(1 << 62))
    w.add_float64("k.f64", 0.1)
    w.add_bool("k.bool", True)
    w.add_string("k.str", "gr\u00fc\u00dfe")
    w.add_array("k.strs", ["a", "", "\u2581b"])
    w.add_array("k.i32s", [1, -2, 3])
    w.add_array("k.f32s", [0.5, -1.25])
    dequant = {}
    for t in (T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0):
        q = quants.quantize(x, t)
        w.add_tensor("t." + t.name, q, raw_dtype=t)
        dequant["t." + t.name] = sha(quants.dequantize(q, t).astype(np.float32))
    w.add_tensor("odd", np.arange(7, dtype=np.float32))
    w.add_tensor("t.Q6_K", np.zeros((1, 210), dtype=np.uint8), raw_dtype=T.Q6_K)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    packed = {t.name: sha(quants.quantize(x, t)) for t in (T.F32, T.F16, T.BF16, T.Q8_0)}
    (here / "tiny.json").write_text(json.dumps({"numbers": sha(x), "tensors": dequant, "packed": packed}, indent=1) + "\n")


def convert(model, kind):
    from conversion.base import ModelBase
    from conversion import get_model_class

    hp = ModelBase.load_hparams(here.parent / "models" / model, False)
    cls = get_model_class(hp["architectures"][0])
    cls.set_vocab = cls._set_vocab_none  # these models have no tokenizer
    ft = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}[kind]
    with tempfile.TemporaryDirectory() as d:
        out = pathlib.Path(d) / "m.gguf"
        cls(here.parent / "models" / model, gguf.LlamaFileType[ft], out, model_name=model).write()
        r = gguf.GGUFReader(out)
        keys = {k: f.contents() for k, f in r.fields.items() if not k.startswith(("GGUF.", "tokenizer."))}
        return {"keys": keys, "tensors": {
            t.name: [t.tensor_type.name, [int(n) for n in t.shape], sha(t.data)[:16]] for t in r.tensors}}


if __name__ == "__main__":
    tiny()
    models = ["llama", "llama_bias", "llama_tied", "mistral", "qwen2", "qwen3"]
    all_ = {m: {k: convert(m, k) for k in ("f32", "f16", "bf16", "q8_0")} for m in models}
    rows = [f'"{m}": {{\n' + ",\n".join(f'  "{k}": {json.dumps(v)}' for k, v in a.items()) + "}" for m, a in all_.items()]
    (here / "models.json").write_text("{" + ",\n".join(rows) + "}\n")
