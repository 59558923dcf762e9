/* io.c - files: what is written is there whole or not at all, whichever operation fails. */
#include "base/io.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"

static char dir[64];
static hn_buf scratch[4];

static const char *in(const char *name) {
    static int turn;
    return hn_path_join(&scratch[turn++ % 4], dir, name);
}

static int begin(void **state) {
    (void)state;
    strcpy(dir, "/tmp/hone-io-test.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) hn_buf_free(&scratch[i]);
    return hn_dir_remove(dir, NULL);
}

static void write_text(const char *path, const char *text) {
    hn_err e = { 0 };
    if (hn_file_write(path, text, strlen(text), &e)) fail_msg("%s", e.msg);
}

static bool holds(const char *path, const char *text) {
    char *data;
    size_t n;
    if (hn_file_read(path, &data, &n, NULL)) return false;
    bool same = n == strlen(text) && !memcmp(data, text, n) && !data[n];
    hn_free(data);
    return same;
}

static int entries(const char *path) { /* files and folders under path, itself excluded */
    char line[200];
    snprintf(line, sizeof line, "find '%s' -mindepth 1 | wc -l", path);
    FILE *f = popen(line, "r");
    int n = -1;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static void reads_what_was_written(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 1, 4095, 65535, 65536, 65537, 300000 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k], got;
        char *data = hn_alloc(n + 1), *back;
        hn_map m;
        hn_err e = { 0 };
        for (size_t i = 0; i < n; i++) data[i] = (char)hn_rand(1, k, i);
        assert_int_equal(hn_file_write(in("a"), data, n, &e), HN_OK);
        assert_int_equal(hn_file_read(in("a"), &back, &got, &e), HN_OK);
        assert_int_equal(got, n);
        assert_memory_equal(back, data, n);
        assert_int_equal(back[n], 0);
        assert_int_equal(hn_map_open(&m, in("a"), &e), HN_OK);
        assert_int_equal(m.n, n);
        assert_memory_equal(m.data, data, n);
        hn_map_close(&m);
        assert_null(m.data);
        hn_free(back);
        hn_free(data);
    }
    char *proc; /* a file without a size */
    size_t n;
    assert_int_equal(hn_file_read("/proc/self/status", &proc, &n, NULL), HN_OK);
    assert_true(n > 100 && !strncmp(proc, "Name:", 5));
    hn_free(proc);
}

static void writes_in_pieces(void **state) {
    (void)state;
    hn_out *o;
    hn_err e = { 0 };
    hn_buf want = { 0 };
    assert_int_equal(hn_out_open(&o, in("p"), &e), HN_OK);
    for (int i = 0; i < 30000; i++) {
        hn_out_fmt(o, "%d,", i);
        hn_buf_fmt(&want, "%d,", i);
        if (i % 10000 == 0) {
            char *big = hn_alloc(100000);
            hn_out_write(o, big, 100000);
            hn_buf_add(&want, big, 100000);
            hn_free(big);
        }
    }
    assert_false(hn_path_exists(in("p")));
    assert_int_equal(hn_out_commit(o, &e), HN_OK);
    hn_map m;
    assert_int_equal(hn_map_open(&m, in("p"), &e), HN_OK);
    assert_int_equal(m.n, want.n);
    assert_memory_equal(m.data, want.data, want.n);
    hn_map_close(&m);
    hn_buf_free(&want);
}

static void old_file_stays_until_commit(void **state) {
    (void)state;
    hn_out *o, *second;
    hn_err e = { 0 };
    write_text(in("a"), "old");
    assert_int_equal(chmod(in("a"), 0640), 0);
    assert_int_equal(hn_out_open(&o, in("a"), &e), HN_OK);
    hn_out_fmt(o, "new");
    assert_true(holds(in("a"), "old"));
    assert_int_equal(hn_out_open(&second, in("a"), &e), HN_EIO);
    assert_non_null(strstr(e.msg, "being written by another"));
    assert_null(second);
    hn_out_abandon(o);
    assert_true(holds(in("a"), "old"));
    write_text(in("a.hone-part"), "left behind by a killed process, and longer");
    write_text(in("a"), "new");
    assert_true(holds(in("a"), "new"));
    struct stat st;
    assert_int_equal(stat(in("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    hn_out_abandon(NULL);
}

static void links_and_devices(void **state) {
    (void)state;
    struct stat st;
    write_text(in("real"), "old");
    assert_int_equal(symlink("real", in("link")), 0);
    write_text(in("link"), "new");
    assert_true(holds(in("real"), "new"));
    assert_int_equal(lstat(in("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    write_text("/dev/null", "gone");
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    hn_err e = { 0 };
    assert_int_equal(hn_file_write("/dev/full", "x", 1, &e), HN_EIO);
    assert_non_null(strstr(e.msg, "/dev/full: the disk or quota is full (1 bytes or more are needed"));
}

static void wrong(int rc, const hn_err *e, const char *words) {
    if (rc != HN_EIO || e->code != HN_EIO || !strstr(e->msg, words))
        fail_msg("code %d, \"%s\"; want %d, \"%s\"", rc, e->msg, HN_EIO, words);
}

static void messages_name_path_and_remedy(void **state) {
    (void)state;
    char *data, hex[65];
    size_t n;
    hn_out *o;
    hn_map m;
    hn_err e[8] = { 0 };
    write_text(in("file"), "x");
    wrong(hn_file_read(in("none"), &data, &n, &e[0]), &e[0],
          "none: No such file or directory; check the name");
    assert_null(data);
    wrong(hn_file_read(dir, &data, &n, &e[1]), &e[1], "is a folder; a file is needed");
    wrong(hn_map_open(&m, "/dev/zero", &e[2]), &e[2], "/dev/zero is not a regular file");
    wrong(hn_out_open(&o, dir, &e[3]), &e[3], "is a folder");
    wrong(hn_out_open(&o, in("none/x"), &e[4]), &e[4], "none/x: No such file or directory");
    wrong(hn_dir_remove(in("file"), &e[5]), &e[5], "file is not a folder");
    wrong(hn_file_sha256(in("none"), hex, &e[6]), &e[6], "none: No such file");
    wrong(hn_dir_make(in("file/x"), &e[7]), &e[7], "cannot make the folder");
}

static void hashes(void **state) {
    (void)state;
    char hex[65];
    hn_sha256("abc", 3, hex); /* FIPS 180-4, example of one block */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    write_text(in("abc"), "abc");
    memset(hex, 0, sizeof hex);
    assert_int_equal(hn_file_sha256(in("abc"), hex, NULL), HN_OK);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    write_text(in("abc"), "");
    assert_int_equal(hn_file_sha256(in("abc"), hex, NULL), HN_OK);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void log_adds_and_cuts(void **state) {
    (void)state;
    hn_log *l;
    hn_err e = { 0 };
    assert_int_equal(hn_log_open(&l, in("log"), -1, &e), HN_OK);
    assert_int_equal(hn_log_add(l, "one\n", 4, &e), HN_OK);
    assert_int_equal(hn_log_add(l, "two\n", 4, &e), HN_OK);
    assert_int_equal(hn_log_at(l), 8);
    assert_int_equal(hn_log_sync(l, &e), HN_OK);
    hn_log_close(l);
    assert_int_equal(hn_log_open(&l, in("log"), -1, &e), HN_OK);
    assert_int_equal(hn_log_at(l), 8);
    hn_log_close(l);
    assert_int_equal(hn_log_open(&l, in("log"), 4, &e), HN_OK);
    assert_int_equal(hn_log_add(l, "three\n", 6, &e), HN_OK);
    hn_log_close(l);
    assert_true(holds(in("log"), "one\nthree\n"));
    assert_int_equal(hn_log_open(&l, in("log"), 11, &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "log has 10 bytes, but the first 11 were to be kept"));
    assert_null(l);
    hn_err full = { 0 };
    assert_int_equal(hn_log_open(&l, in("log"), 0, &full), HN_OK);
    hn_log_add(l, "whole\n", 6, &full);
    hn_io_fuse = 0, hn_io_fault = ENOSPC;
    assert_int_equal(hn_log_add(l, "lost\n", 5, &full), HN_EIO);
    hn_io_fuse = -1;
    assert_non_null(strstr(full.msg, "the disk or quota is full"));
    assert_int_equal(hn_log_add(l, "next\n", 5, NULL), HN_OK);
    hn_log_close(l);
    assert_true(holds(in("log"), "whole\nnext\n"));
}

static void folders(void **state) {
    (void)state;
    hn_err e = { 0 };
    hn_buf b = { 0 };
    assert_int_equal(hn_dir_make(in("d/e/f"), &e), HN_OK);
    assert_int_equal(hn_dir_make(in("d/e/f/"), &e), HN_OK);
    assert_true(hn_path_is_dir(in("d/e/f")) && !hn_path_is_dir(in("d/x")));
    write_text(in("outside"), "stays");
    write_text(in("d/e/inside"), "goes");
    assert_int_equal(symlink("../../outside", in("d/e/f/link")), 0);
    assert_int_equal(symlink("..", in("d/e/f/up")), 0);
    assert_int_equal(hn_file_copy(in("outside"), in("d/copy"), &e), HN_OK);
    assert_true(holds(in("d/copy"), "stays"));
    assert_int_equal(hn_dir_remove(in("d"), &e), HN_OK);
    assert_false(hn_path_exists(in("d")));
    assert_true(holds(in("outside"), "stays"));
    assert_int_equal(hn_dir_remove(in("d"), &e), HN_OK);
    assert_string_equal(hn_path_join(&b, "a", "b"), "a/b");
    assert_string_equal(hn_path_join(&b, "a/", "b"), "a/b");
    assert_string_equal(hn_path_join(&b, "", "b"), "b");
    hn_buf_free(&b);
    assert_true(hn_disk_free(dir) > 0);
    assert_int_equal(hn_disk_free(in("none/none")), hn_disk_free(dir));
    assert_true(hn_disk_free("none/none") > 0);
}

/* ---- the n-th operation fails, for every n ---- */
static char page[200000];

static int write_page(hn_err *e) { return hn_file_write(in("page"), page, sizeof page, e); }

static bool page_is(char c) {
    char *data;
    size_t n;
    if (hn_file_read(in("page"), &data, &n, NULL)) return false;
    bool same = n == sizeof page;
    for (size_t i = 0; same && i < n; i++) same = data[i] == c;
    hn_free(data);
    return same;
}

static void writer_survives_any_fault(void **state) {
    (void)state;
    static const int faults[] = { EIO, ENOSPC };
    for (int k = 0; k < 2; k++)
        for (long n = 0, rc = -1; rc; n++) {
            hn_err e = { 0 };
            memset(page, 'o', sizeof page);
            assert_int_equal(write_page(NULL), HN_OK);
            int before = entries(dir);
            memset(page, 'n', sizeof page);
            hn_io_fuse = n, hn_io_fault = faults[k];
            rc = write_page(&e);
            hn_io_fuse = -1;
            assert_int_equal(entries(dir), before);
            assert_true(n < 50);
            if (rc == 0) assert_int_equal(n, 6); /* open, write, sync, rename, open and sync the folder */
            if (rc == 0) assert_true(page_is('n'));
            else wrong((int)rc, &e, dir);
            if (rc && !page_is('o') && !page_is('n')) fail_msg("fault %ld leaves a broken file", n);
        }
}

/* One refused write spoils the file, even when later ones succeed. */
static void write_errors_stick(void **state) {
    (void)state;
    hn_out *o;
    hn_err e = { 0 };
    write_text(in("s"), "old");
    assert_int_equal(hn_out_open(&o, in("s"), &e), HN_OK);
    hn_out_write(o, page, sizeof page);
    hn_io_fuse = 0, hn_io_fault = ENOSPC;
    hn_out_write(o, page, sizeof page);
    hn_io_fuse = -1;
    hn_out_write(o, page, sizeof page);
    wrong(hn_out_commit(o, &e), &e, "(400000 bytes or more are needed");
    assert_true(holds(in("s"), "old"));
}

/* The disk takes half a record: the half is cut off again. */
static void log_takes_back_half_a_record(void **state) {
    (void)state;
    hn_log *l;
    hn_err e = { 0 };
    struct rlimit old, low;
    assert_int_equal(hn_log_open(&l, in("half"), 0, &e), HN_OK);
    assert_int_equal(hn_log_add(l, "first\n", 6, &e), HN_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    low = (struct rlimit){ 10, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int rc = hn_log_add(l, "second\n", 7, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    wrong(rc, &e, "half: File too large");
    assert_true(holds(in("half"), "first\n"));
    assert_int_equal(hn_log_add(l, "third\n", 6, NULL), HN_OK);
    hn_log_close(l);
    assert_true(holds(in("half"), "first\nthird\n"));
}

static void short_counts_are_gone_on_with(void **state) {
    (void)state;
    for (long n = 0; n < 12; n++) {
        char *data, a[65], b[65];
        size_t got;
        for (size_t i = 0; i < sizeof page; i++) page[i] = (char)hn_rand(2, 3, i);
        hn_io_fuse = n, hn_io_fault = 0;
        assert_int_equal(write_page(NULL), HN_OK);
        assert_int_equal(hn_file_read(in("page"), &data, &got, NULL), HN_OK);
        assert_int_equal(hn_file_sha256(in("page"), a, NULL), HN_OK);
        hn_io_fuse = -1;
        assert_int_equal(got, sizeof page);
        assert_memory_equal(data, page, got);
        hn_sha256(page, sizeof page, b);
        assert_string_equal(a, b);
        hn_free(data);
    }
}

static void reader_survives_any_fault(void **state) {
    (void)state;
    assert_int_equal(write_page(NULL), HN_OK);
    for (long n = 0, rc = -1; rc; n++) {
        char *data, hex[65];
        size_t got;
        hn_err e = { 0 }, h = { 0 };
        hn_io_fuse = n, hn_io_fault = EIO;
        rc = hn_file_read(in("page"), &data, &got, &e);
        hn_io_fuse = n;
        int hrc = hn_file_sha256(in("page"), hex, &h);
        hn_io_fuse = -1;
        assert_true(n < 50);
        if (hrc) wrong(hrc, &h, "page");
        if (rc) wrong((int)rc, &e, "page");
        else assert_true(n >= 2);
        hn_free(data);
    }
}

/* A model folder of two files that belong together, once as 'o' and once as 'n'. */
static void make_folder(const char *path, const char *text) {
    hn_buf b = { 0 };
    assert_int_equal(hn_dir_make(path, NULL), HN_OK);
    write_text(hn_path_join(&b, path, "config"), text);
    write_text(hn_path_join(&b, path, "weights"), text);
    hn_buf_free(&b);
}

static bool folder_is(const char *path, const char *text) {
    hn_buf b = { 0 };
    bool same = holds(hn_path_join(&b, path, "config"), text) &&
                holds(hn_path_join(&b, path, "weights"), text) && entries(path) == 2;
    hn_buf_free(&b);
    return same;
}

static void folder_is_replaced(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        hn_err e = { 0 };
        hn_io_no_exchange = k;
        assert_int_equal(hn_dir_remove(in("m"), &e), HN_OK);
        make_folder(in("new"), "o");
        assert_int_equal(hn_dir_replace(in("new"), in("m"), &e), HN_OK); /* nothing is there yet */
        assert_true(folder_is(in("m"), "o"));
        make_folder(in("new"), "n");
        assert_int_equal(hn_dir_replace(in("new"), in("m"), &e), HN_OK);
        assert_true(folder_is(in("m"), "n"));
        assert_false(hn_path_exists(in("new")) || hn_path_exists(in("m.hone-old")));
    }
    hn_io_no_exchange = false;
    hn_err e = { 0 };
    write_text(in("file"), "x");
    make_folder(in("new"), "n");
    wrong(hn_dir_replace(in("new"), in("file"), &e), &e, "file is in the way");
    assert_true(holds(in("file"), "x") && folder_is(in("new"), "n"));
    hn_err none = { 0 };
    wrong(hn_dir_replace(in("none"), in("m"), &none), &none, "none");
}

static void folder_survives_any_fault(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++)
        for (long n = 0, rc = -1; rc; n++) {
            hn_err e = { 0 };
            hn_io_no_exchange = k;
            assert_int_equal(hn_dir_remove(in("m"), NULL) | hn_dir_remove(in("new"), NULL), 0);
            make_folder(in("m"), "o");
            make_folder(in("new"), "n");
            hn_io_fuse = n, hn_io_fault = EIO;
            rc = hn_dir_replace(in("new"), in("m"), &e);
            hn_io_fuse = -1;
            if (rc) wrong((int)rc, &e, "m");
            if (!folder_is(in("m"), rc ? "o" : "n") && !(rc && folder_is(in("m"), "n")))
                fail_msg("fault %ld leaves a broken folder", n);
            assert_true(n < 50);
        }
    hn_io_no_exchange = false;
}

/* The process dies at the n-th operation, as by kill -9; what it leaves is then opened by another. */
static bool dies_at(long n, int (*work)(hn_err *e)) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        hn_io_fuse = n, hn_io_fault = -1;
        _exit(work(NULL) ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 137 || WEXITSTATUS(status) == 0));
    return WEXITSTATUS(status) == 137;
}

static int replace_m(hn_err *e) { return hn_dir_replace(in("new"), in("m"), e); }

static void folder_survives_kill(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        bool died = true;
        long n = 0;
        for (; died; n++) {
            hn_io_no_exchange = k;
            assert_int_equal(hn_dir_remove(in("m"), NULL) | hn_dir_remove(in("new"), NULL), 0);
            make_folder(in("m"), "o");
            make_folder(in("new"), "n");
            died = dies_at(n, replace_m);
            assert_int_equal(hn_dir_recover(in("m"), NULL), HN_OK);
            if (!folder_is(in("m"), "o") && !folder_is(in("m"), "n"))
                fail_msg("kill %ld breaks the folder", n);
            /* and the next save works whatever was left behind */
            assert_int_equal(hn_dir_remove(in("new"), NULL), HN_OK);
            make_folder(in("new"), "x");
            assert_int_equal(hn_dir_replace(in("new"), in("m"), NULL), HN_OK);
            assert_true(folder_is(in("m"), "x"));
        }
        assert_true(n >= 4);
    }
    hn_io_no_exchange = false;
}

static void writer_survives_kill(void **state) {
    (void)state;
    bool died = true;
    for (long n = 0; died; n++) {
        memset(page, 'o', sizeof page);
        assert_int_equal(write_page(NULL), HN_OK);
        memset(page, 'n', sizeof page);
        died = dies_at(n, write_page);
        if (!page_is('o') && !page_is('n')) fail_msg("kill %ld breaks the file", n);
        assert_true(died || page_is('n'));
    }
}

static int everything(void *unused, hn_err *e) {
    char *data = NULL, hex[65];
    size_t n;
    hn_log *l = NULL;
    (void)unused;
    int rc = hn_dir_make(in("t/u"), e);
    if (!rc) rc = hn_file_write(in("t/u/a"), "abc", 3, e);
    if (!rc) rc = hn_file_copy(in("t/u/a"), in("t/u/b"), e);
    if (!rc) rc = hn_file_read(in("t/u/b"), &data, &n, e);
    hn_free(data);
    if (!rc) rc = hn_file_sha256(in("t/u/b"), hex, e);
    if (!rc) rc = hn_log_open(&l, in("t/log"), 0, e);
    if (!rc) rc = hn_log_add(l, "x\n", 2, e);
    hn_log_close(l);
    if (!rc) rc = hn_dir_replace(in("t/u"), in("t/v"), e);
    if (!rc) rc = hn_dir_recover(in("t/v"), e);
    return rc;
}

static void out_of_memory(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++)
        in("as long a name as any below"); /* the names themselves allocate nothing then */
    assert_true(torture(everything, NULL) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(writes_in_pieces),
        cmocka_unit_test(old_file_stays_until_commit),
        cmocka_unit_test(links_and_devices),
        cmocka_unit_test(messages_name_path_and_remedy),
        cmocka_unit_test(hashes),
        cmocka_unit_test(log_adds_and_cuts),
        cmocka_unit_test(folders),
        cmocka_unit_test(writer_survives_any_fault),
        cmocka_unit_test(write_errors_stick),
        cmocka_unit_test(log_takes_back_half_a_record),
        cmocka_unit_test(short_counts_are_gone_on_with),
        cmocka_unit_test(reader_survives_any_fault),
        cmocka_unit_test(folder_is_replaced),
        cmocka_unit_test(folder_survives_any_fault),
        cmocka_unit_test(folder_survives_kill),
        cmocka_unit_test(writer_survives_kill),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("io", tests, begin, end);
}
