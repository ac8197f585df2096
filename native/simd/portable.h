// Any machine: four floats a vector, which the compiler turns into what the platform has.
#pragma once

#include "simd/common.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int kLanes = 4;
constexpr int kVectors = 2;
constexpr int kSub = 4;
constexpr bool kBeside = true;
constexpr bool kPanels = false;
constexpr bool kDot = false;

// Vectors of GCC and Clang: operators work lane by lane, comparisons give all bits of a lane or none.
typedef float Float __attribute__((vector_size(16)));
typedef int32_t Int __attribute__((vector_size(16)));
struct Mask {
    Int all;
};

// -- memory ----------------------------------------------------------------------------------------------------
template <class To, class From>
LB_INLINE To copy_of(const From* from) {
    To to;
    memcpy(&to, from, sizeof(To));
    return to;
}
LB_INLINE Float load(const float* from) { return copy_of<Float>(from); }
LB_INLINE Int load(const int32_t* from) { return copy_of<Int>(from); }
LB_INLINE void store(float* to, Float x) { memcpy(to, &x, sizeof(x)); }
LB_INLINE void store(int32_t* to, Int x) { memcpy(to, &x, sizeof(x)); }
LB_INLINE Float same(float x) { return Float{x, x, x, x}; }
LB_INLINE Int same(int32_t x) { return Int{x, x, x, x}; }
LB_INLINE Float count_up() { return Float{0, 1, 2, 3}; }
LB_INLINE Float bits(Int x) { return (Float)x; }
LB_INLINE Int bits(Float x) { return (Int)x; }

// -- masks -----------------------------------------------------------------------------------------------------
LB_INLINE Mask lanes(uint32_t word) {
    const Int one = {1, 2, 4, 8};
    return {(same(static_cast<int32_t>(word)) & one) == one};
}
LB_INLINE Mask less(Float a, Float b) { return {a < b}; }
LB_INLINE Mask not_less(Float a, Float b) { return {~(a < b)}; }      // true for NaN
LB_INLINE Mask not_at_most(Float a, Float b) { return {~(a <= b)}; }  // true for NaN
LB_INLINE Mask equal(Float a, Float b) { return {a == b}; }
LB_INLINE Mask both(Mask a, Mask b) { return {a.all & b.all}; }
LB_INLINE bool any(Mask a) { return (a.all[0] | a.all[1] | a.all[2] | a.all[3]) != 0; }
LB_INLINE Float choose(Mask where, Float yes, Float no) {
    return bits((where.all & bits(yes)) | (~where.all & bits(no)));
}
LB_INLINE Float keep(Mask where, Float x) { return bits(where.all & bits(x)); }

// -- arithmetic ------------------------------------------------------------------------------------------------
LB_INLINE Float add(Float a, Float b) { return a + b; }
LB_INLINE Float sub(Float a, Float b) { return a - b; }
LB_INLINE Float mul(Float a, Float b) { return a * b; }
LB_INLINE Float div(Float a, Float b) { return a / b; }
// Rounded twice: a fused one is a call into the library where the machine has none.
LB_INLINE Float fma(Float a, Float b, Float c) { return a * b + c; }
LB_INLINE Float max(Float x, Float other) { return choose({x > other}, x, other); }  // `other` where x is NaN
LB_INLINE Float min(Float x, Float other) { return choose({x < other}, x, other); }
LB_INLINE Float to_float(Int x) { return __builtin_convertvector(x, Float); }
typedef uint32_t Words __attribute__((vector_size(16)));  // whose overflow is defined
LB_INLINE Int add(Int a, Int b) { return (Int)((Words)a + (Words)b); }
LB_INLINE Int sub(Int a, Int b) { return (Int)((Words)a - (Words)b); }
LB_INLINE Int bit_and(Int a, Int b) { return a & b; }
LB_INLINE Int bit_or(Int a, Int b) { return a | b; }
template <int kBy>
LB_INLINE Int shift_left(Int a) { return (Int)((Words)a << kBy); }
template <int kBy>
LB_INLINE Int shift_right(Int a) { return a >> kBy; }

// -- across lanes ----------------------------------------------------------------------------------------------
LB_INLINE float sum_of(Float x) { return (x[0] + x[1]) + (x[2] + x[3]); }
LB_INLINE float max_of(Float x) {
    float most = x[0];
    for (int i = 1; i < kLanes; ++i) most = x[i] > most ? x[i] : most;
    return most;
}

// -- 16-bit floats ---------------------------------------------------------------------------------------------
LB_INLINE Float widen_bfloat16(const uint16_t* from) {
    Float to = {};
    for (int i = 0; i < kLanes; ++i) to[i] = bfloat16_to_float(from[i]);
    return to;
}
LB_INLINE Float widen_float16(const uint16_t* from) {
    Float to = {};
    for (int i = 0; i < kLanes; ++i) to[i] = float16_to_float(from[i]);
    return to;
}
LB_INLINE void narrow_bfloat16(uint16_t* to, Float x) {
    for (int i = 0; i < kLanes; ++i) to[i] = float_to_bfloat16(x[i]);
}
LB_INLINE void narrow_float16(uint16_t* to, Float x) {
    for (int i = 0; i < kLanes; ++i) to[i] = float_to_float16(x[i]);
}

// -- layout ----------------------------------------------------------------------------------------------------
LB_INLINE void transpose(const int32_t* from, int64_t from_stride, int32_t* to, int64_t to_stride) {
    for (int r = 0; r < kLanes; ++r) {
        for (int c = 0; c < kLanes; ++c) to[c * to_stride + r] = from[r * from_stride + c];
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET

#include "simd/functions.h"
