// attend and logsumexp over tiles of queries: packs them, lets them walk, writes what they bring back.
#pragma once

#include "pack.h"
#include "walk.h"
#ifdef LB_HAS_MATRIX
#include "matrix/walk.h"
#endif

namespace lookbehind::LOOKBEHIND_SET {

// The sink joins the sums; then lse, and what the output is to be multiplied by.
template <Unit kUnit, int kExtra, int kTotals>
static void close(const Scoring& scoring, State& state, Float (&factor)[kVectors]) {
    const QueryTile& tile = *state.tile;
    const auto in = BitsFor<kUnit, kExtra>::make(scoring, tile);
    uint32_t empty = 0;
    for (int row = 0; row < tile.live; ++row) empty |= (tile.row_ptr[row] == tile.row_ptr[row + 1] ? 1u : 0u) << row;
    float lse[kTile];
    for (int v = 0; v < kVectors; ++v) {
        const Float reference = load(state.reference + v * kLanes);
        Float sum = load(state.sum[0] + v * kLanes), rounded = load(state.sum[kTotals - 1] + v * kLanes);
        Float base = in.nats(reference), moved = same(1.0f);
        if (scoring.sinks) {
            // Relative to the larger of the two: the sink, or the reference.
            const Float sink = same(tile.sink), above = in.bits_above(sink, reference);
            const Mask larger = less(same(0.0f), above);
            moved = choose(larger, exp2<5>(sub(same(0.0f), above)), same(1.0f));
            const Float more = choose(larger, same(1.0f), exp2<5>(above));
            sum = fma(sum, moved, more);
            rounded = fma(rounded, moved, more);
            base = choose(larger, sink, base);
        }
        const Mask none = lanes(empty >> (v * kLanes));
        store(lse + v * kLanes, choose(none, same(-kInfinity), add(base, log(sum))));
        const Float whole = choose(equal(rounded, same(0.0f)), same(0.0f), div(moved, rounded));
        factor[v] = choose(none, same(0.0f), whole);
    }
    if (tile.lse) memcpy(tile.lse, lse, static_cast<size_t>(tile.live) * 4);
}

// Turns the output back into rows, scaled.
static void write(const Scoring& scoring, State& state, const Float (&factor)[kVectors]) {
    const QueryTile& tile = *state.tile;
    const int64_t bytes = scoring.type == Type::float32 ? 4 : 2;
    const auto scaled = [&](int64_t c, int v) { return mul(load(state.o + c * kTile + v * kLanes), factor[v]); };
    // Whole rows of words, if the output is made of such: floats, or pairs of bfloat16.
    const bool twos = kDot && scoring.type == Type::bfloat16 && tile.out_stride % 2 == 0;
    const bool words = tile.live == kTile && (scoring.type == Type::float32 || twos);
    int64_t step;
    for (int64_t c = 0; c < scoring.value_columns; c += step) {
        const int64_t rest = scoring.value_columns - c, columns = rest < kLanes ? rest : kLanes;
        const bool whole = words && rest >= (twos ? 2 : 1) * kLanes;
        step = whole && twos ? 2 * kLanes : kLanes;
        for (int v = 0; v < kVectors; ++v) {
            int32_t column[kLanes * kLanes], rows[kLanes * kLanes];
            LB_UNROLL
            for (int i = 0; i < kLanes; ++i) {
                if constexpr (kDot) {
                    if (whole && twos) {
                        store(column + i * kLanes, pairs(scaled(c + 2 * i, v), scaled(c + 2 * i + 1, v)));
                        continue;
                    }
                }
                store(column + i * kLanes, bits(scaled(c + i, v)));
            }
            const int64_t first = v * kLanes * tile.out_stride + c;
            if (whole) {
                const int64_t word = twos ? 2 : 1;
                transpose(column, kLanes, static_cast<int32_t*>(tile.out) + first / word, tile.out_stride / word);
                continue;
            }
            transpose(column, kLanes, rows, kLanes);
            char* to = static_cast<char*>(tile.out) + first * bytes;
            for (int row = 0; row < kLanes && v * kLanes + row < tile.live; ++row, to += tile.out_stride * bytes) {
                narrow_row(scoring.type, reinterpret_cast<const float*>(rows) + row * kLanes, columns, to);
            }
        }
    }
}

// Asks for rows of elements that are needed soon; to be written on, or read. A tile's rows are a page or two, which end before
// the processor has begun to fetch by itself.
template <bool kToWrite>
static void fetch_rows(Type type, const void* first, int64_t stride, int64_t width, int64_t n) {
    const int64_t bytes = type == Type::float32 ? 4 : 2;
    const char* row = static_cast<const char*>(first);
    for (int64_t i = 0; i < n; ++i, row += stride * bytes) {
        for (int64_t at = 0; at < width * bytes; at += 64) __builtin_prefetch(row + at, kToWrite, 2);
    }
}

// Words that the tiles of a unit share: for what waits between scores and values, or for queries to be turned.
static int64_t weights_room(const Scoring& scoring, int64_t depth) {
    int64_t room = (depth > kBlock ? depth : kBlock) * kTile;
#ifdef LB_HAS_MATRIX
    const int64_t words = MatrixRoom(scoring).words();
    if (scoring.matrix && room < words) room = words;
#endif
    (void)scoring;
    return room;
}

static size_t attend_scratch(const Scoring& scoring, int tiles) {
    const int64_t depth = rounded_up(scoring.depth, kLanes), columns = rounded_up(scoring.columns, kLanes);
    return static_cast<size_t>(((depth + columns) * tiles * kTile + weights_room(scoring, depth)) * 4);
}

template <Unit kUnit, int kExtra, bool kValues>
static void attend_as(const Scoring& scoring, const Head& head, const QueryTile* tiles, int n, void* scratch) {
    const int64_t depth = rounded_up(scoring.depth, kLanes), columns = rounded_up(scoring.columns, kLanes);
    State states[kMostTiles];
    int32_t* room = static_cast<int32_t*>(scratch);
    int32_t* p = room;
    room += weights_room(scoring, depth);
    for (int t = 0; t < n; ++t) {
        State& state = states[t];
        state.tile = &tiles[t];
        if (t + 1 < n) fetch_rows<false>(scoring.type, tiles[t + 1].q, tiles[t + 1].q_stride, tiles[t + 1].width, tiles[t + 1].live);
        if (kValues) fetch_rows<true>(scoring.type, tiles[t].out, tiles[t].out_stride, scoring.value_columns, tiles[t].live);
        state.p = p;
        state.q = room;
        room += depth * kTile;
        state.o = reinterpret_cast<float*>(room);
        room += columns * kTile;
        state.run = state.key = 0;
        state.far = 0;
        state.placed = false;
        pack_queries(scoring, tiles[t], p, state.q);
        state.odd = kUnit == Unit::thirds && odd(state.q, kTile, depth / kThirds, kTile, true);
        for (int i = 0; i < kTile; i += kLanes) {
            store(state.reference + i, same(-kHuge));
            for (int sum = 0; sum < kSums; ++sum) {
                store(state.sum[sum] + i, same(0.0f));
                store(state.block[sum] + i, same(0.0f));
            }
        }
        if (kValues && (!is_matrix(kUnit) || state.tile->rows->n_runs == 0)) {
            memset(state.o, 0, static_cast<size_t>(columns * kTile) * 4);
        }
    }
#ifdef LB_HAS_MATRIX
    if constexpr (is_matrix(kUnit)) MatrixWalk<kUnit, kExtra, kValues>(scoring, head, p).run(states, n);
    else
#endif
    Walk<kUnit, kExtra, kValues>{scoring, head}.run(states, n);
    for (int t = 0; t < n; ++t) {
        Float factor[kVectors];
        close<kUnit, kExtra, Weights<kUnit, kValues>::kTotals>(scoring, states[t], factor);
        if (kValues) write(scoring, states[t], factor);
        *tiles[t].far = states[t].far;
    }
}

static void attend(const Scoring& scoring, const Head& head, const QueryTile* tiles, int n, void* scratch) {
    with_extra(scoring, [&]<int kExtra>() {
        if constexpr (kDot) {
            if (scoring.type == Type::bfloat16) {
                return scoring.columns ? attend_as<kPairs, kExtra, true>(scoring, head, tiles, n, scratch)
                                       : attend_as<kPairs, kExtra, false>(scoring, head, tiles, n, scratch);
            }
        }
        return scoring.columns ? attend_as<kReals, kExtra, true>(scoring, head, tiles, n, scratch)
                               : attend_as<kReals, kExtra, false>(scoring, head, tiles, n, scratch);
    });
}

}  // namespace lookbehind::LOOKBEHIND_SET
