/* progress.c - how far a command is, on standard error.
 *
 * The time left is the time used times (rest / done) of this run alone, so that a resumed run starts counting
 * where it resumed. */
#include "cli/cli.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 24 };
static const double redraw_seconds = 0.1, line_seconds = 10;

struct hn_progress {
    char *title;
    int64_t total, first, done;
    double start, shown;
    bool terminal, any; /* any: the first update came */
    char text[160];
};

hn_progress *hn_progress_open(const char *title, int64_t total) {
    hn_progress *p = hn_cli_quiet() ? NULL : hn_alloc(sizeof *p);
    if (!p) return NULL;
    if (!(p->title = hn_strdup(title))) {
        hn_free(p);
        return NULL;
    }
    p->total = total;
    p->start = hn_now();
    p->terminal = isatty(STDERR_FILENO);
    return p;
}

void hn_format_seconds(double s, char out[24]) {
    int t = s < 0 ? 0 : s > 8.6e6 ? 8600000 : (int)(s + 0.5);
    if (t < 60) snprintf(out, 24, "%ds", t);
    else if (t < 3600) snprintf(out, 24, "%dm%02ds", t / 60, t % 60);
    else snprintf(out, 24, "%dh%02dm", t / 3600, t / 60 % 60);
}

static void show(hn_progress *p) {
    char line[400], used[24], left[24], bar[BAR + 1];
    double now = hn_now(), spent = now - p->start;
    int64_t here = p->done - p->first;
    int fill = p->total > 0 ? (int)(BAR * p->done / p->total) : 0;
    p->shown = now;
    hn_format_seconds(spent, used);
    if (here > 0) hn_format_seconds(spent * (double)(p->total - p->done) / (double)here, left);
    else strcpy(left, "?");
    if (!p->terminal) {
        fprintf(stderr, "%s %lld/%lld, %s used, %s left%s%s\n", p->title, (long long)p->done,
                (long long)p->total, used, left, *p->text ? ", " : "", p->text);
        return;
    }
    for (int i = 0; i < BAR; i++) bar[i] = i < fill ? '#' : '.';
    bar[BAR] = 0;
    int n = snprintf(line, sizeof line, "%s [%s] %lld/%lld %s left %s", p->title, bar, (long long)p->done,
                     (long long)p->total, left, p->text);
    struct winsize w = { 0 };
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) || w.ws_col < 20 ? 80 : w.ws_col;
    if (n > width - 1) n = width - 1;
    if (n > (int)sizeof line - 1) n = (int)sizeof line - 1;
    fprintf(stderr, "\r%.*s\033[K", n, line);
}

void hn_progress_update(hn_progress *p, int64_t done, const char *text) {
    if (!p) return;
    if (!p->any) {
        p->any = true;
        p->first = done;
        p->start = hn_now();
    }
    p->done = done;
    snprintf(p->text, sizeof p->text, "%s", text ? text : "");
    if (hn_now() - p->shown >= (p->terminal ? redraw_seconds : line_seconds)) show(p);
}

void hn_progress_close(hn_progress *p) {
    if (!p) return;
    if (p->any) {
        show(p);
        if (p->terminal) fputc('\n', stderr);
    }
    hn_free(p->title);
    hn_free(p);
}
