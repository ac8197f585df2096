// Multiply-adds that never leave the registers: what no kernel of this set can exceed.
#pragma once

#include "tile.h"
#ifdef LB_HAS_MATRIX
#include "matrix/mill.h"
#endif

namespace lookbehind::LOOKBEHIND_SET {

// As many sums as the micro-kernel keeps, so that latency is hidden just as well. Returns 2 * products.
template <Unit kUnit>
static double peak_of(int64_t rounds) {
    constexpr int kSteps = 16;  // a round: the loop itself must cost nothing
    Float sum[kSub][kVectors];
    for (int i = 0; i < kSub; ++i) {  // no two alike, or the compiler keeps one of them
        for (int v = 0; v < kVectors; ++v) sum[i][v] = same(static_cast<float>(i * kVectors + v));
    }
    volatile float near_one = 0.999f, small = 0.001f;  // nothing the compiler could count on
    const Float a = same(near_one), b = same(small);
    for (int64_t round = 0; round < rounds; ++round) {
        LB_UNROLL
        for (int step = 0; step < kSteps; ++step) {
            LB_UNROLL
            for (int i = 0; i < kSub; ++i) {
                LB_UNROLL
                for (int v = 0; v < kVectors; ++v) sum[i][v] = multiply_add<kUnit>(a, b, sum[i][v]);
            }
        }
    }
    Float all = same(0.0f);
    for (int i = 0; i < kSub; ++i) {
        for (int v = 0; v < kVectors; ++v) all = add(all, sum[i][v]);
    }
    volatile float kept = sum_of(all);
    (void)kept;
    const double products = static_cast<double>(rounds) * kSteps * kSub * kVectors * kLanes;
    return 2 * products * (kUnit == Unit::pair ? 2 : 1);
}

#ifdef LB_HAS_MATRIX
// As many registers of sums as the mill keeps.
template <>
double peak_of<Unit::matrix>(int64_t rounds) {
    const Shaped shaped;
    // Numbers of all kinds: zeros are multiplied at less power, and on a core that others share at twice the speed.
    alignas(64) int32_t rows[4][kSide * kSide];
    uint32_t word = 1;
    for (auto& some : rows) {
        for (int32_t& pair : some) {
            word = word * 1664525u + 1013904223u;
            pair = static_cast<int32_t>(0x3f803f80u | (word >> 8 & 0x007f007fu) | (word & 0x80000000u) | (word >> 15 & 0x8000u));
        }
    }
    zero_rows<0>();
    zero_rows<1>();
    zero_rows<2>();
    zero_rows<3>();
    load_rows<4>(rows[0], 64);
    load_rows<5>(rows[1], 64);
    load_rows<6>(rows[2], 64);
    load_rows<7>(rows[3], 64);
    for (int64_t round = 0; round < rounds; ++round) {
        multiply_rows<0, 4, 6>();
        multiply_rows<1, 4, 7>();
        multiply_rows<2, 5, 6>();
        multiply_rows<3, 5, 7>();
    }
    return 2 * static_cast<double>(rounds) * 4 * kSide * kSide * kStep;
}
#endif

static double peak(bool pairs, int64_t rounds) {
    if constexpr (kDot) {
        if (pairs) return peak_of<kPairs>(rounds);
    }
    return peak_of<Unit::real>(rounds);
}

}  // namespace lookbehind::LOOKBEHIND_SET
