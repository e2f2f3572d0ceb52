#!/usr/bin/env bash
# Builds the CUDA kernels: with g++ the library that emulates them, with nvcc, where there is one, machine code for GPUs.
# native/build-cuda.sh [OUTPUT_DIRECTORY]   results go to OUTPUT_DIRECTORY/META-INF/native/linux-<arch>/libbaton_cuda_emulated.so
#                                           and OUTPUT_DIRECTORY/META-INF/native/cuda/
#                           --source   prints where code for GPUs would come from: a file or none
# NVCC names another nvcc than that of PATH; NVCC=none builds without. BATON_KERNELS names a native-*.jar of another build of
# these sources, a release's for one: its code is taken, and no nvcc is asked. BATON_STRICT=1: nvcc's warnings are errors, as in
# continuous integration; compilers of users may know others.
set -euo pipefail
export LC_ALL=C
kernels=${BATON_KERNELS:+$(readlink -m "$BATON_KERNELS")}
cd "$(dirname "$0")"
output=${1:-target/classes}
sources=src/main/cuda
arch=$(uname -m)
objects=target/cuda/$arch
library=$output/META-INF/native/linux-$arch/libbaton_cuda_emulated.so
code=$output/META-INF/native/cuda
nvcc=${NVCC:-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || echo none)}
if [ "${1:-}" = --source ]; then
  echo "${kernels:-$nvcc}"
  exit
fi
[ -z "$kernels" ] || nvcc=none
release=none
if [ "$nvcc" != none ]; then
  release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
  # Distributions have old ones, and who wants no GPU shall not fail by them.
  case $release in
    [0-9].* | 1[01].* | '')
      echo "baton: $nvcc is of CUDA ${release:-?} (expected: 12.0 or newer)" >&2
      nvcc=none
      ;;
  esac
fi

# Not compressed: drivers that are older than the compiler must be able to read it. Nothing is compiled for the host, so any
# version of its compiler will do. A GPU's compiler is told -fmad=false and the host's -ffp-contract=off: only fma_float fuses.
host_flags=(-std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno
  -Wall -Wextra)
grep -qw avx2 /proc/cpuinfo 2>/dev/null && grep -qw fma /proc/cpuinfo && host_flags+=(-mavx2 -mfma)
device_flags=(-std=c++17 -O3 -fmad=false -fatbin --no-compress -allow-unsupported-compiler
  -gencode "arch=compute_80,code=sm_80" -gencode "arch=compute_90,code=[sm_90,compute_90]" --threads 2)
# What the code was made from; machine code of other sources must not run beside this Java.
made_from=$({ echo "${device_flags[@]}"; cat "$sources"/*.h "$sources"/*.cu; } | sha256sum | cut -d ' ' -f 1)
[ -z "${BATON_STRICT:-}" ] || device_flags+=(-Werror all-warnings -Xptxas -warn-spills)

mkdir -p "$objects" "$code" "$(dirname "$library")"
newest=$(ls -t "$sources"/*.h "$sources"/emulation/*.h build-cuda.sh | head -1)
stale() { [ ! -f "$2" ] || [ "$1" -nt "$2" ] || [ "$newest" -nt "$2" ]; }

jobs=()
objects_wanted=()
index=""
for source in "$sources"/*.cu; do
  name=$(basename "$source" .cu)
  objects_wanted+=("$objects/$name.o")
  if stale "$source" "$objects/$name.o"; then
    jobs+=("g++ ${host_flags[*]} -x c++ -c $source -o $objects/$name.o.new && mv $objects/$name.o.new $objects/$name.o")
  fi
  index+="$name$(sed -n 's/^BATON_KERNEL(\(.*\))$/ \1/p' "$source" | tr -d '\n')"$'\n'
  if [ "$nvcc" != none ] && stale "$source" "$objects/$name-$release.fatbin"; then
    jobs+=("$nvcc ${device_flags[*]} $source -o $objects/$name-$release.new && mv $objects/$name-$release.new $objects/$name-$release.fatbin")
  fi
done
for source in "$sources"/emulation/*.cpp; do
  object=$objects/emulation_$(basename "$source" .cpp).o
  objects_wanted+=("$object")
  if stale "$source" "$object"; then
    jobs+=("g++ ${host_flags[*]} -c $source -o $object.new && mv $object.new $object")
  fi
done

if [ ${#jobs[@]} -gt 0 ]; then
  printf '%s\0' "${jobs[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c '{}' ||
    { echo "baton: the CUDA kernels do not compile; see the errors above (NVCC=none builds without code for GPUs)" >&2; exit 1; }
fi
if [ ${#jobs[@]} -gt 0 ] || [ ! -f "$library" ]; then
  # Under this name the driver's face (cuInit and so on) is found by what would load the real one.
  g++ -shared -Wl,-soname,libcuda.so.1 -Wl,--no-undefined -o "$library.new" "${objects_wanted[@]}" -lm -pthread
  mv "$library.new" "$library"
fi
if [ -n "$kernels" ]; then
  taken=$(mktemp -d)
  trap 'rm -rf "$taken"' EXIT
  jar=${JAVA_HOME:+$JAVA_HOME/bin/}jar
  [ -f "$kernels" ] && (cd "$taken" && "$jar" xf "$kernels" META-INF/native/cuda) && [ -d "$taken/META-INF/native/cuda" ] ||
    { echo "baton: BATON_KERNELS: $kernels (expected: a native-*.jar with code for GPUs)" >&2; exit 1; }
  theirs=$(cat "$taken/META-INF/native/cuda/made-from.txt" 2>/dev/null || true)
  [ "$theirs" = "$made_from" ] ||
    { echo "baton: BATON_KERNELS: $kernels has code of other sources: ${theirs:-unknown} (expected: $made_from, a build of this version)" >&2; exit 1; }
  rm -f "$code"/*
  cp "$taken"/META-INF/native/cuda/* "$code/"
elif [ "$nvcc" != none ]; then
  for source in "$sources"/*.cu; do
    name=$(basename "$source" .cu)
    cmp -s "$objects/$name-$release.fatbin" "$code/$name.fatbin" || cp "$objects/$name-$release.fatbin" "$code/$name.fatbin"
  done
  echo "$release" > "$code/toolkit.txt"
  printf '%s' "$index" > "$code/kernels.txt"
  echo "$made_from" > "$code/made-from.txt"
elif [ "${NVCC:-}" = none ] || [ "$(cat "$code/made-from.txt" 2>/dev/null || true)" != "$made_from" ]; then
  rm -f "$code"/*
  echo "baton: no nvcc (CUDA toolkit), so this build has no GPU kernels: --device cuda will say so" >&2
fi
