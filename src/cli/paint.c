/* paint.c - ANSI colours (paint.h). */
#include "cli/paint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool hn_paints(void) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

const char *hn_paint_on(hn_paint p, bool paints) {
    static const char *const code[] = { "",        "\033[32m",   "\033[33m",  "\033[1;31m",
                                        "\033[2m", "\033[1;34m", "\033[1;35m" };
    return paints ? code[p] : "";
}

const char *hn_paint_off(hn_paint p, bool paints) { return paints && p ? "\033[0m" : ""; }

int hn_paint_width(int otherwise) {
    struct winsize w = { 0 };
    if (!isatty(STDOUT_FILENO)) return otherwise;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col ? 80 : w.ws_col;
}
