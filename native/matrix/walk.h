// The walk of tiles of queries over their keys where the matrix unit multiplies and the vectors only weigh.
//
// While a group of keys is weighed, the mill (mill.h) multiplies the next group's scores, and a share of the values of the
// block before: as many steps beside each micro-tile as beside any other. As in walk.h, references move seldom and for each
// query by itself; but they move between groups, because the matrix unit adds up a group's products before they join a sum:
// cut elsewhere, a query's bits would depend on the others in its tile. They begin near the first scores that a query has.
#pragma once

#include "mill.h"
#include "visits.h"
#include "weigh.h"

namespace lookbehind::LOOKBEHIND_SET {

// Groups of a block. A tile's scores, weights, queries and outputs are to stay in the first cache: the larger its blocks, the
// more weights there are; the smaller, the more often its outputs are fetched and put back.
constexpr int groups_of(const Scoring& scoring) { return scoring.columns <= 64 ? 2 : kMostGroups; }

// Words of what a walk works with: scores of two groups, weights of two blocks, and the products that are planned.
struct MatrixRoom {
    static constexpr int64_t scores = 2 * kGroup * kTile;
    int64_t weights, products;

    explicit MatrixRoom(const Scoring& scoring)
        : weights(2 * groups_of(scoring) * kSide * kTile * scoring.parts),
          products((groups_of(scoring) + scoring.columns / kGroup) * static_cast<int64_t>(sizeof(Product)) / 4) {}

    // In whole cache lines, for what comes behind.
    int64_t words() const { return (scores + weights + products + 15) / 16 * 16; }
};

// kValues: whether there is an output, or lse alone.
template <Unit kUnit, int kExtra, bool kValues>
class MatrixWalk {
public:
    static constexpr int kParts = parts_of(kUnit);
    static constexpr bool kOfThirds = kUnit == Unit::thirds;
    using W = Weights<kUnit, kValues>;
    using In = BitsFor<kUnit, kExtra>;
    using Total = typename W::Total;

    // room: as many words as MatrixRoom says.
    MatrixWalk(const Scoring& scoring, const Head& head, int32_t* room)
        : scoring_(scoring), head_(head), groups_(groups_of(scoring)), scores_(reinterpret_cast<float*>(room)),
          weights_(room + MatrixRoom::scores),
          products_(reinterpret_cast<Product*>(weights_ + MatrixRoom(scoring).weights)) {}

    void run(State* states, int n) {
        const Shaped shaped;
        BlockVisits visits(states, n, groups_, region());
        BlockVisit ring[3];
        BlockVisit *before = &ring[0], *now = &ring[1];
        after_ = &ring[2];
        if (!visits.next(*now)) return;
        run_scores(*now, 0, scores_at(0));
        for (int turn = 0; now; ++turn) {
            if (!visits.next(*after_)) after_ = nullptr;
            now->p = weights_ + turn % 2 * groups_ * kParts * kSide * kTile;
            const In in = In::make(scoring_, *now->state->tile);
            plan(*now, 0);
            for (int g = 0; g < now->n; ++g) {
                weigh(in, *now, g);
                // Values may wait in their registers until the mill needs these.
                if (mill_.holds(scores_at(g + 1))) mill_.put_down();
            }
            side_ ^= now->n & 1;
            owe_values(*now);
            add_block(*now->state);
            BlockVisit* const done = before;
            before = now;
            now = after_;
            after_ = done;
        }
        finish_values();
    }

private:
    // Blocks of a region: their keys and values fill a part of the second cache.
    int64_t region() const {
        constexpr int64_t kCache = int64_t{512} << 10;
        const int64_t bytes = groups_ * kGroup * (scoring_.depth * 4 + scoring_.columns * kParts * 2);
        return bytes < kCache ? kCache / bytes : 1;
    }

    // -- what the mill is to do ---------------------------------------------------------------------------------

    // Of group g of the visit, and of the groups before and after it by turns.
    float* scores_at(int g) const { return scores_ + ((side_ + g) & 1) * kGroup * kTile; }

    void set_scores_of(Product& product, const BlockVisit& visit, int g, float* c) const {
        const int32_t* const keys = head_.k + visit.groups[g].key * head_.k_stride;
        set_scores<kOfThirds>(product, keys, head_.k_stride, visit.state->q, scoring_.depth, c);
    }

    void run_scores(const BlockVisit& visit, int g, float* c) {
        set_scores_of(products_[0], visit, g, c);
        mill_.run(products_[0]);
    }

    // Columns [column, column + kGroup), of the groups before `stop` that are not settled.
    void set_values(Product& product, const BlockVisit& visit, int64_t column, int stop) const {
        const int64_t words = scoring_.columns * kSide;  // of a group of values
        product.a = head_.v + visit.block * groups_ * kParts * words + column * kSide;
        product.a_stride = kSide * 4;
        product.a_step = words * kParts * 4;
        product.a_third = words * 4;
        product.places = visit.places + visit.settled;
        product.b = weights_of(visit, visit.settled, 0);
        product.b_step = kParts * kSide * kTile;
        product.b_third = kThirdOfWeights;
        product.c = visit.state->o + column * kTile;
        product.steps = stop - visit.settled;
        product.adds = !visit.first || visit.settled > 0;
    }

    void run_values(const BlockVisit& visit, int stop) {
        for (int64_t column = 0; column < scoring_.columns; column += kGroup) {
            set_values(products_[0], visit, column, stop);
            mill_.run(products_[0]);
        }
    }

    // What is to be done while the groups from `first` on are weighed: of each, the scores of the next, then its share of
    // the values that are owed.
    void plan(const BlockVisit& visit, int first) {
        Product* product = products_;
        int64_t column = 0;
        for (int g = first; g < visit.n; ++g) {
            steps_[g] = 0;
            const bool last = g + 1 == visit.n;
            if (!last || after_) {
                set_scores_of(*product, last ? *after_ : visit, last ? 0 : g + 1, scores_at(g + 1));
                steps_[g] = static_cast<int>(product++->steps);
            }
            if (owing_ == nullptr) continue;
            const int64_t stop = column + (scoring_.columns - column) / (visit.n - g) / kGroup * kGroup;
            for (; column < stop; column += kGroup) {
                set_values(*product, *owing_, column, owing_->n);
                steps_[g] += static_cast<int>(product++->steps);
            }
        }
        owing_ = nullptr;
        mill_.begin(products_, static_cast<int>(product - products_));
    }

    // Lets the values that are planned come at once; scores are to be planned anew.
    void hurry_values() {
        mill_.put_down();
        const Product* const end = mill_.end();
        for (const Product* product = mill_.next(); product != end; ++product) {
            if (product->places) mill_.run(*product);  // scores have none
        }
    }

    // The weights of the visit are to meet their values while the next is weighed.
    void owe_values(BlockVisit& visit) {
        if constexpr (kValues) {
            if (is_odd(visit)) return settle_odd(visit, visit.n);
            if (visit.settled < visit.n) owing_ = &visit;
        }
    }

    void finish_values() {
        mill_.put_down();
        if (owing_) run_values(*owing_, owing_->n);
        owing_ = nullptr;
    }

    // -- weights ------------------------------------------------------------------------------------------------

    static int32_t* weights_of(const BlockVisit& visit, int g, int m) {
        return visit.p + (g * kParts * kSide + m * W::kSteps) * kTile;
    }

    // Weighs a group, and takes the steps of the mill that are planned beside it.
    void weigh(const In& in, BlockVisit& visit, int g) {
        State& state = *visit.state;
        if (kOfThirds && (state.odd || head_.odd_keys[visit.groups[g].key / kOddKeys])) {
            const int32_t* const keys = head_.k + visit.groups[g].key * head_.k_stride;
            mend_scores(keys, head_.k_stride, state.q, scoring_.depth, scores_at(g));
        }
        if (__builtin_expect(!state.placed, 0)) place(in, visit, g);
        Total total = weigh_all(in, visit, g, steps_[g]);
        bool moves = false;
        for (int v = 0; v < kVectors; ++v) moves |= any(not_at_most(total.of[0][v], same(kMostWeight)));
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
            if (!group.whole && !group.visited[m]) {
                for (int part = 0; kValues && part < kParts; ++part) {
                    memset(p + part * kThirdOfWeights, 0, W::kSteps * kTile * 4);
                }
                mill_.steps(here);
                continue;
            }
            const Fresh fresh = fresh_of(group, g, m);
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
        MatrixWeigh<kUnit, kExtra, kValues, kMasked> weigh{in, fresh, p, reference};
        work_beside<kPieces, Mill<kOfThirds>::kMultiplications>(
            steps, [&](const auto& beside) __attribute__((always_inline)) { mill_.step(beside); },
            [&](int n) { mill_.steps(n); },
            [&](auto piece) __attribute__((always_inline)) { weigh(piece.value); },
            [&] { if (!mill_.amid()) mill_.put_down(); });
        total = weigh.total;
    }

    Fresh fresh_of(const Group& group, int g, int m) const {
        float* const scores = scores_at(g) + m * kMicro * kTile;
        if (group.whole) return {scores, group.key + m * kMicro};
        return {scores, group.key + m * kMicro, group.masks[m], group.step[m]};
    }

    // The reference that a group's scores ask for.
    Float reference_for(const In& in, const BlockVisit& visit, int g, int v) const {
        const Group& group = visit.groups[g];
        Float top = same(-kHuge);
        for (int m = 0; m < kMicros; ++m) {
            if (!group.whole && !group.visited[m]) continue;
            const Fresh fresh = fresh_of(group, g, m);
            for (int j = 0; j < kMicro; ++j) {
                Float level = in.level(load(fresh.scores + j * kTile + v * kLanes), v, fresh.key + j);
                if (fresh.masks) level = choose(lanes(fresh.masks[j * fresh.step] >> (v * kLanes)), level, top);
                top = max(level, top);
            }
        }
        return min(in.ahead(top), same(kHuge));
    }

    // Gives the queries that have none a reference, if they see a key of the group.
    [[gnu::noinline]] void place(const In& in, const BlockVisit& visit, int g) const {
        visit.state->placed = true;
        for (int v = 0; v < kVectors; ++v) {
            float* const place = visit.state->reference + v * kLanes;
            const Mask none = equal(load(place), same(-kHuge));
            const Float reference = choose(none, reference_for(in, visit, g, v), load(place));
            store(place, reference);
            if (any(equal(reference, same(-kHuge)))) visit.state->placed = false;
        }
        note_far<In::kInBits>(*visit.state);
    }

    // Moves the references of the queries whose weights in this group are too large, and weighs it again.
    [[gnu::noinline]] void move(const In& in, BlockVisit& visit, int g, Total& total) {
        State& state = *visit.state;
        Float factor[kVectors];
        bool begun = false;
        for (int v = 0; v < kVectors; ++v) {
            float* const place = state.reference + v * kLanes;
            const Float before = load(place);
            const Mask moves = not_at_most(total.of[0][v], same(kMostWeight));
            const Float reference = choose(moves, reference_for(in, visit, g, v), before);
            store(place, reference);
            factor[v] = choose(moves, exp2<5>(in.apart(before, reference)), same(1.0f));
            for (int i = 0; i < W::kTotals; ++i) {
                float *sum = state.sum[i] + v * kLanes, *block = state.block[i] + v * kLanes;
                begun |= any(both(moves, not_at_most(add(load(sum), load(block)), same(0.0f))));
                store(sum, mul(load(sum), factor[v]));
                store(block, mul(load(block), factor[v]));
            }
        }
        note_far<In::kInBits>(state);
        if (begun && kValues) {  // otherwise all that there is of the queries that move is 0
            hurry_values();
            settle(visit, g);
            plan(visit, g + 1);
            for (int c = 0; c < scoring_.columns; ++c) {
                for (int v = 0; v < kVectors; ++v) {
                    float* to = state.o + c * kTile + v * kLanes;
                    store(to, mul(load(to), factor[v]));
                }
            }
        }
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

    bool is_odd(const BlockVisit& visit) const { return head_.odd[visit.block * groups_ * kGroup / kOddKeys]; }

    // Lets the weights of groups before `stop` meet their values at once.
    void settle(BlockVisit& visit, int stop) {
        if (is_odd(visit)) return settle_odd(visit, stop);
        if (visit.settled < stop) run_values(visit, stop);
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
                Product& product = products_[0];
                set_values(product, visit, column, visit.settled + 1);
                product.a = finite;
                product.a_third = sizeof finite[0];
                product.places = nullptr;
                mill_.run(product);
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
        if (!group.whole && !group.visited[m]) return;
        const int32_t* const weights = weights_of(visit, visit.settled, 0) + j / 2 * kTile;
        for (int half = 0; half < 2; ++half) {
            if (half ? (pair & 0x7f800000) != 0x7f800000 : (pair & 0x7f80) != 0x7f80) continue;
            const uint32_t sees = !group.whole && group.masks[m] ? group.masks[m][(j + half) % kMicro * group.step[m]] : ~0u;
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
    const int groups_;        // of a block
    float* const scores_;     // [2][kGroup][kTile]: of the group that is weighed, and of the next
    int32_t* const weights_;  // [2][groups_][kParts][kSide][kTile] pairs: of the block that is weighed, and of the one before
    Product* const products_; // that are planned
    int side_ = 0;            // of scores_, where a visit's first group has its own
    BlockVisit* after_ = nullptr;   // the visit to come
    BlockVisit* owing_ = nullptr;   // the visit whose values are to be planned
    int steps_[kMostGroups];    // of the mill, planned beside each group
    Mill<kOfThirds> mill_;
};

}  // namespace lookbehind::LOOKBEHIND_SET
