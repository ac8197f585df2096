// The walk of tiles of queries over their keys where the matrix unit multiplies and the vectors only weigh.
//
// While a group of keys is weighed, the mill (mill.h) multiplies the next group's scores, and the values of the block
// before. As in walk.h, references move seldom and for each query by itself; but they move between groups, because
// the matrix unit adds up a group's products before they join a sum: cut elsewhere, a query's bits would depend on
// the others in its tile. The first group a tile visits moves all of them at once.
#pragma once

#include "mill.h"
#include "visits.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int64_t kScoresRoom = 2 * kGroup * kTile;  // words

constexpr int64_t matrix_room(int parts) { return kScoresRoom + 2 * (kBlock / 2) * kTile * parts; }  // words

// kValues: whether there is an output, or lse alone.
template <Unit kUnit, int kExtra, bool kValues>
class MatrixWalk {
public:
    static constexpr int kParts = parts_of(kUnit);
    static constexpr bool kOfThirds = kUnit == Unit::thirds;
    using W = Weights<kUnit, kValues>;
    using In = BitsFor<kUnit, kExtra>;
    using Total = typename W::Total;

    // room: matrix_room(kParts) words.
    MatrixWalk(const Scoring& scoring, const Head& head, int32_t* room)
        : scoring_(scoring), head_(head), scores_(reinterpret_cast<float*>(room)), weights_(room + kScoresRoom) {}

    void run(State* states, int n) {
        const Shaped shaped;
        BlockVisits visits(states, n);
        BlockVisit ring[3];
        BlockVisit *before = &ring[0], *now = &ring[1], *after = &ring[2];
        bool more = visits.next(*now);
        if (!more) return;
        begin_scores(*now, 0);
        mill_.finish();
        side_ ^= 1;
        for (int turn = 0; more; ++turn) {
            more = visits.next(*after);
            now->p = weights_ + turn % 2 * kParts * (kBlock / 2) * kTile;
            const In in = In::make(scoring_, *now->state->tile);
            for (int g = 0; g < now->n; ++g) {
                if (g + 1 < now->n) begin_scores(*now, g + 1);
                else if (more) begin_scores(*after, 0);
                weigh(in, *now, g, pace(now->n - g));
                side_ ^= 1;
                // Values may wait in their registers until the mill needs these.
                if (mill_.busy() || mill_.holds(scores_at(side_))) mill_.finish();
            }
            finish_values();
            owe_values(*now);
            add_block(*now->state);
            BlockVisit* const done = before;
            before = now;
            now = after;
            after = done;
        }
        finish_values();
    }

private:
    static_assert(kPieces == 8);

    // -- the mill: scores of the group to come first, then values of the block before, some columns a group -------

    float* scores_at(int side) const { return scores_ + side * kGroup * kTile; }

    void begin_scores(const BlockVisit& visit, int g) {
        const int32_t* const keys = head_.k + visit.groups[g].key * head_.k_stride;
        mill_.begin_scores(keys, head_.k_stride, visit.state->q, scoring_.depth, scores_at(side_ ^ 1));
    }

    // Columns [column, column + kGroup), of the groups before `stop` that are not settled.
    void begin_values(const BlockVisit& visit, int64_t column, int stop) {
        prepare_values(visit, column, stop);
        mill_.begin();
    }

    void prepare_values(const BlockVisit& visit, int64_t column, int stop) {
        const int64_t words = scoring_.columns * kSide;  // of a group of values
        Product& values = mill_.next;
        values.a = head_.v + visit.block * kGroups * kParts * words + column * kSide;
        values.a_stride = kSide * 4;
        values.a_step = words * kParts * 4;
        values.a_third = words * 4;
        values.places = visit.places + visit.settled;
        values.b = weights_of(visit, visit.settled, 0);
        values.b_step = kParts * kSide * kTile;
        values.b_third = kThirdOfWeights;
        values.c = visit.state->o + column * kTile;
        values.steps = stop - visit.settled;
        values.adds = true;
    }

    // The weights of the visit are to meet their values while the next is weighed.
    void owe_values(BlockVisit& visit) {
        if constexpr (kValues) {
            if (is_odd(visit)) return settle_odd(visit, visit.n);
            if (visit.settled == visit.n) return;
            owing_ = &visit;
            column_ = 0;
        }
    }

    [[gnu::noinline]] bool begin_values() {
        if (owing_ == nullptr) return false;
        begin_values(*owing_, column_, owing_->n);
        column_ += static_cast<int>(kGroup);
        if (column_ == scoring_.columns) owing_ = nullptr;
        return true;
    }

    void finish_values() {
        do mill_.finish();
        while (begin_values());
    }

    // How many steps to take while the next of so many groups is weighed, for all values to be done with the last.
    int pace(int groups) const {
        int64_t steps = mill_.busy() ? scoring_.depth / kParts / kSide : 0;
        if (owing_) {
            const int products = (scoring_.columns - column_) / static_cast<int>(kGroup);
            steps += (products + groups - 1) / groups * (owing_->n - owing_->settled);
        }
        return static_cast<int>(steps);
    }

    template <class Beside>
    [[gnu::always_inline]] inline void mill(const Beside& beside) {
        if (!mill_.busy()) begin_values();
        mill_.step(beside);
    }

    [[gnu::noinline]] void mill_alone(int steps) {
        for (; steps > 0; --steps) mill([](auto) {});
    }

    // -- weights ------------------------------------------------------------------------------------------------

    static int32_t* weights_of(const BlockVisit& visit, int g, int m) {
        return visit.p + (g * kParts * kSide + m * W::kSteps) * kTile;
    }

    // Weighs a group, and takes so many steps of the mill beside that.
    void weigh(const In& in, BlockVisit& visit, int g, int steps) {
        State& state = *visit.state;
        if (kOfThirds && (state.odd || head_.odd_keys[visit.groups[g].key / kOddKeys])) {
            const int32_t* const keys = head_.k + visit.groups[g].key * head_.k_stride;
            mend_scores(keys, head_.k_stride, state.q, scoring_.depth, scores_at(side_));
        }
        Total total;
        bool moves = !state.placed;
        if (state.placed) {
            total = weigh_all(in, visit, g, steps);
            for (int v = 0; v < kVectors; ++v) moves |= any(not_at_most(total.of[0][v], same(kMostWeight)));
        } else {
            for (int i = 0; i < W::kTotals; ++i) {
                for (int v = 0; v < kVectors; ++v) total.of[i][v] = same(kInfinity);
            }
        }
        if (__builtin_expect(moves, 0)) move(in, visit, g, total);
        for (int i = 0; i < W::kTotals; ++i) {
            for (int v = 0; v < kVectors; ++v) {
                float* block = state.block[i] + v * kLanes;
                store(block, add(load(block), total.of[i][v]));
            }
        }
    }

    [[gnu::always_inline]] inline Total weigh_all(const In& in, const BlockVisit& visit, int g, int steps) {
        const Group& group = visit.groups[g];
        Float reference[kVectors];
        for (int v = 0; v < kVectors; ++v) reference[v] = load(visit.state->reference + v * kLanes);
        Total all;
        for (int i = 0; i < W::kTotals; ++i) {
            for (int v = 0; v < kVectors; ++v) all.of[i][v] = same(0.0f);
        }
        for (int m = 0; m < kMicros; ++m) {
            int32_t* const p = weights_of(visit, g, m);
            const int here = steps_of(steps, m);
            steps -= here;
            if (!group.visited[m]) {
                for (int part = 0; kValues && part < kParts; ++part) {
                    memset(p + part * kThirdOfWeights, 0, W::kSteps * kTile * 4);
                }
                mill_alone(here);
                continue;
            }
            const Fresh fresh = fresh_of(group, m);
            Total total;
            if (fresh.masks) weigh_one<true>(in, fresh, p, reference, here, total);
            else weigh_one<false>(in, fresh, p, reference, here, total);
            for (int i = 0; i < W::kTotals; ++i) {
                for (int v = 0; v < kVectors; ++v) all.of[i][v] = add(all.of[i][v], total.of[i][v]);
            }
        }
        return all;
    }

    template <bool kMasked>
    [[gnu::always_inline]] inline void weigh_one(const In& in, const Fresh& fresh, int32_t* p, const Float* reference,
                                                 int steps, Total& total) {
        Weigh<kUnit, kExtra, kValues, kMasked> weigh{in, fresh, p, reference};
        work_beside<kPieces, Mill<kOfThirds>::kMultiplications>(
            steps, [&](const auto& beside) __attribute__((always_inline)) { mill(beside); },
            [&](int n) { mill_alone(n); },
            [&](auto piece) __attribute__((always_inline)) { weigh(piece.value); },
            [&] { if (!mill_.busy()) mill_.put_down(); });
        total = weigh.total;
    }

    Fresh fresh_of(const Group& group, int m) const {
        return {scores_at(side_) + m * kMicro * kTile, group.key + m * kMicro, group.masks[m], group.step[m]};
    }

    // Moves the references of the queries whose weights in this group are too large, and weighs it again.
    [[gnu::noinline]] void move(const In& in, BlockVisit& visit, int g, Total& total) {
        State& state = *visit.state;
        const Group& group = visit.groups[g];
        Float factor[kVectors];
        bool begun = false;
        for (int v = 0; v < kVectors; ++v) {
            Float top = same(-kHuge);
            for (int m = 0; m < kMicros; ++m) {
                const Fresh fresh = fresh_of(group, m);
                for (int j = 0; group.visited[m] && j < kMicro; ++j) {
                    Float level = in.level(load(fresh.scores + j * kTile + v * kLanes), v, fresh.key + j);
                    if (fresh.masks) level = choose(lanes(fresh.masks[j * fresh.step] >> (v * kLanes)), level, top);
                    top = max(level, top);
                }
            }
            float* const place = state.reference + v * kLanes;
            const Float before = load(place);
            const Mask moves = not_at_most(total.of[0][v], same(kMostWeight));
            const Float reference = choose(moves, min(in.ahead(top), same(kHuge)), before);
            store(place, reference);
            factor[v] = choose(moves, exp2<5>(in.apart(before, reference)), same(1.0f));
            for (int i = 0; i < W::kTotals; ++i) {
                float *sum = state.sum[i] + v * kLanes, *block = state.block[i] + v * kLanes;
                begun |= any(both(moves, not_at_most(add(load(sum), load(block)), same(0.0f))));
                store(sum, mul(load(sum), factor[v]));
                store(block, mul(load(block), factor[v]));
            }
        }
        if (begun && kValues) {  // otherwise all that there is of the queries that move is 0
            finish_values();
            settle(visit, g);
            for (int c = 0; c < scoring_.columns; ++c) {
                for (int v = 0; v < kVectors; ++v) {
                    float* to = state.o + c * kTile + v * kLanes;
                    store(to, mul(load(to), factor[v]));
                }
            }
        }
        state.placed = true;
        total = weigh_all(in, visit, g, 0);
    }

    void add_block(State& state) const {
        for (int i = 0; i < W::kTotals; ++i) {
            for (int v = 0; v < kTile; v += kLanes) {
                store(state.sum[i] + v, add(load(state.sum[i] + v), load(state.block[i] + v)));
                store(state.block[i] + v, same(0.0f));
            }
        }
    }

    // -- values -------------------------------------------------------------------------------------------------

    bool is_odd(const BlockVisit& visit) const { return head_.odd[visit.block * kBlock / kOddKeys]; }

    // Lets the weights of groups before `stop` meet their values at once.
    void settle(BlockVisit& visit, int stop) {
        if (is_odd(visit)) return settle_odd(visit, stop);
        for (int64_t column = 0; column < scoring_.columns && visit.settled < stop; column += kGroup) {
            begin_values(visit, column, stop);
            mill_.finish();
        }
        visit.settled = stop;
    }

    // The same where a value may be NaN or infinite: those are left to the lanes that see their keys. The others get the
    // same sums, bit for bit, whatever such a value is.
    [[gnu::noinline]] void settle_odd(BlockVisit& visit, int stop) {
        const int64_t words = scoring_.columns * kSide;
        for (; visit.settled < stop; ++visit.settled) {
            const int32_t* const group = head_.v + visit.groups[visit.settled].key / kGroup * kParts * words;
            for (int64_t column = 0; column < scoring_.columns; column += kGroup) {
                alignas(64) int32_t finite[kParts][kGroup * kSide];
                for (int part = 0; part < kParts; ++part) {
                    const int32_t* const values = group + part * words + column * kSide;
                    for (int i = 0; i < kGroup * kSide; ++i) finite[part][i] = finite_of(values[i]);
                }
                prepare_values(visit, column, visit.settled + 1);
                mill_.next.a = finite;
                mill_.next.a_third = sizeof finite[0];
                mill_.next.places = nullptr;
                mill_.begin();
                mill_.finish();
                for (int i = 0; i < kGroup * kSide; ++i) {  // what is odd is all first third
                    const int32_t pair = group[column * kSide + i];
                    if (pair != finite[0][i]) add_odd(visit, column + i / kSide, i % kSide * 2, pair);
                }
            }
        }
    }

    // The halves that `finite_of` has taken away, of keys j and j + 1 of the group that is settled.
    void add_odd(const BlockVisit& visit, int64_t column, int j, int32_t pair) const {
        const Group& group = visit.groups[visit.settled];
        const int m = j / kMicro;
        if (!group.visited[m]) return;
        const int32_t* const weights = weights_of(visit, visit.settled, 0) + j / 2 * kTile;
        for (int half = 0; half < 2; ++half) {
            if (half ? (pair & 0x7f800000) != 0x7f800000 : (pair & 0x7f80) != 0x7f80) continue;
            const uint32_t sees = group.masks[m] ? group.masks[m][(j + half) % kMicro * group.step[m]] : ~0u;
            for (int v = 0; v < kVectors; ++v) {
                const Float weight = element(load(weights + v * kLanes), half);  // is 0 if its first third is
                float* const to = visit.state->o + column * kTile + v * kLanes;
                const Float before = load(to), value = element(same(pair), half);
                store(to, choose(lanes(sees >> (v * kLanes)), fma(weight, value, before), before));
            }
        }
    }

    const Scoring& scoring_;
    const Head& head_;
    float* const scores_;     // [2][kGroup][kTile]: of the group that is weighed, and of the next
    int32_t* const weights_;  // [2][kParts][kBlock / 2][kTile] pairs: of the block that is weighed, and of the one before
    int side_ = 1;            // of scores_, that is weighed
    Mill<kOfThirds> mill_;
    BlockVisit* owing_ = nullptr;  // whose values from column_ on are still to be begun
    int column_ = 0;
};

}  // namespace lookbehind::LOOKBEHIND_SET
