/* progress.c - the bar on a terminal, plain lines in a pipe, silence where it is asked for; times as words.
 *
 * The linker gives the bar this file's clock (--wrap=hn_now), so that a busy machine changes no line. */
#include "cli/cli.h"

#include <poll.h>
#include <pty.h>
#include <string.h>
#include <unistd.h>

#include "torture.h"

double __wrap_hn_now(void);
static double now;
double __wrap_hn_now(void) { return now; }

/* A run of 200 that was resumed at 50, at 100 `pace` seconds later, at 150 after twice as long and then over,
 * with standard error going to fd; what arrives at the other end, up to its last line. */
static const char *shown(int to, int from, double pace, int lines, const char *text) {
    static char got[4000];
    size_t n = 0;
    fflush(stderr);
    int old = dup(STDERR_FILENO);
    dup2(to, STDERR_FILENO);
    now = 1000;
    hn_progress *p = hn_progress_open("train", 200);
    hn_progress_update(p, 50, text); /* the first update is where a resumed run begins */
    now += pace;
    hn_progress_update(p, 100, text);
    now += pace;
    hn_progress_update(p, 150, text);
    hn_progress_close(p);
    dup2(old, STDERR_FILENO);
    close(old);
    struct pollfd ready = { from, POLLIN, 0 };
    while (lines && n < sizeof got - 1 && poll(&ready, 1, 10000) > 0) { /* a terminal may give it piecemeal */
        ssize_t k = read(from, got + n, sizeof got - 1 - n);
        if (k <= 0) break;
        for (ssize_t i = 0; i < k; i++) lines -= got[n + (size_t)i] == '\n';
        n += (size_t)k;
    }
    assert_int_equal(lines, 0);
    got[n] = 0;
    return got;
}

static void a_pipe_gets_lines(void **state) {
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    assert_string_equal(shown(fd[1], fd[0], 10, 4, "loss 1.5"),
                        "train 50/200, 0s used, ? left, loss 1.5\n"
                        "train 100/200, 10s used, 20s left, loss 1.5\n"
                        "train 150/200, 20s used, 10s left, loss 1.5\n"
                        "train 150/200, 20s used, 10s left, loss 1.5\n");
    /* not more often than every ten seconds, except for the last */
    assert_string_equal(shown(fd[1], fd[0], 9, 3, ""), "train 50/200, 0s used, ? left\n"
                                                       "train 150/200, 18s used, 9s left\n"
                                                       "train 150/200, 18s used, 9s left\n");
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
    assert_string_equal(shown(slave, master, 0.06, 1, "ok"),
                        "\rtrain [######..................] 50/200 ? left ok\033[K"
                        "\rtrain [##################......] 150/200 0s left ok\033[K"
                        "\rtrain [##################......] 150/200 0s left ok\033[K\r\n");
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    const char *got = shown(slave, master, 90, 1, longer);
    assert_non_null(strstr(got, "100/200 3m00s left xxx"));
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
