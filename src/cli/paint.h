/* paint.h - colours on a terminal, nothing elsewhere. */
#ifndef HN_CLI_PAINT_H
#define HN_CLI_PAINT_H

#include "base/base.h"

typedef enum {
    HN_PAINT_NONE,
    HN_PAINT_GOOD,
    HN_PAINT_WARN,
    HN_PAINT_BAD,
    HN_PAINT_FAINT,
    HN_PAINT_BEGIN,
    HN_PAINT_END
} hn_paint;

/* Does standard output take colours?  A terminal that is not "dumb", and NO_COLOR (no-color.org) unset or
 * empty. */
bool hn_paints(void);
const char *hn_paint_on(hn_paint p, bool paints);  /* "" without colours */
const char *hn_paint_off(hn_paint p, bool paints); /* back to normal */
/* Columns of the terminal on standard output; `otherwise` when it is none. */
int hn_paint_width(int otherwise);
#endif
