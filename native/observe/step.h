// One step of observe's walk: the weights of one micro-tile are reduced while the scores of the next are computed.
//
// Multiply-adds fill two of the core's four vector pipes; exponentials, sums and maxima go through the other two
// for all but their polynomials. Too far apart for the core to overlap them by itself, they are interleaved
// here: after every few multiply-adds of the next micro-tile, one vector of this one is finished.
#pragma once

#include "../scoring.h"
#ifdef LB_HAS_MATRIX
#include "../matrix/mill.h"
#endif
#include "lanes.h"
#include "unit.h"

namespace lookbehind::LOOKBEHIND_SET {

// Stands for the exponent of a product that is not visible: its weight is 0, and 0 times it is 0, not NaN.
constexpr float kNever = -1e30f;

// What the walk itself has to do; reductions that only need its weights are in other files.
struct Asks {
    bool weights = false;   // 2^exponent
    bool received = false;
    bool entropy = false;
    bool best = false;      // of each query: its largest exponent, and the key
    bool sums = false;      // of each micro-tile's weights, query by query
    bool exponents = false; // their sum, which shows whether one is NaN or infinite
    bool keep_weights = false, keep_exponents = false, keep_scores = false;  // for reductions to come
};

// A micro-tile that is visited; masks as in Run, null if every lane sees every key.
struct Visit {
    int64_t key;
    const uint32_t* masks;
    int64_t step;

    [[gnu::always_inline]] inline Mask sees(int j, int v) const { return lanes(masks[j * step] >> (v * kLanes)); }
};

// All that a tile of queries needs on its way over the keys: in one place, so that one register points to it, as
// the multiply-adds leave few. Arrays are [.][kTile].
struct Desk {
    // q_i.k_j of this micro-tile, or group of them, and of the next.
    alignas(64) float products[2][(is_matrix(kReals) ? 4 : 1) * kMicro * kTile];

    // Of this micro-tile.
    alignas(64) float weights[kMicro * kTile];
    alignas(64) float exponents[kMicro * kTile];  // score - lse, in bits; kNever where not visible
    alignas(64) float scores[kMicro * kTile];     // in bits, visible or not
    alignas(64) float halves[kMicro * kLanes];    // weights of a key, summed over the tile's vectors; still to be
    float* owed;                                  // summed over lanes into this: the next step does, beside the rest
    alignas(64) float sums[kTile];                // weights of a query, summed over the micro-tile

    // Of the tile of queries, and what they have gathered so far.
    alignas(64) float minus[kTile];       // minus lse, in bits
    alignas(64) float entropy[kTile];     // sum of weight * exponent
    alignas(64) float all_exponents[kTile];  // their sum
    alignas(64) float best[kTile];
    alignas(64) int32_t best_key[kTile];
};

// A head's keys, turned: rows [first, stop) of `keys` rows of `depth` words. first is a multiple of kTurned; what is
// missing in the last pair is 0.
static void turn_keys(const int32_t* rows, int64_t stride, int depth, int64_t first, int64_t stop, int32_t* turned) {
    for (int64_t key = first; key < stop; key += kTurned) {
        int32_t* const to = turned + key * depth;
        for (int r = 0; r < kTurned; r += kLanes) {
            const int64_t left = stop - key - r;
            const int here = static_cast<int>(left < 0 ? 0 : left < kLanes ? left : kLanes);
            const int32_t* const from = rows + (key + r) * stride;
            int d = 0;
            for (; here == kLanes && d + kLanes <= depth; d += kLanes) {
                transpose(from + d, stride, to + d * kTurned + r, kTurned);
            }
            for (; d < depth; ++d) {
                for (int i = 0; i < kLanes; ++i) to[d * kTurned + r + i] = i < here ? from[i * stride + d] : 0;
            }
        }
    }
}

// What one micro-tile is reduced to, vector by vector. kAll: every one of received, entropy, best and sums is asked, and
// neither exponents nor scores are kept.
template <Unit kUnit, int kExtra, bool kMasked, bool kAll>
struct Reduction {
    static constexpr int kDegree = is_bfloat16(kUnit) ? 3 : 5;

    const Asks& asks;
    const BitsFor<kUnit, kExtra> in;
    const Visit now;
    Desk& desk;
    const float* const products;  // [kMicro][kTile]
    Float entropy[kVectors], exponents[kVectors], best[kVectors], sums[kVectors], half;
    Int best_key[kVectors];

    [[gnu::always_inline]] inline Reduction(const Asks& asks, const BitsFor<kUnit, kExtra>& in, const Visit& now,
                                            Desk& desk, const float* products)
        : asks(asks), in(in), now(now), desk(desk), products(products) {
        LB_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            best[v] = load(desk.best + v * kLanes);
            best_key[v] = load(desk.best_key + v * kLanes);
            entropy[v] = exponents[v] = sums[v] = same(0.0f);
        }
        half = same(0.0f);
    }

    // What the micro-tile before has left over.
    [[gnu::always_inline]] inline void settle() const {
        if (kAll || asks.received) add_lane_sums(desk.halves, desk.owed);
    }

    [[gnu::always_inline]] inline void add(int j, int v) {
        const int place = j * kTile + v * kLanes;
        const Float product = load(products + place);
        Float x = in.exponent(product, v, now.key + j, load(desk.minus + v * kLanes));
        if constexpr (kMasked) x = choose(now.sees(j, v), x, same(kNever));
        if (kAll || asks.best) {
            const Mask better = less(best[v], x);
            best[v] = choose(better, x, best[v]);
            best_key[v] = choose(better, same(static_cast<int32_t>(now.key) + j), best_key[v]);
        }
        if (!kAll && asks.exponents) exponents[v] = plus(exponents[v], x);
        if (!kAll && asks.keep_scores) store(desk.scores + place, in.exponent(product, v, now.key + j, same(0.0f)));
        if (!kAll && asks.keep_exponents) store(desk.exponents + place, x);
        if (kAll || asks.weights) {
            // An entropy shows what is infinite or NaN, and all is done anew.
            const Float weight = kAll ? exp2_capped<kDegree>(x) : exp2<kDegree>(x);
            if (kAll || asks.entropy) entropy[v] = j == 0 ? mul(weight, x) : fma(weight, x, entropy[v]);
            if (kAll || asks.sums) sums[v] = j == 0 ? weight : plus(sums[v], weight);
            if (kAll || asks.received) {
                float* const sum = desk.halves + j * kLanes;
                half = v == 0 ? weight : plus(kBeside ? half : load(sum), weight);
                if (!kBeside || v == kVectors - 1) store(sum, half);
            }
            if (kAll || asks.keep_weights) store(desk.weights + place, weight);
        }
#ifdef LB_HAS_MATRIX
        if constexpr (kAll) {
            hold(best[v]);
            hold(best_key[v]);
            hold(entropy[v]);
            hold(sums[v]);
        }
#endif
    }

    [[gnu::always_inline]] inline void end() const {
        LB_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            float* so_far = desk.entropy + v * kLanes;
            if (kAll || asks.entropy) store(so_far, plus(load(so_far), entropy[v]));
            so_far = desk.all_exponents + v * kLanes;
            if (!kAll && asks.exponents) store(so_far, plus(load(so_far), exponents[v]));
            if (kAll || asks.sums) store(desk.sums + v * kLanes, sums[v]);
            if (kAll || asks.best) {
                store(desk.best + v * kLanes, best[v]);
                store(desk.best_key + v * kLanes, best_key[v]);
            }
        }
    }

private:
    [[gnu::always_inline]] static inline Float plus(Float a, Float b) { return lookbehind::LOOKBEHIND_SET::add(a, b); }
};

// Reduces micro-tile `now`, whose products are in desk.products[at], and puts those of the next micro-tile, whose
// turned keys are at k, `depth` words deep (0: there is none), into the other.
template <Unit kUnit, int kExtra, bool kMasked, bool kAll>
[[gnu::noinline]] static void step(const Asks& asks, const BitsFor<kUnit, kExtra>& in, const Visit& now, Desk& desk, int at,
                                   const int32_t* q, const int32_t* k, int depth) {
    constexpr int kParts = kSub * kVectors;  // vectors reduced beside one pass over the depth
    float* const next = desk.products[at ^ 1];
    Reduction<kUnit, kExtra, kMasked, kAll> reduction(asks, in, now, desk, desk.products[at]);
    if constexpr (!kBeside) {
        reduction.settle();
        LB_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            LB_UNROLL
            for (int j = 0; j < kMicro; ++j) reduction.add(j, v);
        }
        reduction.end();
        return multiply<kUnit>(q, k, depth, next);
    }
    LB_UNROLL
    for (int first = 0; first < kMicro; first += kSub) {
        Float sum[kSub][kVectors];
        LB_UNROLL
        for (int j = 0; j < kSub; ++j) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[j][v] = same(0.0f);
        }
        const int32_t *row = k + first, *column = q;
        const auto multiply = [&](const int32_t* stop) __attribute__((always_inline)) {
            for (; row < stop; row += kTurned, column += kTile) {
                add_products<kUnit>(column, [&](int j) __attribute__((always_inline)) { return row + j; }, sum);
            }
        };
        const int64_t part = depth / kParts * kTurned;
        LB_UNROLL
        for (int i = 0; i < kParts; ++i) {
            multiply(row + part);
            if (first == 0 && i == 0) reduction.settle();
            reduction.add(first + i / kVectors, i % kVectors);
        }
        multiply(k + first + int64_t{depth} * kTurned);
        LB_UNROLL
        for (int j = 0; j < kSub; ++j) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) store(next + (first + j) * kTile + v * kLanes, sum[j][v]);
        }
    }
    reduction.end();
}

#ifdef LB_HAS_MATRIX
// Reduces micro-tile `now`, whose products are given, and takes so many steps of the mill beside that.
template <Unit kUnit, int kExtra, bool kMasked, bool kAll>
[[gnu::noinline]] static void step(const Asks& asks, const BitsFor<kUnit, kExtra>& in, const Visit& now, Desk& desk,
                                   const float* products, Mill<kUnit == Unit::thirds>& mill, int steps) {
    constexpr int kParts = kMicro * kVectors;
    Reduction<kUnit, kExtra, kMasked, kAll> reduction(asks, in, now, desk, products);
    reduction.settle();
    work_beside<kParts, Mill<kUnit == Unit::thirds>::kMultiplications>(
        steps, [&](const auto& beside) __attribute__((always_inline)) { mill.step(beside); },
        [&](int n) { mill.steps(n); },
        [&](auto i) __attribute__((always_inline)) { reduction.add(i.value / kVectors, i.value % kVectors); },
        [] {});
    reduction.end();
}
#endif

}  // namespace lookbehind::LOOKBEHIND_SET
