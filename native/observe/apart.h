// How far apart queries and the keys they weigh are: the expected distance, and the mass at each distance.
#pragma once

#include "step.h"

namespace lookbehind::LOOKBEHIND_SET {

class Apart {
public:
    explicit Apart(const ObserveUnit& unit) : unit_(unit), call_(*unit.call) {
        for (float& x : skewed_) x = 0;
    }

    // Begins with the tile of queries whose first is at `position`.
    void begin(int64_t position) {
        position_ = position;
        for (int v = 0; v < kTile; v += kLanes) store(distance_ + v, same(0.0f));
    }

    void add(const Visit& now, const Desk& desk) {
        const int64_t apart = position_ - now.key;  // of the first query and the first key
        if (call_.distance) {
            if (apart >= kMicro - 1) {
                add_beside<false>(apart, desk);
            } else if (apart <= 1 - kTile) {
                add_beside<true>(apart, desk);
            } else {
                add_across(apart, desk);
            }
        }
        if (call_.n_distances) add_by_distance(apart, desk);
    }

    const float* distances() const { return distance_; }

private:
    // All keys on one side of all queries. |i - j| is the distance to the nearest key and the way on from there:
    // both terms are >= 0, so nothing cancels however far from 0 the positions are.
    template <bool kAhead>
    void add_beside(int64_t apart, const Desk& desk) {
        const int64_t nearest = kAhead ? -apart : apart - (kMicro - 1);
        for (int v = 0; v < kVectors; ++v) {
            const Float lane = add_count(v);
            const Float to_nearest = kAhead ? sub(same(static_cast<float>(nearest)), lane)
                                            : plus(same(static_cast<float>(nearest)), lane);
            Float total = load(distance_ + v * kLanes);
            for (int j = 0; j < kMicro; ++j) {
                const Float on = same(static_cast<float>(kAhead ? j : kMicro - 1 - j));
                total = fma(load(desk.weights + j * kTile + v * kLanes), plus(to_nearest, on), total);
            }
            store(distance_ + v * kLanes, total);
        }
    }

    void add_across(int64_t apart, const Desk& desk) {
        for (int v = 0; v < kVectors; ++v) {
            Float total = load(distance_ + v * kLanes);
            for (int j = 0; j < kMicro; ++j) {
                const Float d = plus(add_count(v), same(static_cast<float>(apart - j)));
                total = fma(load(desk.weights + j * kTile + v * kLanes), max(d, sub(same(0.0f), d)), total);
            }
            store(distance_ + v * kLanes, total);
        }
    }

    // Sums along the diagonals of the micro-tile: rows are put down each one place further left, so that a
    // diagonal becomes a column.
    void add_by_distance(int64_t apart, const Desk& desk) {
        for (int j = 0; j < kMicro; ++j) {
            for (int v = 0; v < kVectors; ++v) {
                store(skewed_ + j * kSkewed + (kMicro - 1 - j) + v * kLanes,
                      load(desk.weights + j * kTile + v * kLanes));
            }
        }
        // Column t holds the products at signed distance first + t.
        const int64_t first = apart - (kMicro - 1);
        float* const total = unit_.by_distance;
        alignas(64) float sums[kSkewed];
        for (int t = 0; t < kSkewed; t += kLanes) {
            Float sum = load(skewed_ + t);
            for (int j = 1; j < kMicro; ++j) sum = plus(sum, load(skewed_ + j * kSkewed + t));
            if (first >= 0) {
                store(total + first + t, plus(load(total + first + t), sum));
            } else {
                store(sums + t, sum);
            }
        }
        if (first >= 0) return;
        for (int64_t t = 0; t < kTile + kMicro - 1; ++t) {
            const int64_t distance = first + t < 0 ? -(first + t) : first + t;
            // No query and key are farther apart than there are distances: beyond lie columns of dead lanes.
            if (distance < call_.n_distances) total[distance] += sums[t];
        }
    }

    static Float plus(Float a, Float b) { return lookbehind::LOOKBEHIND_SET::add(a, b); }
    static Float add_count(int v) { return plus(count_up(), same(static_cast<float>(v * kLanes))); }

    static constexpr int kSkewed = (kTile + kMicro - 1 + kLanes - 1) / kLanes * kLanes;
    static_assert(kSkewed <= kSpare);

    const ObserveUnit& unit_;
    const ObserveCall& call_;
    int64_t position_ = 0;
    alignas(64) float distance_[kTile];
    alignas(64) float skewed_[kMicro * kSkewed];  // zeros around the rows
};

}  // namespace lookbehind::LOOKBEHIND_SET
