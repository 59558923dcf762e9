/* version.c - `hone version`: the build, the processor as the kernels see it, the libraries in use. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "cli/cli.h"

#include "cpu/cpu.h"

#include <jansson.h>
#include <nettle/version.h>
#include <pcre2.h>
#include <sqlite3.h>
#include <utf8proc.h>
#include <yaml.h>

void hn_cli_libraries(hn_buf *b) {
    char pcre[64] = "?";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    hn_buf_fmt(b, "jansson %s, libyaml %s, PCRE2 %s, utf8proc %s, SQLite %s, nettle %d.%d",
               jansson_version_str(), yaml_get_version_string(), pcre, utf8proc_version(),
               sqlite3_libversion(), nettle_version_major(), nettle_version_minor());
}

static int run(int argc, char **argv) {
    hn_cli c;
    hn_buf libraries = { 0 };
    int rc = hn_cli_begin(&c, &hn_command_version, argc, argv);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) {
        hn_cli_libraries(&libraries);
        printf("hone %s\n", HN_VERSION);
        printf("kernels: %s (%s)\n", hn_cpu_tier_name(), hn_cpu_why());
        printf("libraries: %s\n", libraries.data ? libraries.data : "");
        printf("compiler: %s\n", __VERSION__);
    }
    hn_buf_free(&libraries);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_version = { "version",
                                        "the build, the processor's kernels and the libraries in use", run };
