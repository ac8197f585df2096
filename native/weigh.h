// The weights of a micro-tile, from its scores and the reference of each query.
#pragma once

#include "scoring.h"

namespace lookbehind::LOOKBEHIND_SET {

// A micro-tile between its scores and its weights.
struct Fresh {
    float* scores;                    // [kMicro][kTile], q_i.k_j
    int64_t key = 0;
    const uint32_t* masks = nullptr;  // null: all lanes see all keys
    int64_t step = 0;                 // in masks, from key to key
};

// How a kind of call weighs. kValues: whether there is an output, or lse alone.
template <Unit kUnit, bool kValues>
struct Weights {
    static constexpr int kSteps = is_pairs(kUnit) ? kMicro / 2 : kMicro;  // rows of v a micro-tile, of each third
    // bfloat16 weights hold three digits; where only their sum is kept, it is worth seven.
    static constexpr bool kRounds = is_bfloat16(kUnit) && kValues;
    static constexpr int kDegree = kRounds ? 3 : 5;
    // Sums of weights: as they are, for lse; and as they are rounded to bfloat16 before they meet the values, for the
    // output: its weights then add up to 1 exactly, and a query that reads a single key gets that key's values.
    static constexpr int kTotals = kRounds ? 2 : 1;

    // The sums of some weights, query by query.
    struct Total {
        Float of[kTotals][kVectors];
    };
};

// The weights of one micro-tile, in kPieces: two keys in one vector of lanes each. Stored at p, summed. kMoved: after the
// references have moved; before that, a weight that is infinite or NaN need only be too large.
template <Unit kUnit, int kExtra, bool kValues, bool kMasked, bool kMoved>
struct Weigh {
    using W = Weights<kUnit, kValues>;

    BitsFor<kUnit, kExtra> in;
    Fresh fresh;
    int32_t* p;
    Float base[kVectors];
    typename W::Total total;

    [[gnu::always_inline]] Weigh(const BitsFor<kUnit, kExtra>& in, const Fresh& fresh, int32_t* p, const Float* reference)
        : in(in), fresh(fresh), p(p) {
        LB_UNROLL
        for (int v = 0; v < kVectors; ++v) base[v] = in.base(v, fresh.key, reference[v]);
    }

    [[gnu::always_inline]] inline void operator()(int piece) {
        const int v = piece % kVectors, j = piece / kVectors * 2;
        Float weight[2];
        LB_UNROLL
        for (int i = 0; i < 2; ++i) {
            const Float product = load(fresh.scores + (j + i) * kTile + v * kLanes);
            const Float above = in.above(product, j + i, base[v]);
            weight[i] = kMoved ? exp2<W::kDegree>(above) : exp2_capped<W::kDegree>(above);
            if constexpr (kMasked) {
                weight[i] = keep(lanes(fresh.masks[(j + i) * fresh.step] >> (v * kLanes)), weight[i]);
            }
        }
        if constexpr (W::kRounds) {
            const Int both = pairs(weight[0], weight[1]);
            store(p + j / 2 * kTile + v * kLanes, both);
            const Float before = j ? total.of[1][v] : same(0.0f);
            total.of[1][v] = multiply_add<kUnit>(bits(both), bits(same(0x3f803f80)), before);  // times 1 and 1
        } else if constexpr (kValues) {
            store(p + j * kTile + v * kLanes, bits(weight[0]));
            store(p + (j + 1) * kTile + v * kLanes, bits(weight[1]));
        }
        const Float two = add(weight[0], weight[1]);
        total.of[0][v] = j ? add(total.of[0][v], two) : two;
    }
};

}  // namespace lookbehind::LOOKBEHIND_SET
