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

static int run(int argc, char **argv) {
    hn_cli c;
    char pcre[64] = "?";
    int rc = hn_cli_begin(&c, &hn_command_version, argc, argv);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) {
        pcre2_config(PCRE2_CONFIG_VERSION, pcre);
        printf("hone %s\n", HN_VERSION);
        printf("kernels: %s (%s)\n", hn_cpu_tier_name(), hn_cpu_why());
        printf("libraries: jansson %s, libyaml %s, PCRE2 %s, utf8proc %s, SQLite %s, nettle %d.%d\n",
               jansson_version_str(), yaml_get_version_string(), pcre, utf8proc_version(),
               sqlite3_libversion(), nettle_version_major(), nettle_version_minor());
        printf("compiler: %s\n", __VERSION__);
    }
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_version = { "version",
                                        "the build, the processor's kernels and the libraries in use", run };
