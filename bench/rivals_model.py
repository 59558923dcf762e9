"""The models of bench/model.c in PyTorch: d 512, 8 layers, 8 heads, FFN 1408, vocabulary 4096, untied; batch 8 x 256.

usage: rivals_model.py train|generate f32|bf16 THREADS SECONDS [BATCH] [large]     prints one number: tokens a second
       rivals_model.py memory f32|bf16 THREADS VOCABULARY TOKENS     prints the peak in bytes of one update on one row
Eager PyTorch as its users write it: fused attention and RMS norm, fused AdamW, autocast for bf16, a preallocated cache;
where the version has none of them (1.13), the same in plain operations.  large: d 896, 24 layers, 14 heads on 2 of keys,
FFN 4864, vocabulary 32000."""
import resource, sys, time
import torch
import torch.nn as nn
import torch.nn.functional as F

D, L, H, KV, FF, V, NEW = 512, 8, 8, 8, 1408, 4096, 128
if "large" in sys.argv[5:]:
    D, L, H, KV, FF, V, NEW = 896, 24, 14, 2, 4864, 32000, 32
HD = 64
LONGEST = 512
FUSED = hasattr(F, "scaled_dot_product_attention") and hasattr(nn, "RMSNorm")

class PlainNorm(nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps).to(x.dtype) * self.weight

Norm = nn.RMSNorm if FUSED else PlainNorm

def attend(q, k, v, causal):
    if FUSED:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=H != KV)
    B, _, T, _ = q.shape
    q = q.reshape(B, KV, H // KV * T, HD)
    s = (q @ k.transpose(-1, -2)) * HD ** -0.5
    if causal:
        s = s.view(B, H, T, -1).masked_fill(torch.ones(T, k.shape[2], dtype=torch.bool).triu(1), float("-inf")).view(s.shape)
    return (torch.softmax(s, -1).to(v.dtype) @ v).view(B, H, T, HD)

def rope(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = Norm(D, eps=1e-5), Norm(D, eps=1e-5)
        self.qkv, self.o = nn.Linear(D, (H + 2 * KV) * HD, bias=False), nn.Linear(H * HD, D, bias=False)
        self.gu, self.down = nn.Linear(D, 2 * FF, bias=False), nn.Linear(FF, D, bias=False)

    def forward(self, x, cos, sin, cache=None, at=0):
        B, T, _ = x.shape
        q, k, v = self.qkv(self.n1(x)).view(B, T, H + 2 * KV, HD).transpose(1, 2).split((H, KV, KV), 1)
        q, k = rope(q, cos, sin), rope(k, cos, sin)
        if cache is not None:
            cache[0][:, :, at:at + T] = k
            cache[1][:, :, at:at + T] = v
            k, v = cache[0][:, :, :at + T], cache[1][:, :, :at + T]
        a = attend(q, k.to(q.dtype), v.to(q.dtype), T > 1)
        x = x + self.o(a.transpose(1, 2).reshape(B, T, H * HD))
        g, u = self.gu(self.n2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(g) * u)

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, D)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm, self.head = Norm(D, eps=1e-5), nn.Linear(D, V, bias=False)
        f = torch.outer(torch.arange(max(512, LONGEST)).float(), 1e4 ** (-torch.arange(0, HD, 2) / HD))
        self.register_buffer("cos", f.cos())
        self.register_buffer("sin", f.sin())

    def forward(self, ids, cache=None, at=0):
        x, T = self.emb(ids), ids.shape[1]
        for i, b in enumerate(self.blocks):
            x = b(x, self.cos[at:at + T], self.sin[at:at + T], cache[i] if cache else None, at)
        return self.head(self.norm(x))

def adamw(m):
    return torch.optim.AdamW(m.parameters(), lr=1e-4, weight_decay=0.0, **({"fused": True} if FUSED else {}))

def train(seconds, bf16):
    m = Model()
    opt = adamw(m)
    start, tokens, step = 0, 0, 0
    while True:
        if step == 2:
            start, tokens = time.perf_counter(), 0
        if step > 2 and time.perf_counter() - start > seconds:
            return tokens / (time.perf_counter() - start)
        ids = torch.randint(0, V, (8, 256))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = m(ids)
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, V).float(), ids[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        tokens += ids.numel()
        step += 1

@torch.inference_mode()
def generate(seconds, bf16, B):
    m = Model().eval()
    if bf16:
        m = m.to(torch.bfloat16)
    dt = torch.bfloat16 if bf16 else torch.float32
    start, tokens, rounds = 0, 0, 0
    while True:
        if rounds == 1:
            start, tokens = time.perf_counter(), 0
        if rounds > 1 and time.perf_counter() - start > seconds:
            return tokens / (time.perf_counter() - start)
        cache = [[torch.zeros(B, KV, 16 + NEW, HD, dtype=dt) for _ in range(2)] for _ in range(L)]
        ids = torch.randint(0, V, (B, 16))
        z = m(ids, cache, 0)[:, -1]
        for i in range(NEW):
            p = torch.softmax(z.float(), -1)
            nxt = torch.multinomial(p, 1)
            if i == NEW - 1:
                break
            z = m(nxt, cache, 16 + i)[:, -1]
        tokens += B * NEW
        rounds += 1

def memory(bf16, tokens):
    m = Model()
    opt = adamw(m)
    ids = torch.randint(0, V, (1, tokens))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = m(ids)
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, V).float(), ids[:, 1:].reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    opt.step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

if sys.argv[1] == "memory":
    V, LONGEST = int(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(int(sys.argv[3]))
    print(memory(sys.argv[2] == "bf16", LONGEST))
    sys.exit()

what, dtype, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
if what not in ("train", "generate") or dtype not in ("f32", "bf16"):
    sys.exit(__doc__)
torch.set_num_threads(threads)
torch.manual_seed(0)
if what == "train":
    print("%.1f" % train(seconds, dtype == "bf16"))
else:
    print("%.1f" % generate(seconds, dtype == "bf16", int(sys.argv[5]) if len(sys.argv) > 5 else 32))
