"""Tiny random models of every architecture and what `transformers` computes with them in float32.

For each: an ordinary model directory (tests/vectors/models/NAME) and NAME/reference.safetensors with
ids [2,T], logits [2,T,V], loss, grad.<parameter>, losses [10] of AdamW steps on the same batch.
Run:  python make.py    (torch, transformers, safetensors; seed below)
"""
import os, shutil, sys
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
base = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
rope3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=32, rope_theta=10000.0)
MODELS = {
    "llama": LlamaConfig(**base, rms_norm_eps=1e-5, rope_parameters=rope3, tie_word_embeddings=False),
    "llama_tied": LlamaConfig(**base, rms_norm_eps=1e-5, tie_word_embeddings=True),
    "llama_bias": LlamaConfig(**base, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
    "qwen2": Qwen2Config(**base, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**base, head_dim=16, tie_word_embeddings=True),
    "mistral": MistralConfig(**base, sliding_window=None, tie_word_embeddings=False),
}

def main():
    print("transformers", transformers.__version__, "torch", torch.__version__)
    for k, (name, config) in enumerate(MODELS.items()):
        torch.manual_seed(1000 + k)
        out = os.path.join(HERE, name)
        shutil.rmtree(out, ignore_errors=True)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
        with torch.no_grad():  # larger than the default init, gains and biases too, so that every term matters
            for p in model.parameters():
                p.copy_(torch.randn_like(p) * 0.2 + (1.0 if p.dim() == 1 else 0.0))
        model.save_pretrained(out)
        ids = torch.randint(3, config.vocab_size, (2, 37))
        ref = {"ids": ids.to(torch.int32).contiguous()}
        res = model(ids, labels=ids)
        ref["logits"] = res.logits.detach().contiguous()
        ref["loss"] = res.loss.detach().reshape(1)
        res.loss.backward()
        for n, p in model.named_parameters():
            ref["grad." + n] = p.grad.detach().clone().contiguous()
        opt = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        losses = []
        for _ in range(10):
            opt.zero_grad()
            loss = model(ids, labels=ids).loss
            loss.backward()
            opt.step()
            losses.append(loss.item())
        ref["losses"] = torch.tensor(losses, dtype=torch.float32)
        save_file(ref, os.path.join(out, "reference.safetensors"))
        print(name, float(ref["loss"]), losses[-1])

main()
