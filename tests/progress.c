/* progress.c - the bar on a terminal, plain lines in a pipe, silence where it is asked for; times as words.
 */
#include "cli/cli.h"

#include <pty.h>
#include <string.h>
#include <unistd.h>

#include "torture.h"

/* Runs three updates with standard error going to fd, and reads what arrived at the other end. */
static const char *shown(int to, int from, const char *text) {
    static char got[2000];
    fflush(stderr);
    int old = dup(STDERR_FILENO);
    dup2(to, STDERR_FILENO);
    hn_progress *p = hn_progress_open("train", 200);
    hn_progress_update(p, 50, text); /* the first update is where a resumed run begins */
    hn_progress_update(p, 100, text);
    hn_progress_update(p, 150, text);
    hn_progress_close(p);
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    close(old);
    ssize_t n = read(from, got, sizeof got - 1);
    got[n > 0 ? n : 0] = 0;
    return got;
}

static void a_pipe_gets_lines(void **state) {
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    const char *got = shown(fd[1], fd[0], "loss 1.5");
    assert_non_null(strstr(got, "train 50/200, 0s used, ? left, loss 1.5\n"));
    assert_non_null(strstr(got, "train 150/200, 0s used, 0s left, loss 1.5\n"));
    assert_null(strstr(got, "100/200")); /* not more often than every few seconds */
    assert_null(strchr(got, '\r'));
    close(fd[0]);
    close(fd[1]);
}

static void a_terminal_gets_a_bar(void **state) {
    (void)state;
    int master, slave;
    struct winsize size = { .ws_row = 24, .ws_col = 60 };
    char longer[150];
    if (openpty(&master, &slave, NULL, NULL, &size)) {
        printf("skipped: no terminal can be made here\n");
        skip();
    }
    const char *got = shown(slave, master, "ok");
    assert_non_null(strstr(got, "\rtrain [######..................] 50/200 ? left ok\033[K"));
    assert_non_null(strstr(got, "\rtrain [##################......] 150/200 0s left ok\033[K\r\n"));
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    got = shown(slave, master, longer);
    for (const char *s = got; (s = strchr(s, '\r')); s++) /* a line never wraps */
        assert_true(strcspn(s + 1, "\033\r\n") < 60);
    close(master);
    close(slave);
}

static void times_are_short(void **state) {
    (void)state;
    static const struct {
        double s;
        const char *text;
    } cases[] = { { 0, "0s" },       { 59.4, "59s" },   { 60, "1m00s" },      { 185, "3m05s" },
                  { 3600, "1h00m" }, { 7801, "2h10m" }, { 1e30, "2388h53m" }, { -1, "0s" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[24];
        hn_format_seconds(cases[i].s, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void without_memory_there_is_none(void **state) {
    (void)state;
    for (long n = 0; n < 2; n++) {
        hn_alloc_fuse = n;
        hn_progress *p = hn_progress_open("x", 1);
        hn_alloc_fuse = -1;
        assert_null(p);
        hn_progress_update(p, 1, NULL);
        hn_progress_close(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_gets_lines),
        cmocka_unit_test(a_terminal_gets_a_bar),
        cmocka_unit_test(times_are_short),
        cmocka_unit_test(without_memory_there_is_none),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
