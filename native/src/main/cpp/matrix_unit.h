// The matrix units' instructions: the processor's own, or, with BATON_EMULATED_UNIT, their emulation.
//
// Sources on top of it are compiled twice: as tier `amx`, and as tier `amx_emulated`, which runs wherever the AVX-512 tier does and
// is there for tests, so that every build checks the matrix units' kernels, on whatever machine it runs.
#pragma once

#include <cstdint>

namespace baton {

// What the processor is told of its eight tiles, as it reads it: all of each, 16 rows of 64 bytes, unless a kernel says otherwise. A
// tile takes as long as it has rows.
struct TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64, "as ldtilecfg reads it");

// Of tiles 0 to 7 those in `which`, a bit for each, have `rows` rows.
static inline TileConfig config_of(unsigned which, int rows) {
  TileConfig config;
  for (int tile = 0; tile < 8; tile++) {
    if (which >> tile & 1) {
      config.rows[tile] = static_cast<uint8_t>(rows);
    }
  }
  return config;
}

}  // namespace baton

#if defined(BATON_EMULATED_UNIT)
#define BATON_MATRIX_TIER amx_emulated
#include "matrix_unit_emulated.h"
#else
#define BATON_MATRIX_TIER amx
#include <immintrin.h>
#endif
