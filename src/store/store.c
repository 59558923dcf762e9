/* store.c - the writing half of the run store: the file, its schema, and rows. */
#include "store/store_sql.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { APPLICATION = 0x686f6e65 /* "hone" */, WAIT_MS = 20000 };

/* Entry v brings a file from version v to v + 1; a new file runs them all.  Entries are never edited, only
 * added. */
static const char *const migrations[] = {
    "CREATE TABLE runs(id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER REFERENCES runs(id), command "
    "TEXT NOT NULL,"
    " config TEXT NOT NULL CHECK(json_valid(config)), status TEXT NOT NULL, out TEXT, version TEXT, tier "
    "TEXT,"
    " model_hash TEXT, data_hash TEXT, seed INTEGER NOT NULL, started REAL NOT NULL, finished REAL);"
    "CREATE TABLE metrics(run INTEGER NOT NULL REFERENCES runs(id), key TEXT NOT NULL, step INTEGER NOT NULL,"
    " value REAL, PRIMARY KEY(run, key, step)) WITHOUT ROWID;"
    "CREATE TABLE samples(run INTEGER NOT NULL REFERENCES runs(id), step INTEGER NOT NULL, idx INTEGER NOT "
    "NULL,"
    " prompt TEXT NOT NULL, completion TEXT NOT NULL, reward REAL, verdict TEXT, json TEXT,"
    " PRIMARY KEY(run, step, idx));"
    "CREATE TABLE checkpoints(run INTEGER NOT NULL REFERENCES runs(id), step INTEGER NOT NULL, path TEXT NOT "
    "NULL,"
    " sha256 TEXT, PRIMARY KEY(run, step, path)) WITHOUT ROWID;"
    "CREATE TABLE rounds(run INTEGER NOT NULL REFERENCES runs(id), round INTEGER NOT NULL, accepted INTEGER "
    "NOT NULL,"
    " before REAL, after REAL, p REAL, receipt TEXT, sha256 TEXT, PRIMARY KEY(run, round)) WITHOUT ROWID;",
};
enum { VERSION = sizeof migrations / sizeof *migrations };

const char *hn_store_path(void) {
    const char *p = getenv("HONE_STORE");
    return p && *p ? p : "runs.db";
}

/* ---- statements ---- */
int hn_sql_fail(hn_store *s, const char *doing, hn_err *e) {
    int code = HN_EIO;
    const char *hint = "";
    switch (s->db ? sqlite3_errcode(s->db) & 0xff : SQLITE_NOMEM) {
    case SQLITE_NOMEM: code = HN_ENOMEM; break;
    case SQLITE_NOTADB:
        code = HN_EPARSE, hint = "; it is no run store: give another file with HONE_STORE";
        break;
    case SQLITE_CORRUPT:
        code = HN_EPARSE, hint = "; the file is damaged: move it away to start a new one";
        break;
    case SQLITE_CONSTRAINT: code = HN_EPARSE; break;
    case SQLITE_FULL: hint = "; the disk is full: make room"; break;
    case SQLITE_CANTOPEN:
        hint = "; check that its folder is there, or give another file with HONE_STORE";
        break;
    case SQLITE_READONLY: hint = "; check who may write it, or give another file with HONE_STORE"; break;
    case SQLITE_BUSY: hint = "; another process keeps it busy"; break;
    default: break;
    }
    return hn_fail(e, code, "run store %s: cannot %s: %s%s", s->path, doing,
                   s->db ? sqlite3_errmsg(s->db) : "out of memory", hint);
}

static int bind(sqlite3_stmt *st, const char *types, va_list ap) {
    int rc = SQLITE_OK;
    for (int i = 0; types[i] && rc == SQLITE_OK; i++) {
        const char *text;
        switch (types[i]) {
        case 'i': rc = sqlite3_bind_int64(st, i + 1, va_arg(ap, int64_t)); break;
        case 'd': rc = sqlite3_bind_double(st, i + 1, va_arg(ap, double)); break;
        default:
            hn_assert(types[i] == 's');
            text = va_arg(ap, const char *);
            rc = text ? sqlite3_bind_text(st, i + 1, text, -1, SQLITE_STATIC) : SQLITE_OK;
        }
    }
    return rc;
}

static int prepare(hn_store *s, sqlite3_stmt **st, const char *sql, hn_err *e, const char *types,
                   va_list ap) {
    if (sqlite3_prepare_v2(s->db, sql, -1, st, NULL) == SQLITE_OK && bind(*st, types, ap) == SQLITE_OK)
        return HN_OK;
    int rc = hn_sql_fail(s, "prepare a statement", e);
    sqlite3_finalize(*st);
    *st = NULL;
    return rc;
}

int hn_sql_prepare(hn_store *s, sqlite3_stmt **st, const char *sql, hn_err *e, const char *types, ...) {
    va_list ap;
    va_start(ap, types);
    int rc = prepare(s, st, sql, e, types, ap);
    va_end(ap);
    return rc;
}

bool hn_sql_row(hn_store *s, sqlite3_stmt *st, int *rc, hn_err *e) {
    int got = sqlite3_step(st);
    if (got != SQLITE_ROW && got != SQLITE_DONE) *rc = hn_sql_fail(s, "read or write", e);
    return got == SQLITE_ROW;
}

const char *hn_sql_text(sqlite3_stmt *st, int column) {
    return (const char *)sqlite3_column_text(st, column);
}

double hn_sql_real(sqlite3_stmt *st, int column) {
    return sqlite3_column_type(st, column) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, column);
}

/* One statement without an answer. */
static int run_sql(hn_store *s, hn_err *e, const char *sql, const char *types, ...) {
    sqlite3_stmt *st;
    va_list ap;
    va_start(ap, types);
    int rc = prepare(s, &st, sql, e, types, ap);
    va_end(ap);
    if (rc) return rc;
    while (hn_sql_row(s, st, &rc, e)) {}
    sqlite3_finalize(st);
    return rc;
}

static int ask(hn_store *s, const char *sql, int64_t *value, hn_err *e) {
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(s, &st, sql, e, "");
    if (rc) return rc;
    if (hn_sql_row(s, st, &rc, e)) *value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc;
}

/* ---- the file ---- */
static int migrate_from(hn_store *s, int64_t version, hn_err *e) {
    char set[64];
    for (; version < VERSION; version++)
        if (sqlite3_exec(s->db, migrations[version], NULL, NULL, NULL) != SQLITE_OK)
            return hn_sql_fail(s, "bring it to the current schema", e);
    snprintf(set, sizeof set, "PRAGMA user_version=%d", VERSION);
    int rc = run_sql(s, e, set, "");
    snprintf(set, sizeof set, "PRAGMA application_id=%d", APPLICATION);
    return rc ? rc : run_sql(s, e, set, "");
}

/* Whose file is it, and of which version?  Inside a transaction: the answers must belong together. */
static int check_owner(hn_store *s, int64_t *version, hn_err *e) {
    int64_t owner = 0, tables = 0;
    int rc;
    if ((rc = ask(s, "PRAGMA application_id", &owner, e)) ||
        (rc = ask(s, "PRAGMA user_version", version, e)) ||
        (rc = ask(s, "SELECT count(*) FROM sqlite_master", &tables, e)))
        return rc;
    if (owner != APPLICATION && (owner || tables || *version))
        return hn_fail(e, HN_EPARSE,
                       "run store %s: a database of another program; give another file with HONE_STORE",
                       s->path);
    if (*version > VERSION)
        return hn_fail(
            e, HN_EUNSUP,
            "run store %s: written by a newer hone (schema %lld, this one knows %d); use that one, or "
            "give another file with HONE_STORE",
            s->path, (long long)*version, VERSION);
    return HN_OK;
}

/* In one transaction of the kind that `begin` names: checks, and with `migrate` brings the schema up to date.
 */
static int examine(hn_store *s, const char *begin, bool migrate, int64_t *version, hn_err *e) {
    int rc = run_sql(s, e, begin, "");
    if (rc) return rc;
    rc = check_owner(s, version, e);
    if (!rc && migrate && *version < VERSION) rc = migrate_from(s, *version, e);
    if (!rc) rc = run_sql(s, e, "COMMIT", "");
    if (rc) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

/* Readers and one writer at a time do not wait for each other in this mode, and a killed process leaves
 * nothing to repair.  Changing to it needs the file alone, for which SQLite does not wait by itself. */
static int use_wal(hn_store *s, hn_err *e) {
    for (int waited = 0; waited < WAIT_MS; waited += 5) {
        int got = sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
        if (got == SQLITE_OK) return HN_OK;
        if (got != SQLITE_BUSY) break;
        sqlite3_sleep(5);
    }
    return hn_sql_fail(s, "open it", e);
}

/* A file that is not ours is left before anything is written to it.  Another process may create the store at
 * the same time, so the version is read again under the lock. */
static int prepare_file(hn_store *s, hn_err *e) {
    int64_t version = 0;
    int rc = examine(s, "BEGIN", false, &version, e);
    if (rc) return rc;
    if ((rc = use_wal(s, e)) || (rc = run_sql(s, e, "PRAGMA synchronous=NORMAL", "")) ||
        (rc = run_sql(s, e, "PRAGMA foreign_keys=ON", "")))
        return rc;
    return version == VERSION ? HN_OK : examine(s, "BEGIN IMMEDIATE", true, &version, e);
}

int hn_store_open(hn_store **out, const char *path, hn_err *e) {
    hn_store *s = hn_alloc(sizeof *s);
    *out = NULL;
    if (!s || !(s->path = hn_strdup(path))) {
        hn_free(s);
        return hn_fail(e, HN_ENOMEM, "run store %s: out of memory", path);
    }
    int rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    rc = rc == SQLITE_OK ? HN_OK : hn_sql_fail(s, "open it", e);
    if (!rc) {
        sqlite3_busy_timeout(s->db, WAIT_MS);
        rc = prepare_file(s, e);
    }
    if (rc) hn_store_close(s);
    else *out = s;
    return rc;
}

void hn_store_close(hn_store *s) {
    if (!s) return;
    sqlite3_close(s->db);
    hn_free(s->path);
    hn_free(s);
}

/* ---- transactions ---- */
int hn_store_begin(hn_store *s, hn_err *e) {
    hn_assert(!s->begun);
    int rc = run_sql(s, e, "BEGIN IMMEDIATE", "");
    s->begun = !rc;
    return rc;
}

int hn_store_commit(hn_store *s, hn_err *e) {
    hn_assert(s->begun);
    int rc = run_sql(s, e, "COMMIT", "");
    if (rc) hn_store_undo(s);
    s->begun = false;
    return rc;
}

void hn_store_undo(hn_store *s) {
    if (s->begun) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->begun = false;
}

int hn_store_sync(hn_store *s, hn_err *e) {
    hn_assert(!s->begun);
    return run_sql(s, e, "PRAGMA wal_checkpoint(FULL)", "");
}

/* ---- rows ---- */
int hn_store_run_new(hn_store *s, const hn_runrow *r, int64_t *id, hn_err *e) {
    sqlite3_stmt *st;
    int rc = hn_sql_prepare(
        s, &st,
        "INSERT INTO runs(parent, command, config, status, out, version, tier, model_hash, data_hash,"
        " seed, started) VALUES(nullif(?,0),?,?,'running',?,?,?,?,?,?,?)",
        e, "isssssssid", r->parent, r->command, r->config, r->out, r->version, r->tier, r->model_hash,
        r->data_hash, r->seed, r->started);
    if (rc) return rc;
    while (hn_sql_row(s, st, &rc, e)) {}
    if (!rc) *id = sqlite3_last_insert_rowid(s->db);
    sqlite3_finalize(st);
    return rc;
}

int hn_store_run_status(hn_store *s, int64_t run, const char *status, double now, hn_err *e) {
    int rc = run_sql(s, e, "UPDATE runs SET status=?1, finished=iif(?1='running',NULL,?2) WHERE id=?3", "sdi",
                     status, now, run);
    if (rc || sqlite3_changes(s->db)) return rc;
    return hn_fail(e, HN_EPARSE, "run store %s: there is no run %lld; `hone runs list` shows them", s->path,
                   (long long)run);
}

int hn_store_metric(hn_store *s, int64_t run, int64_t step, const char *key, double value, hn_err *e) {
    return run_sql(s, e, "REPLACE INTO metrics(run, key, step, value) VALUES(?,?,?,?)", "isid", run, key,
                   step, value);
}

int hn_store_metrics(hn_store *s, int64_t run, int64_t step, int n, const char *const *keys,
                     const double *values, hn_err *e) {
    bool own = !s->begun;
    int rc = own ? hn_store_begin(s, e) : HN_OK;
    for (int i = 0; !rc && i < n; i++) rc = hn_store_metric(s, run, step, keys[i], values[i], e);
    if (own && !rc) rc = hn_store_commit(s, e);
    if (own && rc) hn_store_undo(s);
    return rc;
}

int hn_store_sample(hn_store *s, int64_t run, const hn_samplerow *x, hn_err *e) {
    return run_sql(s, e,
                   "REPLACE INTO samples(run, step, idx, prompt, completion, reward, verdict, json)"
                   " VALUES(?,?,?,?,?,?,?,?)",
                   "iiissdss", run, x->step, x->index, x->prompt, x->completion, x->reward, x->verdict,
                   x->json);
}

int hn_store_checkpoint(hn_store *s, int64_t run, int64_t step, const char *path, const char *sha256,
                        hn_err *e) {
    return run_sql(s, e, "REPLACE INTO checkpoints(run, step, path, sha256) VALUES(?,?,?,?)", "iiss", run,
                   step, path, sha256);
}

int hn_store_round(hn_store *s, int64_t run, const hn_roundrow *x, hn_err *e) {
    return run_sql(s, e,
                   "REPLACE INTO rounds(run, round, accepted, before, after, p, receipt, sha256)"
                   " VALUES(?,?,?,?,?,?,?,?)",
                   "iiidddss", run, x->round, (int64_t)x->accepted, x->before, x->after, x->p, x->receipt,
                   x->sha256);
}

int hn_store_rewind(hn_store *s, int64_t run, int64_t step, hn_err *e) {
    static const char *const forget[] = { "DELETE FROM metrics WHERE run=? AND step>?",
                                          "DELETE FROM samples WHERE run=? AND step>?",
                                          "DELETE FROM checkpoints WHERE run=? AND step>?" };
    bool own = !s->begun;
    int rc = own ? hn_store_begin(s, e) : HN_OK;
    for (int i = 0; !rc && i < 3; i++) rc = run_sql(s, e, forget[i], "ii", run, step);
    if (!rc) rc = hn_store_run_status(s, run, "running", 0, e);
    if (own && !rc) rc = hn_store_commit(s, e);
    if (own && rc) hn_store_undo(s);
    return rc;
}
