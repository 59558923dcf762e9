/* One line per task; src/task/<name>.c holds it. */
HN_TASK(arith)     /* generated word problems of several steps */
HN_TASK(countdown) /* reach a target with given numbers and + - * / */
HN_TASK(digitseq)  /* continue a sequence of numbers, character by character */
HN_TASK(gsm8k)     /* grade school word problems from the dataset's file */
HN_TASK(jsonl)     /* questions and answers of any file */
