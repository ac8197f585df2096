// The mass of each query on other spans, by name. A micro-tile in which they have no key costs a comparison.
#pragma once

#include "step.h"

namespace lookbehind::LOOKBEHIND_SET {

class Masses {
public:
    static size_t bytes(int64_t n) { return static_cast<size_t>(n) * (kTile * 4 + 64); }

    Masses(const ObserveUnit& unit, void* memory)
        : unit_(unit), n_(unit.call->n_masses), mass_(static_cast<float*>(memory)),
          run_(reinterpret_cast<int64_t*>(mass_ + n_ * kTile)) {}

    void begin(int64_t tile) {
        tile_ = tile;
        next_ = n_ ? 0 : INT64_MAX;
        for (int64_t m = 0; m < n_; ++m) run_[m] = 0;
        for (int64_t i = 0; i < n_ * kTile; ++i) mass_[i] = 0;
    }

    [[gnu::always_inline]] inline void add(const Visit& now, const Desk& desk) {
        if (now.key >= next_) add_some(now, desk);
    }

    // Writes `live` rows from row `first` of the head on.
    void end(int64_t first, int live) const {
        for (int64_t m = 0; m < n_; ++m) {
            memcpy(unit_.masses[m] + unit_.mass_row + first, mass_ + m * kTile, static_cast<size_t>(live) * 4);
        }
    }

private:
    void add_some(const Visit& now, const Desk& desk) {
        next_ = INT64_MAX;
        for (int64_t m = 0; m < n_; ++m) {
            const Rows& rows = unit_.call->mass_plans[m]->rows(tile_);
            while (run_[m] < rows.n_runs && rows.runs[run_[m]].stop <= now.key) ++run_[m];
            if (run_[m] == rows.n_runs) continue;
            const Run& run = rows.runs[run_[m]];
            if (run.first < next_) next_ = run.first;
            if (run.first > now.key) continue;
            const uint32_t* masks = run.masks ? run.masks + (now.key - run.first) * run.step : nullptr;
            const Visit mine{now.key, masks, run.step};
            for (int v = 0; v < kVectors; ++v) {
                float* to = mass_ + m * kTile + v * kLanes;
                Float sum = same(0.0f);
                for (int j = 0; j < kMicro; ++j) {
                    const Float weight = load(desk.weights + j * kTile + v * kLanes);
                    sum = lookbehind::LOOKBEHIND_SET::add(sum, masks ? keep(mine.sees(j, v), weight) : weight);
                }
                store(to, lookbehind::LOOKBEHIND_SET::add(load(to), sum));
            }
        }
    }

    const ObserveUnit& unit_;
    const int64_t n_;
    float* const mass_;     // [n][kTile]
    int64_t* const run_;    // [n]: the run of each that is next
    int64_t tile_ = 0;
    int64_t next_ = 0;      // no mass has a key before this one
};

}  // namespace lookbehind::LOOKBEHIND_SET
