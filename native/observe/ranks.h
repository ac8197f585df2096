// The k largest weights of each query, for k > 1: a short list per lane, touched only where a micro-tile holds
// something larger than the list's last.
#pragma once

#include "step.h"

namespace lookbehind::LOOKBEHIND_SET {

class Ranks {
public:
    static size_t bytes(int64_t k) { return static_cast<size_t>(k * kTile * 8); }

    Ranks(int64_t k, void* memory)
        : k_(k), values_(static_cast<float*>(memory)), keys_(reinterpret_cast<int32_t*>(values_ + k * kTile)) {}

    void begin() {
        for (int lane = 0; lane < kTile; ++lane) {
            count_[lane] = 0;
            last_[lane] = kNever;
        }
    }

    // ranked: exponents, or scores; [kMicro][kTile]. careful: they may be NaN or infinite.
    void add(const Visit& now, const float* ranked, bool careful) {
        if (!careful) {
            bool larger = false;
            for (int v = 0; v < kVectors; ++v) {
                Float most = load(ranked + v * kLanes);
                for (int j = 1; j < kMicro; ++j) most = max(most, load(ranked + j * kTile + v * kLanes));
                larger |= any(less(load(last_ + v * kLanes), most));
            }
            if (!larger) return;
        }
        for (int lane = 0; lane < kTile; ++lane) {
            for (int j = 0; j < kMicro; ++j) {
                const float value = ranked[j * kTile + lane];
                if (!careful && !(value > last_[lane])) continue;
                if (now.masks && !(now.masks[j * now.step] >> lane & 1)) continue;
                put(lane, value, static_cast<int32_t>(now.key) + j);
            }
        }
    }

    int64_t count(int lane) const { return count_[lane]; }
    float value(int lane, int64_t rank) const { return values_[lane * k_ + rank]; }
    int64_t key(int lane, int64_t rank) const { return keys_[lane * k_ + rank]; }

private:
    // A NaN ranks before every number.
    static bool before(float a, float b) { return a > b || (a != a && b == b); }

    void put(int lane, float value, int32_t key) {
        float* values = values_ + lane * k_;
        int32_t* keys = keys_ + lane * k_;
        int64_t at = count_[lane];
        if (at == k_) {
            if (!before(value, values[k_ - 1])) return;
            --at;
        } else {
            ++count_[lane];
        }
        for (; at > 0 && before(value, values[at - 1]); --at) {
            values[at] = values[at - 1];
            keys[at] = keys[at - 1];
        }
        values[at] = value;
        keys[at] = key;
        if (count_[lane] == k_) last_[lane] = values[k_ - 1];
    }

    const int64_t k_;
    float* const values_;    // [kTile][k], descending
    int32_t* const keys_;    // the same
    int64_t count_[kTile];
    alignas(64) float last_[kTile];  // what a value must exceed; the list is full from then on
};

}  // namespace lookbehind::LOOKBEHIND_SET
