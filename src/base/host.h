/* host.h - what this process may use of the machine: cores, memory, and how much it has taken. */
#ifndef HN_HOST_H
#define HN_HOST_H

#include "base/base.h"

typedef struct hn_host {
    int cores;         /* that the process may run on (its affinity) */
    int online;        /* in the machine */
    double quota;      /* cores' worth of time that a control group allows; 0: no limit */
    int64_t memory;    /* bytes in the machine; -1: unknown, as the next two */
    int64_t available; /* that can still be taken without swapping: the machine's, or what limits leave */
    int64_t limit;     /* smallest limit of a control group or of the process; -1: none */
} hn_host;

/* `root` stands before /proc and /sys ("" but for tests). */
void hn_host_look(hn_host *h, const char *root);
int64_t hn_host_resident(void); /* bytes of this process in memory now; -1: unknown */
int64_t hn_host_peak(void);     /* the most there ever was */
#endif
