#!/usr/bin/env bash
# Builds the CPU kernels with nothing but g++: every kernel source once per tier, changed ones only, in parallel.
# native/build.sh [OUTPUT_DIRECTORY]   the library goes to OUTPUT_DIRECTORY/META-INF/native/<os>-<arch>/libbaton_cpu.so
set -euo pipefail
cd "$(dirname "$0")"
output=${1:-target/classes}
sources=src/main/cpp
arch=$(uname -m)
objects=target/cpp/$arch
library=$output/META-INF/native/linux-$arch/libbaton_cpu.so

if ! command -v g++ >/dev/null 2>&1; then
  echo "baton: g++ is missing; install it with: apt-get install g++" >&2
  exit 1
fi

# Contracting a multiplication and an addition is off: only the fused operations that the sources name may be fused.
flags=(-std=c++17 -O3 -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno
  -Wall -Wextra -g1)
kernels=(linear linear_tiles linear_quantized attention attention_narrow kv elementwise moe sampling weights weights_quantized gather_packed tiles ceilings)
tiers=(scalar)
[ "$arch" = x86_64 ] && tiers+=(avx2 avx512)

# GCC 12 warns of its own AVX-512 header: the intrinsics begin from a register left undefined on purpose.
tier_flags() {
  case $1 in
    scalar) echo "-DBATON_TIER_SCALAR" ;;
    avx2) echo "-DBATON_TIER_AVX2 -mavx2 -mfma" ;;
    avx_vnni) echo "-DBATON_TIER_AVX2 -DBATON_TIER_AVX_VNNI -mavx2 -mfma -mavxvnni" ;;
    avx512) echo "-DBATON_TIER_AVX512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512 -Wno-maybe-uninitialized -Wno-uninitialized" ;;
  esac
}

mkdir -p "$objects" "$(dirname "$library")"
newest=$(ls -t "$sources"/*.h build.sh | head -1)
jobs=()
wanted=()
# add SOURCE OBJECT FLAGS...
add() {
  wanted+=("$2")
  if [ ! -f "$2" ] || [ "$1" -nt "$2" ] || [ "$newest" -nt "$2" ]; then
    jobs+=("g++ ${flags[*]} ${*:3} -c $1 -o $2.new && mv $2.new $2")
  fi
}
for tier in "${tiers[@]}"; do
  for kernel in "${kernels[@]}"; do
    add "$sources/$kernel.cpp" "$objects/${kernel}_$tier.o" "$(tier_flags "$tier")"
  done
done
if [ "$arch" = x86_64 ]; then
  # AVX-VNNI's own kernels, on top of the AVX2 tier.
  for kernel in linear_quantized ceilings; do
    add "$sources/$kernel.cpp" "$objects/${kernel}_avx_vnni.o" "$(tier_flags avx_vnni)"
  done
  # The matrix units' own kernels, on top of the AVX-512 tier: for the units, and for their emulation.
  for kernel in attention_amx linear_amx linear_quantized_amx; do
    add "$sources/$kernel.cpp" "$objects/$kernel.o" "$(tier_flags avx512) -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8"
    add "$sources/$kernel.cpp" "$objects/${kernel}_emulated.o" "$(tier_flags avx512) -mavx512bf16 -DBATON_EMULATED_UNIT"
  done
  add "$sources/ceilings_amx.cpp" "$objects/ceilings_amx.o" "$(tier_flags avx512) -mamx-tile -mamx-bf16 -mamx-int8"
fi
add "$sources/dispatch.cpp" "$objects/dispatch.o"
add "$sources/memory.cpp" "$objects/memory.o"
add "$sources/team.cpp" "$objects/team.o"
add "$sources/profile.cpp" "$objects/profile.o"

if [ ${#jobs[@]} -gt 0 ]; then
  printf '%s\0' "${jobs[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c '{}' ||
    { echo "baton: the CPU kernels do not compile; see the errors above" >&2; exit 1; }
fi
if [ ${#jobs[@]} -gt 0 ] || [ ! -f "$library" ]; then
  # Renamed into place, so that a build that is interrupted leaves no half library.
  g++ -shared -Wl,--as-needed -Wl,--no-undefined -o "$library.new" "${wanted[@]}" -lm -pthread
  mv "$library.new" "$library"
fi
