// AVX-512 (F, BW, DQ, VL): 16 floats a vector; with AVX512_BF16 also the dot of bfloat16 pairs.
#pragma once

#include <immintrin.h>

#include "simd/common.h"

namespace lookbehind::LOOKBEHIND_SET {

using Float = __m512;
using Int = __m512i;
using Mask = __mmask16;

constexpr int kLanes = 16;   // floats a vector
constexpr int kVectors = 2;  // vectors of queries a tile
constexpr int kSub = 8;      // keys (or columns of v) whose sums stay in registers together
constexpr bool kBeside = true;
constexpr bool kPanels = false;
#ifdef __AVX512BF16__
constexpr bool kDot = true;
#define LB_HAS_DOT 1
#else
constexpr bool kDot = false;
#endif

// -- memory ----------------------------------------------------------------------------------------------------
LB_INLINE Float load(const float* from) { return _mm512_loadu_ps(from); }
LB_INLINE Int load(const int32_t* from) { return _mm512_loadu_si512(from); }
LB_INLINE void store(float* to, Float x) { _mm512_storeu_ps(to, x); }
LB_INLINE void store(int32_t* to, Int x) { _mm512_storeu_si512(to, x); }
LB_INLINE Float same(float x) { return _mm512_set1_ps(x); }
LB_INLINE Int same(int32_t x) { return _mm512_set1_epi32(x); }
LB_INLINE Float count_up() {  // 0, 1, 2, ...
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
LB_INLINE Float bits(Int x) { return _mm512_castsi512_ps(x); }
LB_INLINE Int bits(Float x) { return _mm512_castps_si512(x); }

// -- arithmetic ------------------------------------------------------------------------------------------------
LB_INLINE Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
LB_INLINE Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
LB_INLINE Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
LB_INLINE Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
LB_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
// Where x is NaN the result is `other`.
LB_INLINE Float max(Float x, Float other) { return _mm512_max_ps(x, other); }
LB_INLINE Float min(Float x, Float other) { return _mm512_min_ps(x, other); }
LB_INLINE Float to_float(Int x) { return _mm512_cvtepi32_ps(x); }
LB_INLINE Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
LB_INLINE Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
LB_INLINE Int bit_and(Int a, Int b) { return _mm512_and_si512(a, b); }
LB_INLINE Int bit_or(Int a, Int b) { return _mm512_or_si512(a, b); }
template <int kBy>
LB_INLINE Int shift_left(Int a) { return _mm512_slli_epi32(a, kBy); }
template <int kBy>
LB_INLINE Int shift_right(Int a) { return _mm512_srai_epi32(a, kBy); }
template <int kBy>
LB_INLINE Int shift_right_unsigned(Int a) { return _mm512_srli_epi32(a, kBy); }

// -- masks -----------------------------------------------------------------------------------------------------
LB_INLINE Mask lanes(uint32_t word) { return static_cast<Mask>(word); }  // bit l: lane l
LB_INLINE Mask less(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
LB_INLINE Mask not_less(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }  // true for NaN
LB_INLINE Mask not_at_most(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ); }  // true for NaN
LB_INLINE Mask equal(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
LB_INLINE Mask both(Mask a, Mask b) { return static_cast<Mask>(a & b); }
LB_INLINE bool any(Mask a) { return a != 0; }
LB_INLINE Float choose(Mask where, Float yes, Float no) { return _mm512_mask_blend_ps(where, no, yes); }
LB_INLINE Float keep(Mask where, Float x) { return _mm512_maskz_mov_ps(where, x); }  // 0 elsewhere

// -- across lanes ----------------------------------------------------------------------------------------------
LB_INLINE float sum_of(Float x) { return _mm512_reduce_add_ps(x); }
LB_INLINE float max_of(Float x) { return _mm512_reduce_max_ps(x); }

#define LB_HAS_SCALE 1
// -- 2^x -------------------------------------------------------------------------------------------------------
LB_INLINE Float fraction(Float x) {  // x - floor(x); 0 for infinities
    return _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
LB_INLINE Float scale_by_power(Float p, Float x) { return _mm512_scalef_ps(p, x); }  // p * 2^floor(x)

// -- 16-bit floats ---------------------------------------------------------------------------------------------
LB_INLINE Float widen_bfloat16(const uint16_t* from) {
    return bits(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16));
}
LB_INLINE Float widen_float16(const uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
}
LB_INLINE void narrow_float16(uint16_t* to, Float x) {
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
// The upper halves of a's lanes, then of b's.
LB_INLINE Int upper_halves(Int a, Int b) {
    const Int lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const Int order = _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(0x00040004)), _mm512_set1_epi32(0x00030001));
    return _mm512_permutex2var_epi16(a, order, b);
}
#ifdef __AVX512BF16__
LB_INLINE void narrow_bfloat16(uint16_t* to, Float x) {
    _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(x));
}
// a.low * b.low + a.high * b.high, added to `to`.
LB_INLINE Float dot(Int a, Int b, Float to) { return _mm512_dpbf16_ps(to, (__m512bh)a, (__m512bh)b); }
// Pairs of a's and b's elements: of the lower halves of each quarter, of the upper ones.
LB_INLINE Int interleave_low(Int a, Int b) { return _mm512_unpacklo_epi16(a, b); }
LB_INLINE Int interleave_high(Int a, Int b) { return _mm512_unpackhi_epi16(a, b); }
// Lane by lane a pair of bfloat16: `low` of the even key, `high` of the odd key.
LB_INLINE Int pairs(Float low, Float high) {
    const Int both = (Int)_mm512_cvtne2ps_pbh(high, low);  // 16 of low, then 16 of high
    const Int order = _mm512_setr_epi32(0x00100000, 0x00110001, 0x00120002, 0x00130003, 0x00140004, 0x00150005,
                                        0x00160006, 0x00170007, 0x00180008, 0x00190009, 0x001a000a, 0x001b000b,
                                        0x001c000c, 0x001d000d, 0x001e000e, 0x001f000f);
    return _mm512_permutexvar_epi16(order, both);
}
#else
LB_INLINE void narrow_bfloat16(uint16_t* to, Float x) {
    const Int word = bits(x);
    const Int even = add(word, add(same(0x7fff), bit_and(shift_right<16>(word), same(1))));
    const Int quiet = bit_or(word, same(0x400000));
    const Int kept = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), even, quiet);
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}
#endif

// -- layout ----------------------------------------------------------------------------------------------------
// to[c][r] = from[r][c] for 16 x 16 words; strides in words.
LB_INLINE void transpose(const int32_t* from, int64_t from_stride, int32_t* to, int64_t to_stride) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * from_stride);
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; ++i) {
        _mm512_storeu_si512(to + i * to_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
        _mm512_storeu_si512(to + (i + 8) * to_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
        _mm512_storeu_si512(to + (i + 4) * to_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88));
        _mm512_storeu_si512(to + (i + 12) * to_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd));
    }
}

// to[c][r] = from[r][c] for 16 x 4 floats that lie close together.
LB_INLINE void transpose_four(const float* from, float* to, int64_t to_stride) {
    const Float a = load(from), b = load(from + 16), c = load(from + 32), d = load(from + 48);
    const __m512d low = (__m512d)_mm512_unpacklo_ps(a, b), low2 = (__m512d)_mm512_unpacklo_ps(c, d);
    const __m512d high = (__m512d)_mm512_unpackhi_ps(a, b), high2 = (__m512d)_mm512_unpackhi_ps(c, d);
    // Each quarter now has every fourth row.
    const Int order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    store(to, _mm512_permutexvar_ps(order, (Float)_mm512_unpacklo_pd(low, low2)));
    store(to + to_stride, _mm512_permutexvar_ps(order, (Float)_mm512_unpackhi_pd(low, low2)));
    store(to + 2 * to_stride, _mm512_permutexvar_ps(order, (Float)_mm512_unpacklo_pd(high, high2)));
    store(to + 3 * to_stride, _mm512_permutexvar_ps(order, (Float)_mm512_unpackhi_pd(high, high2)));
}

}  // namespace lookbehind::LOOKBEHIND_SET

#include "simd/functions.h"
