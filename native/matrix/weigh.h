// The weights of a micro-tile between the matrix unit's instructions.
#pragma once

#include "../weigh.h"
#include "registers.h"
#include "thirds.h"

namespace lookbehind::LOOKBEHIND_SET {

// 2^x of each, side by side: the core holds less than a hundred instructions that wait for what they read, and those of the
// matrix unit wait long, so that few would be left if each vector's steps followed one another.
template <int kDegree, int n>
[[gnu::always_inline]] inline void exp2_each(Float (&x)[n]) {
    Float f[n], p[n];
    LB_UNROLL
    for (int i = 0; i < n; ++i) {
        f[i] = fraction(x[i]);
        p[i] = same(Exp2Terms<kDegree>::of[0]);
    }
    LB_UNROLL
    for (int term = 1; term <= kDegree; ++term) {
        LB_UNROLL
        for (int i = 0; i < n; ++i) p[i] = fma(p[i], f[i], same(Exp2Terms<kDegree>::of[term]));
        hold_each(p);
    }
    LB_UNROLL
    for (int i = 0; i < n; ++i) x[i] = scale_by_power(p[i], x[i]);
    hold_each(x);
}

// The weights of one micro-tile, in kPieces: two keys in one vector of lanes each, side by side. Stored at p, summed. All
// members are values: what lies behind a reference would be loaded and stored anew between the matrix unit's instructions.
template <Unit kUnit, int kExtra, bool kValues, bool kMasked>
struct MatrixWeigh {
    using W = Weights<kUnit, kValues>;

    BitsFor<kUnit, kExtra> in;
    Fresh fresh;
    int32_t* p;
    Float base[kVectors];
    typename W::Total total;
    Halves of;

    [[gnu::always_inline]] MatrixWeigh(const BitsFor<kUnit, kExtra>& in, const Fresh& fresh, int32_t* p, const Float* reference)
        : in(in), fresh(fresh), p(p) {
        LB_UNROLL
        for (int v = 0; v < kVectors; ++v) base[v] = in.base(v, fresh.key, reference[v]);
        hold(of.upper);
        hold(of.half);
    }

    [[gnu::always_inline]] inline void operator()(int piece) {
        const int j = piece / kVectors * 2, v = piece % kVectors;
        Float weight[2];
        LB_UNROLL
        for (int i = 0; i < 2; ++i) {
            weight[i] = in.above(load(fresh.scores + (j + i) * kTile + v * kLanes), j + i, base[v]);
        }
        exp2_each<W::kDegree>(weight);
        if constexpr (kMasked) {
            LB_UNROLL
            for (int i = 0; i < 2; ++i) weight[i] = keep(lanes(fresh.masks[(j + i) * fresh.step] >> (v * kLanes)), weight[i]);
        }
        finish(j, v, weight[0], weight[1]);
    }

private:
    [[gnu::always_inline]] inline void finish(int j, int v, Float first, Float second) {
        int32_t* const to = p + j / 2 * kTile + v * kLanes;
        if constexpr (kUnit == Unit::matrix && kValues) {
            // Rounded by integers: while the matrix unit works, one of the two pipes for floats is closed to all but
            // additions, and the conversion and the dot are what it is closed to. Half a unit is rounded up.
            const Int low = bit_and(add(bits(first), of.half), of.upper);
            const Int high = bit_and(add(bits(second), of.half), of.upper);
            store(to, bit_or(high, shift_right_unsigned<16>(low)));
            const Float two = add(bits(low), bits(high));
            total.of[1][v] = j ? add(total.of[1][v], two) : two;
        } else if constexpr (kValues) {
            Int low[kThirds], high[kThirds];
            cut(first, low, of);
            cut(second, high, of);
            LB_UNROLL
            for (int third = 0; third < kThirds; ++third) {
                store(to + third * kThirdOfWeights, bit_or(high[third], shift_right_unsigned<16>(low[third])));
            }
        }
        const Float two = add(first, second);
        total.of[0][v] = j ? add(total.of[0][v], two) : two;
        for (int i = 0; i < W::kTotals; ++i) hold(total.of[i][v]);
    }
};

}  // namespace lookbehind::LOOKBEHIND_SET
