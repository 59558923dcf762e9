/* store_read.c - the reading half of the run store: rows through callbacks, and two runs side by side. */
#include "store/store_sql.h"

#include <string.h>

#define RUN_COLUMNS                                                                                          \
    "SELECT id, coalesce(parent,0), command, config, status, out, version, tier, model_hash, data_hash, "    \
    "seed, started,"                                                                                         \
    " coalesce(finished,0) FROM runs"

/* Steps through a prepared statement; `one` reads a row and calls the user's callback. */
static int each(hn_store *s, sqlite3_stmt *st, int (*one)(sqlite3_stmt *st, void *user), void *user,
                hn_err *e) {
    int rc = HN_OK, stop = 0;
    while (!stop && hn_sql_row(s, st, &rc, e)) stop = one(st, user);
    sqlite3_finalize(st);
    return rc ? rc : stop;
}

/* ---- runs ---- */
typedef struct to_run {
    int (*row)(void *ctx, const hn_runrow *r);
    void *ctx;
    int64_t seen;
} to_run;

static int one_run(sqlite3_stmt *st, void *user) {
    to_run *t = user;
    hn_runrow r = { .id = sqlite3_column_int64(st, 0),
                    .parent = sqlite3_column_int64(st, 1),
                    .command = hn_sql_text(st, 2),
                    .config = hn_sql_text(st, 3),
                    .status = hn_sql_text(st, 4),
                    .out = hn_sql_text(st, 5),
                    .version = hn_sql_text(st, 6),
                    .tier = hn_sql_text(st, 7),
                    .model_hash = hn_sql_text(st, 8),
                    .data_hash = hn_sql_text(st, 9),
                    .seed = sqlite3_column_int64(st, 10),
                    .started = sqlite3_column_double(st, 11),
                    .finished = sqlite3_column_double(st, 12) };
    t->seen++;
    return t->row(t->ctx, &r);
}

int hn_store_runs(hn_store *s, int (*row)(void *ctx, const hn_runrow *r), void *ctx, hn_err *e) {
    to_run t = { row, ctx, 0 };
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(s, &st, RUN_COLUMNS " ORDER BY id", e, "");
    return rc ? rc : each(s, st, one_run, &t, e);
}

int hn_store_run(hn_store *s, int64_t run, int (*row)(void *ctx, const hn_runrow *r), void *ctx, hn_err *e) {
    to_run t = { row, ctx, 0 };
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(s, &st, RUN_COLUMNS " WHERE id=?", e, "i", run);
    if (!rc) rc = each(s, st, one_run, &t, e);
    if (rc || t.seen) return rc;
    return hn_fail(e, HN_EPARSE, "run store %s: there is no run %lld; `hone runs list` shows them", s->path,
                   (long long)run);
}

/* ---- metrics ---- */
typedef struct to_metric {
    hn_metric_row *row;
    void *ctx;
} to_metric;

static int one_metric(sqlite3_stmt *st, void *user) {
    const to_metric *t = user;
    return t->row(t->ctx, sqlite3_column_int64(st, 0), hn_sql_text(st, 1), hn_sql_real(st, 2));
}

int hn_store_last(hn_store *s, int64_t run, hn_metric_row *row, void *ctx, hn_err *e) {
    to_metric t = { row, ctx };
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(s, &st,
                            "SELECT max(step), key, value FROM metrics WHERE run=? GROUP BY key ORDER BY key",
                            e, "i", run); /* SQLite takes the other columns from the row of the maximum */
    return rc ? rc : each(s, st, one_metric, &t, e);
}

int hn_store_series(hn_store *s, int64_t run, const char *key, hn_metric_row *row, void *ctx, hn_err *e) {
    to_metric t = { row, ctx };
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(s, &st,
                            "SELECT step, key, value FROM metrics WHERE run=?1 AND (?2 IS NULL OR key=?2)"
                            " ORDER BY key, step",
                            e, "is", run, key);
    return rc ? rc : each(s, st, one_metric, &t, e);
}

/* ---- samples, checkpoints, rounds ---- */
typedef struct to_sample {
    int (*row)(void *ctx, const hn_samplerow *x);
    void *ctx;
} to_sample;

static int one_sample(sqlite3_stmt *st, void *user) {
    const to_sample *t = user;
    hn_samplerow x = { sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), hn_sql_text(st, 2),
                       hn_sql_text(st, 3),          hn_sql_real(st, 4),          hn_sql_text(st, 5),
                       hn_sql_text(st, 6) };
    return t->row(t->ctx, &x);
}

int hn_store_samples(hn_store *s, int64_t run, int64_t from_step, int64_t to_step,
                     int (*row)(void *ctx, const hn_samplerow *x), void *ctx, hn_err *e) {
    to_sample t = { row, ctx };
    sqlite3_stmt *st;
    int rc =
        hn_sql_prepare(s, &st,
                       "SELECT step, idx, prompt, completion, reward, verdict, json FROM samples WHERE run=?"
                       " AND step BETWEEN ? AND ? ORDER BY step, idx",
                       e, "iii", run, from_step, to_step);
    return rc ? rc : each(s, st, one_sample, &t, e);
}

typedef struct to_checkpoint {
    int (*row)(void *ctx, int64_t step, const char *path, const char *sha256);
    void *ctx;
} to_checkpoint;

static int one_checkpoint(sqlite3_stmt *st, void *user) {
    const to_checkpoint *t = user;
    return t->row(t->ctx, sqlite3_column_int64(st, 0), hn_sql_text(st, 1), hn_sql_text(st, 2));
}

int hn_store_checkpoints(hn_store *s, int64_t run,
                         int (*row)(void *ctx, int64_t step, const char *path, const char *sha256), void *ctx,
                         hn_err *e) {
    to_checkpoint t = { row, ctx };
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(
        s, &st, "SELECT step, path, sha256 FROM checkpoints WHERE run=? ORDER BY step, path", e, "i", run);
    return rc ? rc : each(s, st, one_checkpoint, &t, e);
}

typedef struct to_round {
    int (*row)(void *ctx, const hn_roundrow *x);
    void *ctx;
} to_round;

static int one_round(sqlite3_stmt *st, void *user) {
    const to_round *t = user;
    hn_roundrow x = { sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1) != 0,
                      hn_sql_real(st, 2),          hn_sql_real(st, 3),
                      hn_sql_real(st, 4),          hn_sql_text(st, 5),
                      hn_sql_text(st, 6) };
    return t->row(t->ctx, &x);
}

int hn_store_rounds(hn_store *s, int64_t run, int (*row)(void *ctx, const hn_roundrow *x), void *ctx,
                    hn_err *e) {
    to_round t = { row, ctx };
    sqlite3_stmt *st;
    int rc =
        hn_sql_prepare(s, &st,
                       "SELECT round, accepted, before, after, p, receipt, sha256 FROM rounds WHERE run=?"
                       " ORDER BY round",
                       e, "i", run);
    return rc ? rc : each(s, st, one_round, &t, e);
}

/* ---- two runs side by side ---- */
typedef struct to_pair {
    int (*row)(void *ctx, const char *kind, const char *key, const char *a, const char *b);
    void *ctx;
} to_pair;

static int one_pair(sqlite3_stmt *st, void *user) {
    const to_pair *t = user;
    return t->row(t->ctx, hn_sql_text(st, 0), hn_sql_text(st, 1), hn_sql_text(st, 2), hn_sql_text(st, 3));
}

static int ignore(void *ctx, const hn_runrow *r) {
    (void)ctx, (void)r;
    return 0;
}

/* A key that is there with the value null has the text "null"; one that is not there has none. */
static const char settings[] =
    "WITH v AS (SELECT runs.id AS run, j.key AS key, CASE j.type WHEN 'null' THEN 'null' WHEN 'true' THEN "
    "'true'"
    " WHEN 'false' THEN 'false' ELSE j.value END AS v FROM runs, json_each(runs.config) j WHERE runs.id IN "
    "(?1,?2)),"
    " k AS (SELECT DISTINCT key FROM v)"
    " SELECT 'config', k.key, a.v, b.v FROM k LEFT JOIN v a ON a.key=k.key AND a.run=?1"
    " LEFT JOIN v b ON b.key=k.key AND b.run=?2 WHERE a.v IS NOT b.v ORDER BY k.key";
static const char last_metrics[] =
    "WITH v AS (SELECT run, key, max(step), iif(value IS NULL,'nan',printf('%.6g',value)) AS v FROM metrics"
    " WHERE run IN (?1,?2) GROUP BY run, key), k AS (SELECT DISTINCT key FROM v)"
    " SELECT 'metric', k.key, a.v, b.v FROM k LEFT JOIN v a ON a.key=k.key AND a.run=?1"
    " LEFT JOIN v b ON b.key=k.key AND b.run=?2 ORDER BY k.key";

int hn_store_compare(hn_store *s, int64_t a, int64_t b,
                     int (*row)(void *ctx, const char *kind, const char *key, const char *a, const char *b),
                     void *ctx, hn_err *e) {
    const char *const sql[] = { settings, last_metrics };
    to_pair t = { row, ctx };
    int rc = hn_store_run(s, a, ignore, NULL, e);
    if (!rc) rc = hn_store_run(s, b, ignore, NULL, e);
    for (int i = 0; !rc && i < 2; i++) {
        sqlite3_stmt *st;
        rc = hn_sql_prepare(s, &st, sql[i], e, "ii", a, b);
        if (!rc) rc = each(s, st, one_pair, &t, e);
    }
    return rc;
}
