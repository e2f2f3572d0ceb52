// The matrix units' instructions: the processor's own, or, with BATON_EMULATED_UNIT, their emulation.
//
// Sources on top of it are compiled twice: as tier `amx`, and as tier `amx_emulated`, which runs wherever the AVX-512 tier does and
// is there for tests, so that every build checks the matrix units' kernels, on whatever machine it runs.
#pragma once

#if defined(BATON_EMULATED_UNIT)
#define BATON_MATRIX_TIER amx_emulated
#include "matrix_unit_emulated.h"
#else
#define BATON_MATRIX_TIER amx
#include <immintrin.h>
#endif
