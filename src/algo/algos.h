/* algos.h - one line per algorithm; src/algo/<name>.c holds it. */
HN_ALGO(sft)  /* maximum likelihood of given answers */
HN_ALGO(dpo)  /* direct preference optimisation */
HN_ALGO(grpo) /* group-relative policy optimisation */
