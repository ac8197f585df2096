// observe over one unit: the walk of each tile of queries over the keys it visits.
#pragma once

#include "../pack.h"
#include "../runtime.h"
#include "apart.h"
#include "careful.h"
#include "masses.h"
#include "pixels.h"
#include "ranks.h"

namespace lookbehind::LOOKBEHIND_SET {

// What the reductions of a call ask of each micro-tile.
LB_INLINE Asks asks_of(const ObserveCall& call) {
    Asks asks;
    const bool map = call.map_sum || call.map_max, map_of_weights = map && !call.map_of_scores;
    const bool by_key = call.distance || call.n_distances || call.n_masses;  // reductions that read single weights
    asks.received = call.received;
    asks.entropy = call.entropy;
    asks.best = call.top == 1 || (call.max_score && call.top == 0);
    const bool ranked = asks.best || call.top > 1 || call.map_max;
    asks.weights = call.received || call.entropy || by_key || (map_of_weights && call.map_sum);
    asks.sums = asks.weights;  // where nothing else does, they show a NaN
    asks.exponents = !asks.entropy && (ranked || call.map_of_scores);
    asks.keep_exponents = call.top > 1 || (map_of_weights && call.map_max);
    asks.keep_scores = map && call.map_of_scores;
    const bool aligned = map && call.n_keys % (kMicro * call.map_columns) == 0;
    asks.keep_weights = by_key || (map_of_weights && (call.map_max || !aligned));
    return asks;
}

// The micro-tiles that a tile of queries visits, one after another.
class Visits {
public:
    // live: the lanes that hold a query; a tile that lacks some sees all keys under a mask.
    Visits(const Rows& rows, int live) : run_(rows.runs), end_(rows.runs + rows.n_runs), all_live_(live == kTile) {
        live_ = static_cast<uint32_t>((uint64_t{1} << live) - 1);
        if (run_ != end_) key_ = run_->first;
    }

    [[gnu::always_inline]] inline bool next(Visit& visit) {
        if (run_ == end_) return false;
        if (run_->masks) {
            visit = {key_, run_->masks + (key_ - run_->first) * run_->step, run_->step};
        } else {
            visit = {key_, all_live_ ? nullptr : &live_, 0};
        }
        key_ += kMicro;
        if (key_ >= run_->stop && ++run_ != end_) key_ = run_->first;
        return true;
    }

private:
    const Run *run_, *end_;
    int64_t key_ = 0;
    uint32_t live_;
    bool all_live_;
};

constexpr float kNextToNothing = -32;  // bits, of a weight

template <Unit kUnit, int kExtra>
class Observer {
public:
    Observer(const ObserveUnit& unit, int32_t* scratch)
        : unit_(unit), call_(*unit.call), depth_(call_.scoring.depth), asks_(asks_of(call_)),
          all_(kExtra == kPlain && asks_.received && asks_.entropy && asks_.best && asks_.sums &&
               !asks_.keep_scores && !asks_.keep_exponents),
          padded_depth_((depth_ + kLanes - 1) / kLanes * kLanes), q_(scratch), room_(scratch + padded_depth_ * kTile),
          ranks_(call_.top, room_ + padded_depth_ * kTile),
          masses_(unit, reinterpret_cast<char*>(room_ + padded_depth_ * kTile) + Ranks::bytes(call_.top)),
          pixels_(unit, pixel_rows_of(unit)), apart_(unit) {}

    void run() {
#ifdef LB_HAS_MATRIX
        const Shaped shaped;
#endif
        careful_ = false;
        if (!pass()) {
            careful_ = true;
            pass();
        }
    }

private:
    using In = BitsFor<kUnit, kExtra>;
    static constexpr int kParts = parts_of(kUnit);
    static constexpr bool kOfThirds = kUnit == Unit::thirds;

    static PixelRows pixel_rows_of(const ObserveUnit& unit) {
        const ObserveCall& call = *unit.call;
        if (!call.map_sum && !call.map_max) return {};
        const int64_t stop = unit.stop * kTile;
        return pixel_rows(call, unit.first * kTile, stop < call.n_queries ? stop : call.n_queries);
    }

    // Every tile of the unit; whether all was finite.
    bool pass() {
        if (call_.received) clear(unit_.received, (call_.n_keys + kMicro - 1) / kMicro * kMicro);
        if (call_.n_distances) clear(unit_.by_distance, call_.n_distances + kSpare);
        if (call_.max_score) *unit_.max_score = -kInfinity;
        pixels_.clear();
        for (int64_t tile = unit_.first; tile < unit_.stop; ++tile) {
            poll();
            if (!begin(tile)) return false;
#ifdef LB_HAS_MATRIX
            if constexpr (is_matrix(kUnit)) walk_by_groups();
            else
#endif
            walk();
            if (!end()) return false;
        }
        return true;
    }

    static void clear(float* to, int64_t n) { memset(to, 0, static_cast<size_t>(n) * 4); }

    bool is_empty(int lane) const { return call_.row_ptr[row_ + lane] == call_.row_ptr[row_ + lane + 1]; }

    // Whether the tile can be done: carefully, or because every lse is finite where there are keys.
    bool begin(int64_t index) {
        row_ = index * kTile;
        const int64_t left = call_.n_queries - row_;
        live_ = static_cast<int>(left < kTile ? left : kTile);
        rows_ = &call_.plan->rows(index);
        bool finite = true;
        for (int lane = 0; lane < kTile; ++lane) {
            float lse = lane < live_ ? unit_.lse[row_ + lane] * kLog2e : 0;
            if (!(lse - lse == 0)) {
                // A row without keys has an lse of -inf, and nothing to weigh.
                if (!careful_ && is_empty(lane)) lse = 0;
                else finite = false;
            }
            lse_[lane] = lse;
            desk_.minus[lane] = -lse;
            desk_.entropy[lane] = desk_.all_exponents[lane] = 0;
            desk_.best[lane] = careful_ ? -kInfinity : kNever;
            desk_.best_key[lane] = -1;
        }
        if (!careful_ && !finite) return false;

        QueryTile& tile = tile_;
        tile.q = static_cast<const char*>(unit_.q) + row_ * unit_.q_stride * (call_.scoring.type == Type::float32 ? 4 : 2);
        tile.q_stride = unit_.q_stride;
        tile.width = unit_.width;
        tile.live = live_;
        tile.position = call_.offset + row_;
        tile.slope = unit_.slope;
        if (rows_->n_runs) pack_queries(call_.scoring, tile, room_, q_);
        odd_ = kOfThirds && rows_->n_runs && odd(q_, kTile, depth_ / kParts, kTile, true);
        if (call_.top > 1) ranks_.begin();
        if (call_.map_sum || call_.map_max) pixels_.begin(row_, live_);
        if (call_.distance || call_.n_distances) apart_.begin(tile.position);
        masses_.begin(index);
        return true;
    }

#ifdef LB_HAS_MATRIX
    // A group of keys is reduced, micro-tile by micro-tile, while the mill multiplies the next but one that is visited, and
    // puts down the next: who waited for what is just multiplied would wait for the last multiplication, too.
    void walk_by_groups() {
        Visits visits(*rows_, live_), ahead = visits;
        Visit now, next;
        if (!visits.next(now)) return;
        const In in = In::make(call_.scoring, tile_);
        if (asks_.received) {
            desk_.owed = unit_.received;
            clear(desk_.halves, kMicro * kLanes);
        }
        mill_ = {};  // a pass that was given up may have left something in it
        bool more = ahead.next(next);
        // Lets the mill begin with the group that `ahead` has come to; the steps that takes.
        const auto begin = [&](int at) {
            if (!more) return 0;
            const int64_t group = next.key / kGroup;
            const int32_t* const keys = unit_.keys + group * kGroup * unit_.key_stride;
            set_scores<kOfThirds>(product_, keys, unit_.key_stride, q_, depth_, desk_.products[at]);
            mill_.begin(&product_, 1);
            do more = ahead.next(next); while (more && next.key / kGroup == group);
            return static_cast<int>(product_.steps);
        };
        begin(0);
        mill_.finish();
        mill_.put_down();
        begin(1);
        int64_t group = -1;
        for (int at = 1, left = 0;; ) {
            if (now.key / kGroup != group) {
                mill_.finish();
                at ^= 1;
                group = now.key / kGroup;
                left = begin(at);
                if (left == 0) mill_.put_down();
                if (kOfThirds && (odd_ || unit_.odd_keys[now.key / kOddKeys])) {
                    const int32_t* const keys = unit_.keys + group * kGroup * unit_.key_stride;
                    mend_scores(keys, unit_.key_stride, q_, depth_, desk_.products[at]);
                }
            }
            const int m = static_cast<int>(now.key % kGroup / kMicro), here = steps_of(left, m);
            left -= here;
            reduce_beside(in, now, desk_.products[at] + m * kMicro * kTile, here);
            if (asks_.received) desk_.owed = unit_.received + now.key;
            rest(now);
            if (!visits.next(now)) break;
        }
        if (asks_.received) add_lane_sums(desk_.halves, desk_.owed);
    }

    [[gnu::always_inline]] inline void reduce_beside(const In& in, const Visit& now, const float* products, int steps) {
        if (__builtin_expect(careful_, 0)) {
            careful_step<kUnit, kExtra>(asks_, in, now, products, lse_, desk_);
            return mill_.steps(steps);
        }
        if constexpr (kExtra == kPlain) {
            if (all_ && now.masks) return step<kUnit, kPlain, true, true>(asks_, in, now, desk_, products, mill_, steps);
            if (all_) return step<kUnit, kPlain, false, true>(asks_, in, now, desk_, products, mill_, steps);
            if (!now.masks) return step<kUnit, kPlain, false, false>(asks_, in, now, desk_, products, mill_, steps);
        }
        step<kUnit, kExtra, true, false>(asks_, in, masked(now), desk_, products, mill_, steps);
    }
#endif

    void walk() {
        Visits visits(*rows_, live_);
        Visit now, next;
        if (!visits.next(now)) return;
        const In in = In::make(call_.scoring, tile_);
        int at = 0;
        if (asks_.received) {
            desk_.owed = unit_.received;
            clear(desk_.halves, kMicro * kLanes);
        }
        multiply<kUnit>(q_, keys_at(now), depth_, desk_.products[at]);
        for (bool more = true; more; now = next, at ^= 1) {
            more = visits.next(next);
            reduce(in, now, at, more ? keys_at(next) : unit_.keys, more ? depth_ : 0);
            if (asks_.received) desk_.owed = unit_.received + now.key;
            rest(now);
        }
        if (asks_.received) add_lane_sums(desk_.halves, desk_.owed);
    }

    [[gnu::always_inline]] inline const int32_t* keys_at(const Visit& visit) const {
        return turned_at(unit_.keys, visit.key, depth_);
    }

    // Reduces one micro-tile, and multiplies the next.
    [[gnu::always_inline]] inline void reduce(const In& in, const Visit& now, int at, const int32_t* k, int depth) {
        if (__builtin_expect(careful_, 0)) {
            careful_step<kUnit, kExtra>(asks_, in, now, desk_.products[at], lse_, desk_);
            return multiply<kUnit>(q_, k, depth, desk_.products[at ^ 1]);
        }
        if constexpr (kExtra == kPlain) {
            if (all_ && now.masks) return step<kUnit, kPlain, true, true>(asks_, in, now, desk_, at, q_, k, depth);
            if (all_) return step<kUnit, kPlain, false, true>(asks_, in, now, desk_, at, q_, k, depth);
            if (!now.masks) return step<kUnit, kPlain, false, false>(asks_, in, now, desk_, at, q_, k, depth);
        }
        step<kUnit, kExtra, true, false>(asks_, in, masked(now), desk_, at, q_, k, depth);
    }

    static Visit masked(const Visit& now) {
        static constexpr uint32_t kEvery = ~0u;
        return now.masks ? now : Visit{now.key, &kEvery, 0};
    }

    // The reductions that not every call asks for.
    [[gnu::always_inline]] inline void rest(const Visit& now) {
        if (call_.map_sum || call_.map_max) pixels_.add(now, desk_);
        if (call_.top > 1) ranks_.add(now, careful_ ? desk_.scores : desk_.exponents, careful_);
        if (call_.distance || call_.n_distances) apart_.add(now, desk_);
        masses_.add(now, desk_);
    }

    // Writes the rows of the tile; whether all was finite, or was done carefully.
    bool end() {
        if (!careful_ && rows_->n_runs && !was_exact()) return false;
        if (call_.map_sum || call_.map_max) pixels_.end();
        masses_.end(row_, live_);
        for (int lane = 0; lane < live_; ++lane) {
            const int64_t row = row_ + lane;
            if (call_.entropy) unit_.entropy[row] = desk_.entropy[lane] == 0 ? 0 : -desk_.entropy[lane] * kLn2;
            if (call_.distance) unit_.distance[row] = apart_.distances()[lane];
            if (call_.top) write_top(lane);
            if (call_.max_score) {
                float score = asks_.best ? desk_.best[lane] : -kInfinity;
                const bool any = asks_.best ? desk_.best_key[lane] >= 0 : ranks_.count(lane) > 0;
                if (!any) continue;
                if (!asks_.best) score = ranks_.value(lane, 0);
                if (!careful_) score += lse_[lane];
                score *= kLn2;
                if (score > *unit_.max_score || score != score) *unit_.max_score = score;
            }
        }
        return true;
    }

    // A NaN or an infinity among the exponents shows in every sum that they, or their weights, went into.
    // Nor can the largest score be had from an exponent that the lse has rounded: where even the largest weight is next to
    // nothing, as beside a large sink, lse is far larger than the score.
    bool was_exact() const {
        for (int lane = 0; lane < live_; ++lane) {
            if (is_empty(lane)) continue;
            const float most = asks_.best ? desk_.best[lane] : call_.top > 1 && ranks_.count(lane) ? ranks_.value(lane, 0) : 0;
            if (call_.max_score && most < kNextToNothing) return false;
            float sum = desk_.entropy[lane] + desk_.all_exponents[lane];
            if (!(sum - sum == 0)) return false;
            if (asks_.best && desk_.best_key[lane] < 0) return false;  // all were below kNever
            if (call_.top > 1 && ranks_.count(lane) < call_.top && ranks_.count(lane) < keys_of(lane)) return false;
        }
        return true;
    }

    int64_t keys_of(int lane) const {
        int64_t keys = 0;
        for (int64_t i = call_.row_ptr[row_ + lane]; i < call_.row_ptr[row_ + lane + 1]; ++i) {
            keys += call_.stops[i] - call_.starts[i];
        }
        return keys;
    }

    void write_top(int lane) {
        float* weights = unit_.top_weights + (row_ + lane) * call_.top;
        int64_t* keys = unit_.top_keys + (row_ + lane) * call_.top;
        for (int64_t rank = 0; rank < call_.top; ++rank) {
            const bool best = call_.top == 1;
            const int64_t key = best ? desk_.best_key[lane] : rank < ranks_.count(lane) ? ranks_.key(lane, rank) : -1;
            keys[rank] = key;
            weights[rank] = 0;
            if (key < 0) continue;
            const float value = best ? desk_.best[lane] : ranks_.value(lane, rank);
            if (careful_ && lse_[lane] == -kInfinity) continue;  // of such a row nothing weighs
            float weight[kLanes];
            store(weight, exp2<5>(same(careful_ ? value - lse_[lane] : value)));
            weights[rank] = weight[0];
        }
    }

    const ObserveUnit& unit_;
    const ObserveCall& call_;
    const int depth_;
    const Asks asks_;
    const bool all_;
    const int64_t padded_depth_;
    int32_t *const q_, *const room_;
    Ranks ranks_;
    Masses masses_;
    Pixels pixels_;
    Apart apart_;
    bool careful_ = false;
    QueryTile tile_;
    int64_t row_ = 0;
    int live_ = 0;
    bool odd_ = false;  // whether some element of its queries is NaN or infinite; only thirds ask
    const Rows* rows_ = nullptr;
    alignas(64) float lse_[kTile];
    Desk desk_;
#ifdef LB_HAS_MATRIX
    Product product_;
    Mill<kOfThirds> mill_;
#endif
};

static size_t observe_scratch(const ObserveCall& call) {
    const int64_t depth = (call.scoring.depth + kLanes - 1) / kLanes * kLanes;
    return static_cast<size_t>(2 * depth * kTile * 4) + Ranks::bytes(call.top) + Masses::bytes(call.n_masses);
}

static void observe(const ObserveUnit& unit, void* scratch) {
    with_extra(unit.call->scoring, [&]<int kExtra>() {
        if constexpr (kDot) {
            if (unit.call->scoring.type == Type::bfloat16) {
                return Observer<kPairs, kExtra>(unit, static_cast<int32_t*>(scratch)).run();
            }
        }
        Observer<kReals, kExtra>(unit, static_cast<int32_t*>(scratch)).run();
    });
    if (unit.call->counts == nullptr) return;
    // Rows that no other unit has a part in.
    const int64_t stop = unit.stop * kTile;
    const PixelRows rows = pixel_rows(*unit.call, unit.first * kTile, stop < unit.call->n_queries ? stop : unit.call->n_queries);
    finish_pixels(unit, rows.first + rows.first_shared, rows.last + 1 - rows.last_shared);
}

}  // namespace lookbehind::LOOKBEHIND_SET
