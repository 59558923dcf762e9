/* amx.h - the shapes of the tiles, as LDTILECFG reads them (AMX builds only). */
#ifndef HN_AMX_H
#define HN_AMX_H

#include <immintrin.h>
#include <stdint.h>

typedef struct hn_amx_config {
    uint8_t palette, start, zero[14];
    uint16_t colsb[16];
    uint8_t rows[16];
} hn_amx_config;

static inline void hn_amx_load_config(const hn_amx_config *c) {
    __asm__ volatile("" : : "r"(c) : "memory"); /* gcc 12 thinks that ldtilecfg reads 8 bytes */
    _tile_loadconfig(c);
}
#endif
