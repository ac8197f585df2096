// The map: weights, or scores, pooled into pixels.
//
// A tile of queries walks over its keys, and so over one column of pixels after another. Within a column sums and
// maxima stay with their lanes. Finished columns wait until there are as many as lanes; then they are turned, and
// what were lanes are rows of vectors, which add up to pixels wherever a row of pixels begins.
#pragma once

#include "step.h"

namespace lookbehind::LOOKBEHIND_SET {

class Pixels {
public:
    Pixels(const ObserveUnit& unit, const PixelRows& rows) : unit_(unit), call_(*unit.call), rows_(rows) {}

    // Sets the unit's pixels to what they are without any product.
    void clear() const {
        for (int64_t row = rows_.first; row <= rows_.last; ++row) {
            if (call_.map_sum) fill(row_of(row, unit_.map_sum, unit_.edge_sum), 0.0f);
            if (call_.map_max) fill(row_of(row, unit_.map_max, unit_.edge_max), -kInfinity);
        }
    }

    // Begins with the tile of queries first_query, ..., of which `live` exist.
    void begin(int64_t first_query, int live) {
        n_stripes_ = 0;
        int lane = 0;
        while (lane < live) {
            const int64_t row = pixel_of(first_query + lane, call_.n_queries, call_.map_rows);
            const int64_t stop = pixel_edge(row + 1, call_.n_queries, call_.map_rows) - first_query;
            Stripe& stripe = stripes_[n_stripes_++];
            stripe.first = lane;
            stripe.stop = lane = static_cast<int>(stop < live ? stop : live);
            stripe.sum = call_.map_sum ? row_of(row, unit_.map_sum, unit_.edge_sum) : nullptr;
            stripe.max = call_.map_max ? row_of(row, unit_.map_max, unit_.edge_max) : nullptr;
        }
        waiting_ = 0;
        open_ = false;
        column_ = column_first_ = column_stop_ = 0;
    }

    // Takes in a micro-tile.
    [[gnu::always_inline]] inline void add(const Visit& now, const Desk& desk) {
        if (!open_ || now.key < column_first_ || now.key >= column_stop_) open(now.key);
        if (call_.map_max || call_.map_of_scores || now.key + kMicro > column_stop_) return add_each(now, desk);
        for (int v = 0; v < kTile; v += kLanes) {
            float* sum = sums_ + waiting_ * kTile + v;
            store(sum, fresh_ ? load(desk.sums + v) : plus(load(sum), load(desk.sums + v)));
        }
        fresh_ = false;
        if (now.key + kMicro == column_stop_) close();
    }

    // Ends the tile of queries.
    void end() {
        if (open_) close();
        flush();
    }

private:
    // Lanes of one row of pixels.
    struct Stripe {
        int first, stop;
        float *sum, *max;
    };

    static Float plus(Float a, Float b) { return lookbehind::LOOKBEHIND_SET::add(a, b); }

    float* row_of(int64_t row, float* whole, float* edge) const {
        const bool last = row == rows_.last && rows_.last_shared;
        if (row == rows_.first && rows_.first_shared) return edge;
        return last ? edge + call_.map_columns : whole + row * call_.map_columns;
    }

    void fill(float* row, float value) const {
        for (int64_t column = 0; column < call_.map_columns; ++column) row[column] = value;
    }

    // Key by key: where a column of pixels ends within the micro-tile, and where more is wanted than its sums.
    void add_each(const Visit& now, const Desk& desk) {
        const float* from = call_.map_of_scores ? desk.scores : desk.weights;
        const float* logs = call_.map_of_scores ? desk.scores : desk.exponents;
        const int64_t stop = now.key + kMicro < call_.n_keys ? now.key + kMicro : call_.n_keys;
        for (int64_t key = now.key; key < stop; ++key) {
            const int j = static_cast<int>(key - now.key);
            if (!open_) open(key);
            for (int v = 0; v < kVectors; ++v) {
                const int at = j * kTile + v * kLanes, to = waiting_ * kTile + v * kLanes;
                const Mask sees = now.masks ? now.sees(j, v) : lanes(~0u);
                if (call_.map_sum) {
                    const Float one = keep(sees, load(from + at));
                    store(sums_ + to, fresh_ ? one : plus(load(sums_ + to), one));
                }
                if (call_.map_max) {
                    Float x = load(logs + at);
                    // A product that is there has a weight, if only 0: told from one that is not.
                    if (!call_.map_of_scores) x = choose(less(x, same(kNever)), same(kNever), x);
                    x = choose(sees, x, same(-kInfinity));
                    store(maxima_ + to, fresh_ ? x : larger(x, load(maxima_ + to)));
                }
            }
            fresh_ = false;
            if (key + 1 == column_stop_) close();
        }
    }

    // Begins the column of pixels that a key lies in.
    void open(int64_t key) {
        if (open_) close();
        if (key == column_stop_ && key > 0) {
            ++column_;
            column_first_ = column_stop_;
        } else {
            column_ = pixel_of(key, call_.n_keys, call_.map_columns);
            column_first_ = pixel_edge(column_, call_.n_keys, call_.map_columns);
        }
        column_stop_ = pixel_edge(column_ + 1, call_.n_keys, call_.map_columns);
        if (waiting_ > 0 && column_ != first_waiting_ + waiting_) flush();
        if (waiting_ == 0) first_waiting_ = column_;
        open_ = fresh_ = true;
    }

    // The open column waits with the others.
    void close() {
        open_ = false;
        if (++waiting_ == kLanes) flush();
    }

    void flush() {
        if (waiting_ == 0) return;
        if (call_.map_sum) {
            turn(sums_);
            for (int i = 0; i < n_stripes_; ++i) {
                Float sum = load(turned_ + stripes_[i].first * kLanes);
                for (int lane = stripes_[i].first + 1; lane < stripes_[i].stop; ++lane) {
                    sum = plus(sum, load(turned_ + lane * kLanes));
                }
                float* to = stripes_[i].sum + first_waiting_;
                if (waiting_ == kLanes) {
                    store(to, plus(load(to), sum));
                    continue;
                }
                float some[kLanes];
                store(some, sum);
                for (int column = 0; column < waiting_; ++column) to[column] += some[column];
            }
        }
        if (call_.map_max) {
            turn(maxima_);
            for (int i = 0; i < n_stripes_; ++i) {
                Float most = load(turned_ + stripes_[i].first * kLanes);
                for (int lane = stripes_[i].first + 1; lane < stripes_[i].stop; ++lane) {
                    most = larger(most, load(turned_ + lane * kLanes));
                }
                float* to = stripes_[i].max + first_waiting_;
                float some[kLanes];
                store(some, most);
                for (int column = 0; column < waiting_; ++column) {
                    if (some[column] > to[column] || some[column] != some[column]) to[column] = some[column];
                }
            }
        }
        waiting_ = 0;
    }

    // [kLanes columns][kTile lanes] to turned_ [kTile lanes][kLanes columns].
    void turn(const float* columns) {
        for (int v = 0; v < kTile; v += kLanes) {
            transpose(reinterpret_cast<const int32_t*>(columns + v), kTile,
                      reinterpret_cast<int32_t*>(turned_ + v * kLanes), kLanes);
        }
    }

    const ObserveUnit& unit_;
    const ObserveCall& call_;
    const PixelRows rows_;
    int n_stripes_ = 0, waiting_ = 0;
    int64_t first_waiting_ = 0;  // columns wait in order, without gaps; the open one comes after them
    bool open_ = false, fresh_ = false;                        // fresh: nothing has been added to it
    int64_t column_ = 0, column_first_ = 0, column_stop_ = 0;  // the open one, or the last one, and its keys
    Stripe stripes_[kTile];
    alignas(64) float sums_[kLanes * kTile], maxima_[kLanes * kTile], turned_[kTile * kLanes];
};

// From what was gathered in rows [first, stop) of pixels to what was asked for; NaN where there is no product.
static void finish_pixels(const ObserveUnit& unit, int64_t first, int64_t stop) {
    const ObserveCall& call = *unit.call;
    const Float unit_of = same(call.map_of_scores ? kLn2 : 1.0f), none = same(__builtin_nanf(""));
    for (int64_t at = first * call.map_columns, end = stop * call.map_columns; at < end; at += kLanes) {
        const size_t bytes = static_cast<size_t>(end - at < kLanes ? end - at : kLanes) * 4;
        const auto some = [bytes](const float* from) __attribute__((always_inline)) {
            float floats[kLanes];
            if (bytes == sizeof floats) return load(from);
            memcpy(floats, from, bytes);
            return load(floats);
        };
        const auto put = [bytes](float* to, Float x) __attribute__((always_inline)) {
            float floats[kLanes];
            if (bytes == sizeof floats) return store(to, x);
            store(floats, x);
            memcpy(to, floats, bytes);
        };
        const Float count = some(call.counts + at);
        const Mask empty = equal(count, same(0.0f));
        if (call.map_sum) {
            const Float sum = mul(some(unit.map_sum + at), unit_of);
            if (unit.map_sum != unit.map_mean) put(unit.map_sum + at, choose(empty, none, sum));
            if (unit.map_mean) put(unit.map_mean + at, choose(empty, none, div(sum, count)));
        }
        if (call.map_max) {
            const Float most = some(unit.map_max + at);
            put(unit.map_max + at, choose(empty, none, call.map_of_scores ? mul(most, unit_of) : exp2<5>(most)));
        }
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
