#include "data/load.h"
const hn_opt hn_load_opts[] = {
    { .name = "max_length",
      .help = "most tokens of a row",
      .type = HN_OPT_INT,
      .at = offsetof(hn_load_config, max_length),
      .def = 1024,
      .min = 2,
      .max = 1e7 },
    { 0 },
};
int hn_load_rows(const hn_model *m, const char *path, const hn_load_config *c, bool pairs, hn_dataset *d,
                 hn_buf *said, hn_err *e) {
    (void)m;
    (void)c;
    (void)pairs;
    (void)d;
    (void)said;
    return hn_fail(e, HN_EUNSUP, "%s", path);
}
