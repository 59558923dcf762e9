"""The same SFT run in TRL (SFTTrainer) and the comparison of its losses with hone's: tools/bench_trl.sh calls this.

usage: rivals_trl.py data gsm8k.jsonl|texts.jsonl CASE ROWS OUT      rows of CASE (prompt or messages), the first ROWS of the file
       rivals_trl.py trl MODEL DATA CASE THREADS STEPS BATCH ACCUMULATION LR LOSS OUT      trains; OUT is a JSON file
       rivals_trl.py hone HONE OUT ARGUMENTS...      runs hone, which wrote its run to the last argument's folder; OUT likewise
       rivals_trl.py rows NAME HONE.json TRL.json SKIP      prints `name ours rival ratio goal`

Both sides write {"loss": [...], "seconds": [...], "tokens": [...] or null, "trained": [...], "peak": bytes}, an entry an update.
What makes TRL do the same as hone is in `settings`, with the reason."""
import json, os, resource, subprocess, sys

SETTINGS = dict(
    use_cpu=True,
    bf16=False,                            # TRL trains in bf16 unless told; the model is loaded in f32 below
    gradient_checkpointing=False,          # TRL's default trades a forward pass for memory; hone's default does not
    train_sampling_strategy="sequential",  # hone: --train_sampling_strategy sequential
    lr_scheduler_type="linear",
    weight_decay=0.01,
    max_grad_norm=1.0,
    max_length=1024,                       # no row is longer, so that nothing is cut on either side
    packing=False,
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    disable_tqdm=True,
    seed=42,
)
WARMUP = 10


def data(source, case, rows, out):
    with open(source, encoding="utf-8") as f, open(out, "w", encoding="utf-8") as g:
        for line in list(f)[:int(rows)]:
            row = json.loads(line)
            q = row.get("question", row.get("prompt"))
            a = row.get("answer", row.get("completion"))
            if case == "prompt":
                row = {"prompt": "Question: " + q + "\nAnswer:", "completion": " " + a}
            else:
                row = {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a.strip()}]}
            g.write(json.dumps(row, ensure_ascii=False) + "\n")


def trl(model, path, case, threads, steps, batch, accumulation, lr, loss, out):
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import time
    import torch
    from datasets import load_dataset
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer
    torch.set_num_threads(int(threads))
    seen = {"loss": [], "seconds": [], "trained": []}
    start = [0.0]

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, **k):
            start[0] = time.perf_counter()

        def on_step_end(self, args, state, control, **k):
            seen["seconds"].append(time.perf_counter() - start[0])

        def on_log(self, args, state, control, logs=None, **k):
            if logs and "loss" in logs:
                seen["loss"].append(float(logs["loss"]))

    config = SFTConfig(output_dir=out + ".dir", max_steps=int(steps), per_device_train_batch_size=int(batch),
                       gradient_accumulation_steps=int(accumulation), learning_rate=float(lr), warmup_steps=WARMUP, loss_type=loss,
                       model_init_kwargs={"dtype": "float32"}, assistant_only_loss=case == "messages", **SETTINGS)
    # not AutoTokenizer: for tokenizer_class GPT2Tokenizer (SmolLM2) transformers 5 replaces the pre-tokenizer of tokenizer.json by
    # GPT-2's own, without the split of digits, and "   25" has other tokens than the model was made with
    trainer = SFTTrainer(model=model, args=config, processing_class=PreTrainedTokenizerFast.from_pretrained(model),
                         train_dataset=load_dataset("json", data_files=path, split="train", cache_dir=out + ".cache"),
                         callbacks=[Watch()])
    rows, size = trainer.train_dataset, int(batch) * int(accumulation)
    ids = rows["input_ids"]
    trained = [sum(x != -100 for x in l[1:]) for l in rows["labels"]]
    seen["tokens"] = [sum(len(x) for x in ids[i * size:(i + 1) * size]) for i in range(int(steps))]
    seen["trained"] = [sum(trained[i * size:(i + 1) * size]) for i in range(int(steps))]
    seen["first"] = ids[0]
    trainer.train()
    seen["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    json.dump(seen, open(out, "w"))


def hone(program, out, *arguments):
    import sqlite3
    subprocess.run([program, "sft", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    folder = arguments[-1]
    state = max((f for f in os.listdir(folder) if f.startswith("checkpoint-")), key=lambda f: int(f[11:]))
    log = json.load(open(os.path.join(folder, state, "trainer_state.json")))["log_history"]
    base = sqlite3.connect(os.path.join(folder, "..", os.path.basename(folder) + ".db"))
    seconds = [v for (v,) in base.execute("select value from metrics where key = 'train_seconds' order by step")]
    json.dump({"loss": [r["loss"] for r in log], "seconds": seconds, "tokens": None,
               "trained": [int(r["num_tokens"]) for r in log], "peak": peak}, open(out, "w"))


def rows(name, ours, theirs, skip):
    a, b, skip = json.load(open(ours)), json.load(open(theirs)), int(skip)
    n = min(len(a["loss"]), len(b["loss"]), 50)
    if a["trained"][:n] != b["trained"][:n]:
        i = next(i for i in range(n) if a["trained"][i] != b["trained"][i])
        print(f"{name}/tokens failed: update {i + 1} trains {a['trained'][i]} tokens, TRL's {b['trained'][i]}")
        return 1
    off = [abs(x - y) for x, y in zip(a["loss"][:n], b["loss"][:n])]
    print(f"{name}/loss {max(off):.2e} 1e-3 {1e-3 / max(max(off), 1e-12):.2f} 1.0")
    rate = [sum(b["tokens"][skip:]) / sum(x["seconds"][skip:]) for x in (a, b)]
    print(f"{name}/speed {rate[0]:.1f} {rate[1]:.1f} {rate[0] / rate[1]:.2f} 1.0")
    print(f"{name}/memory {a['peak']} {b['peak']} {b['peak'] / a['peak']:.2f} 2.0")
    print(f"# {name}: {n} updates, loss {a['loss'][0]:.4f} -> {a['loss'][n - 1]:.4f}, TRL {b['loss'][0]:.4f} -> "
          f"{b['loss'][n - 1]:.4f}; largest difference at update {off.index(max(off)) + 1}", file=sys.stderr)
    return 0 if n >= 50 and max(off) <= 1e-3 else 1


if __name__ == "__main__":
    sys.exit({"data": data, "trl": trl, "hone": hone, "rows": rows}[sys.argv[1]](*sys.argv[2:]))
