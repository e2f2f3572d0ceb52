// The peak of the matrix units: two tiles of inputs by two of weights, each loaded once, and four tiles of sums, so that
// no product waits for the one before it. One tdpbf16ps does 16 x 16 x 32 products, one tdpbssd 16 x 16 x 64.
#include "lanes.h"
#include "matrix_unit.h"

namespace baton {
namespace amx {

namespace {

constexpr int TURNS = 16;  // of four products, within a round

}  // namespace

void multiply_peak(Share share, int32_t arithmetic, int64_t rounds, void* done) noexcept {
  if (arithmetic == 0) {
    avx512::multiply_peak(share, arithmetic, rounds, done);
    return;
  }
  alignas(64) uint8_t tile[1024];
  __builtin_memset(tile, 1, sizeof(tile));  // 1 as a byte, 2e-38 as bfloat16: neither overflows nor is denormal
  const TileConfig config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, tile, 64);
  _tile_loadd(5, tile, 64);
  _tile_loadd(6, tile, 64);
  _tile_loadd(7, tile, 64);
  if (arithmetic == 1) {
    for (int64_t turn = 0; turn < rounds * TURNS; turn++) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  } else {
    for (int64_t turn = 0; turn < rounds * TURNS; turn++) {
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 4, 7);
      _tile_dpbssd(2, 5, 6);
      _tile_dpbssd(3, 5, 7);
    }
  }
  _tile_stored(0, tile, 64);
  _tile_release();
  int64_t* results = static_cast<int64_t*>(done);
  results[0] = rounds * TURNS * 4 * 16 * 16 * (arithmetic == 1 ? 32 : 64) * 2;
  __builtin_memcpy(results + 1, tile, 8);
}

}  // namespace amx
}  // namespace baton
