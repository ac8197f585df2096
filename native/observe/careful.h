// The same reductions where a score or an lse is NaN or infinite: what the definitions say, one by one.
//
// A tile of queries is first reduced as if all were finite (step.h); if its sums show that something was not,
// the unit is done again this way, at about half the speed.
#pragma once

#include "step.h"

namespace lookbehind::LOOKBEHIND_SET {

// lse: in bits. Here desk.best is the largest score, not exponent: exponents are all the same where the lse is
// infinite, and of weights that are all 0 the keys with the larger scores are as good as any. A NaN is larger
// than every number. desk.best_key is -1 where no key has been seen.
template <Unit kUnit, int kExtra>
static void careful_step(const Asks& asks, const BitsFor<kUnit, kExtra>& in, const Visit& now, const float* products,
                         const float* lse, Desk& desk) {
    if (asks.received) add_lane_sums(desk.halves, desk.owed);
    for (int v = 0; v < kVectors; ++v) {
        const Float lane_lse = load(lse + v * kLanes);
        const Mask weightless = equal(lane_lse, same(-kInfinity));
        Float entropy = same(0.0f), sums = same(0.0f);
        for (int j = 0; j < kMicro; ++j) {
            const int at = j * kTile + v * kLanes;
            const Mask sees = now.masks ? now.sees(j, v) : lanes(~0u);
            const Float score = in.exponent(load(products + at), v, now.key + j, same(0.0f));
            const Float x = choose(weightless, same(-kInfinity), sub(score, lane_lse));
            const Float weight = keep(sees, exp2<5>(x));
            store(desk.scores + at, score);
            store(desk.exponents + at, choose(sees, x, same(kNever)));
            store(desk.weights + at, weight);
            // 0 log 0 is 0: the exponent of a weight that is 0 is taken as finite.
            entropy = add(entropy, mul(weight, choose(less(x, same(kNever)), same(kNever), keep(sees, x))));
            sums = add(sums, weight);
            if (asks.best) {
                const Float best = load(desk.best + v * kLanes);
                const Int key = load(desk.best_key + v * kLanes);
                const Mask above = less(best, score), nan = both(is_nan(score), equal(best, best));
                const Mask none = less(to_float(key), same(0.0f));
                const Int mine = same(static_cast<int32_t>(now.key) + j);
                Float largest = best;
                Int its_key = key;
                for (const Mask better : {above, nan, none}) {
                    largest = choose(both(sees, better), score, largest);
                    its_key = choose(both(sees, better), mine, its_key);
                }
                store(desk.best + v * kLanes, largest);
                store(desk.best_key + v * kLanes, its_key);
            }
        }
        store(desk.entropy + v * kLanes, add(load(desk.entropy + v * kLanes), entropy));
        store(desk.sums + v * kLanes, sums);
    }
    for (int j = 0; j < kMicro; ++j) {
        Float half = load(desk.weights + j * kTile);
        for (int v = 1; v < kVectors; ++v) half = add(half, load(desk.weights + j * kTile + v * kLanes));
        store(desk.halves + j * kLanes, half);
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
