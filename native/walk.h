// The walk of a tile of queries over the keys it visits: weights, their sums, and what they gather of the values.
//
// Weights are taken against a reference that follows the largest score from afar: it moves, and sums are
// rescaled, only where the weights of a micro-tile add up to more than 2^8. So most micro-tiles need no maximum
// at all, only the sum that is needed anyway. Every decision is made for each query by itself and keys come in
// the same order always, so a query's bits do not depend on which others share its tile. A weight that is not
// visible is an exact 0 and adds nothing to any sum; where values are NaN or infinite, so that 0 times them is
// not 0, they are added lane by lane under a mask.
#pragma once

#include "weigh.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int64_t kBlock = 128;        // keys whose weights are stored before they meet the values
constexpr float kMostWeight = 256.0f;  // of a micro-tile, before the reference moves
static_assert(kOddKeys % kBlock == 0);

constexpr int kSums = 2;  // of weights, at most: see Weights


// One tile of queries on its way over the keys. Arrays are [.][kTile], a column a query.
struct State {
    const QueryTile* tile;
    int32_t* q;  // [depth]
    int32_t* p;  // [kBlock] weights, or half as many pairs; the tiles of a unit share it
    float* o;    // [columns, rounded up to kLanes]; null for lse alone
    int64_t run, key;    // where it has come to: a run of tile->rows, a key
    bool placed;         // whether all its references have been near its scores; only matrix/walk.h asks, and
    bool odd;            // whether some element of q is NaN or infinite
    uint32_t far;        // queries that had a reference too far from 0, a bit each
    float reference[kTile];    // a level of the scores (see Bits): weights are relative to it
    float sum[kSums][kTile];   // of weights, up to this block
    float block[kSums][kTile]; // of weights, in this block: apart, so that long sums round less
};

// A reference in bits from which on its rounding counts: it is then off by as much as a weight is from the next. Infinities are none.
constexpr float kFar = 0x1p24f;

// To be called where references have moved.
template <bool kInBits>
static void note_far(State& state) {
    if constexpr (kInBits) {
        for (int i = 0; i < kTile; ++i) {
            const float level = __builtin_fabsf(state.reference[i]);
            if (level >= kFar && level < kHuge) state.far |= 1u << i;
        }
    }
}

constexpr int64_t kNoBlock = INT64_MAX;

// The block of keys that is next for each tile, and the first of these.
static int64_t next_blocks(const State* states, int n, int64_t* next) {
    int64_t block = kNoBlock;
    for (int t = 0; t < n; ++t) {
        const State& state = states[t];
        const Rows& rows = *state.tile->rows;
        next[t] = kNoBlock;
        if (state.run < rows.n_runs) {
            const int64_t first = rows.runs[state.run].first;
            next[t] = (state.key > first ? state.key : first) / kBlock;
        }
        if (next[t] < block) block = next[t];
    }
    return block;
}

// The micro-tiles of a block whose weights wait for their values.
struct Pending {
    int count = 0;
    int64_t rows[kBlock / kMicro];           // of v
    const uint32_t* masks[kBlock / kMicro];  // null: all lanes see all keys
    int64_t step[kBlock / kMicro];           // in masks, from key to key
};

// The walk of one kind of call. kValues: whether there is an output, or lse alone.
//
// The weights of each micro-tile are made while the scores of the next are summed (see `score`).
template <Unit kUnit, int kExtra, bool kValues>
struct Walk {
    using W = Weights<kUnit, kValues>;
    using In = BitsFor<kUnit, kExtra>;
    using Total = typename W::Total;
    static constexpr int kSteps = W::kSteps, kTotals = W::kTotals;

    const Scoring& scoring;
    const Head& head;

    // Lets the weights that wait meet their values.
    void settle(State& state, Pending& pending) const {
        if constexpr (kValues) {
            if (pending.count == 0) return;
            if (head.odd[pending.rows[0] * kMicro / kSteps / kOddKeys]) {
                settle_odd(state, pending);
            } else {
                accumulate<kUnit>(Values{head.v, head.v_stride}, pending.rows, pending.count, state.p, scoring.columns, state.o);
            }
        }
        pending.count = 0;
    }

    // The same where a value may be NaN or infinite: lanes that do not see a key leave it out.
    [[gnu::noinline]] void settle_odd(State& state, const Pending& pending) const {
        constexpr bool kPair = is_pairs(kUnit);
        const Values values{head.v, head.v_stride};
        const auto whole = [](Int word, int j) { return kPair ? element(word, j) : bits(word); };
        for (int c = 0; c < scoring.columns; ++c) {
            for (int i = 0; i < pending.count * kMicro; ++i) {
                const int m = i / kMicro, j = i % kMicro, step = kPair ? j / 2 : j;
                const uint32_t word = pending.masks[m] ? pending.masks[m][j * pending.step[m]] : ~0u;
                const Float value = whole(same(values.at(pending.rows[m] + step, c / kSub * kSub)[c % kSub]), j);
                for (int v = 0; v < kVectors; ++v) {
                    const Float weight = whole(load(state.p + (m * kSteps + step) * kTile + v * kLanes), j);
                    float* to = state.o + c * kTile + v * kLanes;
                    const Float before = load(to);
                    store(to, choose(lanes(word >> (v * kLanes)), fma(weight, value, before), before));
                }
            }
        }
    }

    // Moves the reference of the lanes whose weights of this micro-tile are too large, and weighs it again.
    [[gnu::noinline]] void move(const In& in, const Fresh& fresh, State& state, Pending& pending,
                                Total& total) const {
        Float reference[kVectors], factor[kVectors];
        bool begun = false;
        for (int v = 0; v < kVectors; ++v) {
            Float top = same(-kHuge);
            for (int j = 0; j < kMicro; ++j) {
                Float level = in.level(load(fresh.scores + j * kTile + v * kLanes), v, fresh.key + j);
                if (fresh.masks) level = choose(lanes(fresh.masks[j * fresh.step] >> (v * kLanes)), level, top);
                top = max(level, top);
            }
            const Float before = load(state.reference + v * kLanes);
            const Mask moves = not_at_most(total.of[0][v], same(kMostWeight));
            reference[v] = choose(moves, min(in.ahead(top), same(kHuge)), before);
            store(state.reference + v * kLanes, reference[v]);
            factor[v] = choose(moves, exp2<5>(in.apart(before, reference[v])), same(1.0f));
            for (int i = 0; i < kTotals; ++i) {
                float *sum = state.sum[i] + v * kLanes, *block = state.block[i] + v * kLanes;
                begun |= any(both(moves, not_at_most(add(load(sum), load(block)), same(0.0f))));
                store(sum, mul(load(sum), factor[v]));
                store(block, mul(load(block), factor[v]));
            }
        }
        note_far<In::kInBits>(state);
        if (begun) {  // otherwise all that there is of the lanes that move is 0
            settle(state, pending);
            for (int c = 0; kValues && c < scoring.columns; ++c) {
                for (int v = 0; v < kVectors; ++v) {
                    float* to = state.o + c * kTile + v * kLanes;
                    store(to, mul(load(to), factor[v]));
                }
            }
        }
        int32_t* p = state.p + pending.count * kSteps * kTile;
        total = fresh.masks ? weigh_alone<true, true>(in, fresh, p, reference) : weigh_alone<false, true>(in, fresh, p, reference);
    }

    template <bool kMasked, bool kMoved>
    [[gnu::always_inline]] static inline Total weigh_alone(const In& in, const Fresh& fresh, int32_t* p,
                                                           const Float* reference) {
        Weigh<kUnit, kExtra, kValues, kMasked, kMoved> weigh{in, fresh, p, reference};
        LB_UNROLL
        for (int piece = 0; piece < kPieces; ++piece) weigh(piece);
        return weigh.total;
    }

    // The micro-tile's weights are made: they join the sums, and wait for their values.
    [[gnu::always_inline]] inline void enter(const In& in, const Fresh& fresh, State& state,
                                             Pending& pending, Total& total) const {
        bool moves = false;
        for (int v = 0; v < kVectors; ++v) moves |= any(not_at_most(total.of[0][v], same(kMostWeight)));
        if (__builtin_expect(moves, 0)) move(in, fresh, state, pending, total);
        LB_UNROLL
        for (int i = 0; i < kTotals; ++i) {
            for (int v = 0; v < kVectors; ++v) {
                float* block = state.block[i] + v * kLanes;
                store(block, add(load(block), total.of[i][v]));
            }
        }
        pending.rows[pending.count] = fresh.key / kMicro * kSteps;
        pending.masks[pending.count] = fresh.masks;
        pending.step[pending.count] = fresh.step;
        ++pending.count;
    }

    // The scores of `next`, and beside them the weights of `fresh`. Each may be null.
    template <bool kMasked>
    void advance(const In& in, const Fresh* fresh, const Fresh* next, State& state, Pending& pending) const {
        Float reference[kVectors];
        for (int v = 0; v < kVectors; ++v) reference[v] = load(state.reference + v * kLanes);
        Total total;
        int32_t* p = state.p + pending.count * kSteps * kTile;
        if constexpr (!kBeside) {
            if (fresh) total = weigh_alone<kMasked, false>(in, *fresh, p, reference);
            if (next) multiply<kUnit>(state.q, turned_at(head.k, next->key, scoring.depth), scoring.depth, next->scores);
        } else if (next) {
            const int32_t* k = head.k + next->key * head.k_stride;
            Scores scores;
            if (fresh) {
                Weigh<kUnit, kExtra, kValues, kMasked, false> weigh{in, *fresh, p, reference};
                score<kUnit>(state.q, k, head.k_stride, scoring.depth, scores, weigh);
                total = weigh.total;
            } else {
                score<kUnit>(state.q, k, head.k_stride, scoring.depth, scores);
            }
            LB_UNROLL
            for (int j = 0; j < kMicro; ++j) {
                LB_UNROLL
                for (int v = 0; v < kVectors; ++v) store(next->scores + j * kTile + v * kLanes, scores.of[j][v]);
            }
        } else if (fresh) {
            total = weigh_alone<kMasked, false>(in, *fresh, p, reference);
        }
        if (fresh) enter(in, *fresh, state, pending, total);
    }

    // The keys of one block that the tile visits.
    void visit_block(State& state, int64_t end) const {
        const Rows& rows = *state.tile->rows;
        const In in = In::make(scoring, *state.tile);
        Pending pending;
        alignas(64) float scores[2][kMicro * kTile];
        Fresh buffers[2] = {{scores[0]}, {scores[1]}};
        Fresh *fresh = nullptr, *next = &buffers[0];
        const auto advance_to = [&](Fresh* to) {
            if (fresh && fresh->masks) advance<true>(in, fresh, to, state, pending);
            else advance<false>(in, fresh, to, state, pending);
        };
        while (state.run < rows.n_runs && rows.runs[state.run].first < end) {
            const Run& run = rows.runs[state.run];
            const int64_t stop = run.stop < end ? run.stop : end;
            int64_t key = state.key > run.first ? state.key : run.first;
            for (; key < stop; key += kMicro) {
                next->key = key;
                next->masks = run.masks ? run.masks + (key - run.first) * run.step : nullptr;
                next->step = run.step;
                advance_to(next);
                fresh = next;
                next = &buffers[fresh == &buffers[0]];
            }
            state.key = key;
            if (key < run.stop) break;
            ++state.run;
        }
        advance_to(nullptr);
        settle(state, pending);
        for (int i = 0; i < kTotals; ++i) {
            for (int v = 0; v < kTile; v += kLanes) {
                store(state.sum[i] + v, add(load(state.sum[i] + v), load(state.block[i] + v)));
                store(state.block[i] + v, same(0.0f));
            }
        }
    }

    // Takes the block of keys that is next for any tile, gives it to all tiles that visit it, and so on.
    void run(State* states, int n) const {
        for (;;) {
            int64_t next[kMostTiles];
            const int64_t block = next_blocks(states, n, next);
            if (block == kNoBlock) return;
            for (int t = 0; t < n; ++t) {
                if (next[t] == block) visit_block(states[t], (block + 1) * kBlock);
            }
        }
    }
};

}  // namespace lookbehind::LOOKBEHIND_SET
