// CRC32C of memory, as java.util.zip.CRC32C computes it: what a slab of KV is checked by.
//
// A checksum of this kind is linear: that of a message is the exclusive or of what each of its words contributes alone,
// multiplied by x^8 for every byte behind it, modulo the polynomial. So every thread takes words of sixteen bytes in
// strides and multiplies once at its end; the order in which contributions meet makes no difference. Polynomials are
// reflected: bit 31 is x^0.

#include "layouts.h"

namespace baton {
namespace {

constexpr unsigned kPolynomial = 0x82f63b78u;
constexpr unsigned kOne = 0x80000000u;
constexpr unsigned kX8 = 0x00800000u;

DEVICE unsigned times(unsigned a, unsigned b) {
  unsigned product = 0;
  for (int i = 0; i < 32; i++) {
    product ^= (a >> (31 - i) & 1u) != 0 ? b : 0;
    b = b >> 1 ^ ((b & 1u) != 0 ? kPolynomial : 0);
  }
  return product;
}

// x^(8 * bytes).
DEVICE unsigned shift_by(long long bytes) {
  unsigned result = kOne;
  unsigned square = kX8;
  for (; bytes > 0; bytes >>= 1) {
    result = (bytes & 1) != 0 ? times(result, square) : result;
    square = times(square, square);
  }
  return result;
}

// The remainder after four more bytes.
DEVICE unsigned after_word(unsigned remainder, unsigned word) {
  remainder ^= word;
  for (int i = 0; i < 32; i++) {
    remainder = remainder >> 1 ^ ((remainder & 1u) != 0 ? kPolynomial : 0);
  }
  return remainder;
}

}  // namespace
}  // namespace baton

using namespace baton;

// Takes the exclusive or of all contributions into *sum, which is 0 before; the checksum is then what is there, inverted.
// `from` has 16-byte alignment. Reads each byte once; some 1,500 operations for each sixteen.
KERNEL(256) crc32c(Global<unsigned> sum, Global<const unsigned char> from, long long bytes) {
  long long words = bytes / 16;
  long long step = static_cast<long long>(blocks_x()) * threads();
  long long first = static_cast<long long>(block_x()) * threads() + thread();
  Global<const Words4> whole = cast<const Words4>(from);
  unsigned remainder = 0;
  if (first < words) {
    unsigned over = first + step < words ? shift_by((step - 1) * 16) : kOne;
    long long last = first;
    for (long long i = first; i < words; i += step) {
      Words4 word = whole[i];
      remainder = times(remainder, over);
      remainder = after_word(after_word(after_word(after_word(remainder, word.x), word.y), word.z), word.w);
      last = i;
    }
    remainder = times(remainder, shift_by(bytes - (last + 1) * 16));
  }
  if (first == 0) {
    // What is left of a word, and the ones that a checksum begins with.
    unsigned rest = 0;
    for (long long i = words * 16; i < bytes; i++) {
      rest ^= from[i];
      for (int bit = 0; bit < 8; bit++) {
        rest = rest >> 1 ^ ((rest & 1u) != 0 ? kPolynomial : 0);
      }
    }
    remainder ^= rest ^ times(0xffffffffu, shift_by(bytes));
  }
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    remainder ^= lane_xor(remainder, mask);
  }
  if (lane() == 0) {
    xor_global(sum, remainder);
  }
}
BATON_KERNEL(crc32c)
