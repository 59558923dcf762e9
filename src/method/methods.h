/* methods.h - one line per method; src/method/<name>.c holds it. */
HN_METHOD(grpo)      /* fresh rollouts for every update, scored by the task, learnt by grpo */
HN_METHOD(rejection) /* verified answers of the model itself, learnt by sft */
