/* One line per task; src/task/<name>.c holds it. */
HN_TASK(arith)     /* generated word problems of several steps */
HN_TASK(countdown) /* reach a target with given numbers and + - * / */
