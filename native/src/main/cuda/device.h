// The words that kernels are written in. On a GPU they are plain pointers and single instructions; in the emulation
// (emulation/emulation.h) they check every access and run a warp's lanes together.
//
// A kernel uses dynamic shared memory alone (shared_at), never returns before a barrier that others reach, and fuses a
// multiplication and an addition only by fma_float, so that both compilers give each sum the same roundings.
#pragma once

#include <cstdint>

struct bf16 {
  unsigned short bits;
};

struct alignas(16) Words4 {
  unsigned x, y, z, w;
};

#ifdef __CUDACC__

#define DEVICE __device__ __forceinline__
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define BATON_KERNEL(name)
#define UNROLL _Pragma("unroll")

namespace baton {

template <typename T>
using Global = T*;
template <typename T>
using Shared = T*;

template <typename T>
DEVICE T* shared_at(int byte) {
  extern __shared__ __align__(128) unsigned char all[];
  return reinterpret_cast<T*>(all + byte);
}

template <typename T>
DEVICE T* global_at(unsigned long long address) {
  return reinterpret_cast<T*>(address);
}

template <typename U, typename T>
DEVICE U* cast(T* pointer) {
  return reinterpret_cast<U*>(pointer);
}

// Sixteen bytes that no kernel writes while this one runs, read once: past the first-level cache.
DEVICE Words4 load_stream(const bf16* from) {
  Words4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// Sixteen bytes that no kernel writes while this one runs.
DEVICE Words4 load_cached(const bf16* from) {
  Words4 v;
  asm volatile("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
  return v;
}

DEVICE Words4 load_shared(const bf16* from) { return *reinterpret_cast<const Words4*>(from); }

// Sixteen bytes, or zeros; complete after copies_committed and copies_waited.
DEVICE void copy_async(bf16* to, const bf16* from, bool valid) {
  unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}

DEVICE void copies_committed() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// All but the last `left` groups that this thread committed are complete.
template <int left>
DEVICE void copies_waited() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

// c += a * b, sixteen terms: a [16][16], b [16][8], fragments as mma.m16n8k16 has them.
DEVICE void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 by 8 matrices, transposed: lane i gives the address of row i % 8 of matrix i / 8.
DEVICE void load_transposed(unsigned (&b)[4], const bf16* row) {
  unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
               : "r"(at)
               : "memory");
}

DEVICE unsigned round_pair(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

DEVICE bf16 round_float(float x) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}

DEVICE float fma_float(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DEVICE float inverse_root(float x) { return __fdiv_rn(1.0f, __fsqrt_rn(x)); }

// 2^x, 0 below -126.
DEVICE float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

DEVICE float larger(float a, float b) { return fmaxf(a, b); }

DEVICE float as_float(unsigned bits) { return __uint_as_float(bits); }
DEVICE unsigned as_bits(float x) { return __float_as_uint(x); }

template <typename T>
DEVICE T lane_xor(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}

template <typename T>
DEVICE T lane_of(T x, int lane) {
  return __shfl_sync(0xffffffffu, x, lane);
}

DEVICE unsigned vote(bool x) { return __ballot_sync(0xffffffffu, x); }
DEVICE void warp_barrier() { __syncwarp(); }
DEVICE void block_barrier() { __syncthreads(); }
DEVICE int count_bits(unsigned x) { return __popc(x); }
DEVICE int leading_zeros(unsigned x) { return __clz(static_cast<int>(x)); }

DEVICE void add_shared(unsigned long long* at, unsigned long long value) { atomicAdd(at, value); }
DEVICE void atomic_least(unsigned long long* at, unsigned long long value) { atomicMin(at, value); }
DEVICE void xor_global(unsigned* at, unsigned value) { atomicXor(at, value); }

// A counter in memory that other GPUs see; stores before an addition are seen by who reads its sum.
DEVICE void signal_system(unsigned* at, unsigned value) {
  asm volatile("red.release.sys.global.add.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}

DEVICE unsigned read_system(const unsigned* at) {
  unsigned value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}

DEVICE void pause_thread() { __nanosleep(100); }

DEVICE int thread() { return static_cast<int>(threadIdx.x); }
DEVICE int threads() { return static_cast<int>(blockDim.x); }
DEVICE int block_x() { return static_cast<int>(blockIdx.x); }
DEVICE int block_y() { return static_cast<int>(blockIdx.y); }
DEVICE int block_z() { return static_cast<int>(blockIdx.z); }
DEVICE int blocks_x() { return static_cast<int>(gridDim.x); }
DEVICE int blocks_y() { return static_cast<int>(gridDim.y); }
DEVICE int blocks_z() { return static_cast<int>(gridDim.z); }

}  // namespace baton

#else
#include "emulation/emulation.h"
#endif

namespace baton {

DEVICE int lane() { return thread() & 31; }
DEVICE int warp() { return thread() >> 5; }

template <typename T>
DEVICE T at_least(T a, T b) {
  return a < b ? b : a;
}

template <typename T>
DEVICE T at_most(T a, T b) {
  return a < b ? a : b;
}

DEVICE float widen(bf16 x) { return as_float(static_cast<unsigned>(x.bits) << 16); }

// e^x as Canonical.exp of the reference spells it: the same operations, the same bits.
DEVICE float exponential(float x) {
  const float rounder = 12582912.0f;
  float rounded = fma_float(x, 1.44269504f, rounder);
  float n = rounded - rounder;
  float r = fma_float(n, -0.693359375f, x);
  r = fma_float(n, 2.12194440e-4f, r);
  float p = 1.0f / 5040;
  p = fma_float(p, r, 1.0f / 720);
  p = fma_float(p, r, 1.0f / 120);
  p = fma_float(p, r, 1.0f / 24);
  p = fma_float(p, r, 1.0f / 6);
  p = fma_float(p, r, 0.5f);
  p = fma_float(p, r, 1.0f);
  p = fma_float(p, r, 1.0f);
  float result = p * as_float((as_bits(rounded) << 23) + (127u << 23));
  if (x < -87.0f) {
    return 0.0f;
  }
  return x > 88.0f ? as_float(0x7f800000u) : result;
}

// gate / (1 + exp(-gate)) * up
DEVICE float gated(float gate, float up) { return gate / (1.0f + exponential(-gate)) * up; }

// The sum over a block of 32 or 256 threads, the same in each; `scratch` is one float for each warp. The tree is fixed
// by the number of threads.
DEVICE float block_sum(float x, Shared<float> scratch) {
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    x += lane_xor(x, mask);
  }
  if (threads() == 32) {
    return x;
  }
  if (lane() == 0) {
    scratch[warp()] = x;
  }
  block_barrier();
  x = lane() < threads() / 32 ? scratch[lane()] : 0.0f;
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    x += lane_xor(x, mask);
  }
  return x;
}

}  // namespace baton
