/* store_sql.h - statements of the run store, shared by its writing and its reading half only. */
#ifndef HN_STORE_SQL_H
#define HN_STORE_SQL_H

#include "store/store.h"
#include <sqlite3.h>

struct hn_store {
    sqlite3 *db;
    char *path;
    bool begun; /* inside hn_store_begin .. commit */
};

/* Records what SQLite has to say, with the path and what to do. */
int hn_sql_fail(hn_store *s, const char *doing, hn_err *e);

/* A statement with its arguments bound by `types`: i int64_t, d double (NaN: null), s const char * (NULL:
 * null; must live until the statement is finished). */
int hn_sql_prepare(hn_store *s, sqlite3_stmt **st, const char *sql, hn_err *e, const char *types, ...);
/* true: a row is there.  false: the end, or an error, which is then in *rc. */
bool hn_sql_row(hn_store *s, sqlite3_stmt *st, int *rc, hn_err *e);
const char *hn_sql_text(sqlite3_stmt *st, int column);
double hn_sql_real(sqlite3_stmt *st, int column); /* null: NaN */
#endif
