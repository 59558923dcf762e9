"""Directories that hone wrote, in `transformers`: do both answer with the same greedy tokens?  Run by hand.

usage: greedy.py HONE [SHARED]      SHARED: a folder with data/weights/stories260K (else that model is left out)

Models: stories260K through `hone convert`, models/base, models/base after 20 updates of `hone sft` (f32 and saved as bf16), and a
tiny Qwen2 and Qwen3 of `hone init`, trained for 20 updates.  For each and each prompt: up to 200 new tokens at temperature 0 from both
programs, compared as text, which 200 tokens must give to the letter (an answer that ends by itself ends both); where they part, the two likeliest logits there show
whether it was a tie.  Exit 1 when any differ."""
import json, os, subprocess, sys, tempfile
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

NEW = 200
PROMPTS = ["Q: Tom has 3", "Anna has 12 apples and", "Q: Use the numbers", "Once upon a time", "Q: Ben buys", "Kim", "Q: 7", "Then"]
torch.set_num_threads(1)
hone, shared = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
base = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../models/base")
TINY = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": True, "initializer_range": 0.1}


def run(*a):
    return subprocess.run([hone, *a], check=True, capture_output=True, text=True).stdout


def learn(model, out, *more):
    run("sft", "--model", model, "--task", "arith", "--train_items", "160", "--max_steps", "20", "--learning_rate", "1e-3",
        "--max_length", "256", "--save_steps", "0", "--store", out + ".db", "--out", out, "--quiet", *more)
    return out


def fresh(tmp, kind, arch):
    config = os.path.join(tmp, kind + ".json")
    extra = {"head_dim": 32} if kind == "qwen3" else {"attention_bias": True}
    json.dump({"architectures": [arch], "model_type": kind, **TINY, **extra}, open(config, "w"))
    run("init", "--config", config, "--tokenizer", base, "--out", os.path.join(tmp, kind + "-0"), "--quiet")
    return learn(os.path.join(tmp, kind + "-0"), os.path.join(tmp, kind))


def directories(tmp):
    stories = os.path.join(shared, "data/weights/stories260K")
    if shared and os.path.isdir(stories):
        out = os.path.join(tmp, "stories")
        run("convert", "--from", "llama2c", "--model", stories + "/stories260K.bin", "--tokenizer", stories + "/tok512.bin",
            "--out", out, "--quiet")
        yield "stories260K", out
    yield "base", base
    yield "base, trained", learn(base, os.path.join(tmp, "base"))
    yield "base, trained, bf16", learn(base, os.path.join(tmp, "base16"), "--save_dtype", "bf16")
    yield "qwen2", fresh(tmp, "qwen2", "Qwen2ForCausalLM")
    yield "qwen3", fresh(tmp, "qwen3", "Qwen3ForCausalLM")


@torch.no_grad()
def compare(name, folder):
    tok = AutoTokenizer.from_pretrained(folder)
    net = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    same = tokens = 0
    for prompt in PROMPTS:
        ours = run("generate", "--model", folder, "--prompt", prompt, "--temperature", "0", "--max_new_tokens", str(NEW),
                   "--quiet").removesuffix("\n")
        ids = tok(prompt, return_tensors="pt")["input_ids"]
        out = net.generate(ids, do_sample=False, max_new_tokens=NEW, output_logits=True, return_dict_in_generate=True,
                           attention_mask=torch.ones_like(ids))
        new = out.sequences[0, ids.shape[1]:]
        theirs = tok.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        tokens += len(new)
        same += ours == theirs
        if ours != theirs:
            at = next((i for i in range(min(len(ours), len(theirs))) if ours[i] != theirs[i]), min(len(ours), len(theirs)))
            k = next(i for i in range(len(new) + 1) if i == len(new) or len(tok.decode(new[:i], skip_special_tokens=True)) > at)
            top = out.logits[max(k - 1, 0)][0].topk(2).values
            print(f"  {prompt!r}: differs after {at} letters ({k} tokens), logits {top[0]:.6f} and {top[1]:.6f}:\n"
                  f"  hone {ours[max(at - 20, 0):at + 20]!r}\n  them {theirs[max(at - 20, 0):at + 20]!r}")
    print(f"{name}: {same} of {len(PROMPTS)} prompts, {tokens} tokens" + ("" if same == len(PROMPTS) else "  DIFFERENT"))
    return same == len(PROMPTS)


with tempfile.TemporaryDirectory() as tmp:
    sys.exit(0 if all([compare(*d) for d in directories(tmp)]) else 1)
