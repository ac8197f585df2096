// observe: units of some tiles of queries to an instruction set's kernel, and their sums over queries put together.
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "heads.h"
#include "observe/counts.h"
#include "observe/unit.h"
#include "slots.h"

namespace lookbehind {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kMostUnits = 32;          // of a head
constexpr int64_t kProductsAUnit = 1 << 20;  // at least, some 100 microseconds: putting units together is not free

// Tiles [bounds[i], bounds[i + 1]) of about equal cost, as units of every head. How many depends on the problem
// alone, never on the threads: the sums over queries are the same bits for any number of those.
std::vector<int64_t> units_of(const Plan& plan, int tile, int64_t heads) {
    const int64_t most = std::min<int64_t>(128 / std::max<int64_t>(heads, 1), kMostUnits);
    const int64_t wanted = std::clamp<int64_t>(plan.products() / kProductsAUnit, 4, std::max<int64_t>(most, 4));
    const int64_t own = int64_t{64} * tile;  // a tile's own cost, beside its products
    const int64_t all = plan.products() + own * plan.n_tiles();
    std::vector<int64_t> bounds{0};
    int64_t so_far = 0;
    for (int64_t i = 0; i < plan.n_tiles(); ++i) {
        so_far += plan.rows(i).products + own;
        const auto n = static_cast<int64_t>(bounds.size());
        if (i + 1 == plan.n_tiles() || so_far >= (all + wanted - 1) / wanted * n) bounds.push_back(i + 1);
    }
    return bounds;
}

// One call, and what its units share.
class Call {
public:
    Call(const Problem& problem, const float* lse, const Wants& wants, const Options& options)
        : problem_(problem), lse_(lse), wants_(wants), options_(options), set_(kernels(options.set)),
          plan_(problem.spans, set_.tile), call_(described()), heads_(problem, set_, call_.scoring, false),
          group_(problem.q.heads / problem.k.heads),
          bounds_(units_of(plan_, set_.tile, problem.q.batch * problem.q.heads)),
          units_(static_cast<int64_t>(bounds_.size()) - 1) {
        for (const Mass& mass : wants.masses) {
            mass_plans_.push_back(std::make_unique<Plan>(mass.spans, set_.tile));
            mass_plan_pointers_.push_back(mass_plans_.back().get());
            masses_.push_back(mass.mass);
        }
        for (int64_t tile = 0; tile < plan_.n_tiles(); ++tile) {
            const Rows& rows = plan_.rows(tile);
            if (rows.n_runs == 0) continue;
            visited_first_ = std::min(visited_first_, rows.runs[0].first / 16 * 16);
            visited_stop_ = std::max(visited_stop_, rows.runs[rows.n_runs - 1].stop);
        }
        if (call_.map_sum || call_.map_max) {
            counts_ = Memory(static_cast<size_t>(call_.map_rows * call_.map_columns * 4));
            pixel_counts(problem.spans, call_.map_rows, call_.map_columns, counts_.as<float>());
            call_.counts = counts_.as<float>();
        }
        call_.n_masses = static_cast<int64_t>(masses_.size());
        call_.mass_plans = mass_plan_pointers_.data();
    }

    void run() {
        received_ = wants_.received ? rounded_up(call_.n_keys, 16) : 0;
        distances_ = wants_.by_distance ? rounded_up(call_.n_distances + kSpare, 16) : 0;
        edges_ = 2 * call_.map_columns;
        own_ = rounded_up(received_ + distances_ + edges_ * (call_.map_sum + call_.map_max) + 1, 16);
        sums_a_head_ = own_ * units_ * group_;
        const int64_t keys = turned() * call_.scoring.depth * 4;
        // A part is packed, then turned.
        const int64_t parts = turned() ? turned() / Heads::kPart : heads_.parts();
        Slots slots(heads_.count(), sums_a_head_ * 4 + keys + heads_.bytes(), parts, group_ * units_, options_);
        heads_.hold(slots.count());
        scratch_bytes_ = rounded_up(static_cast<int64_t>(set_.observe_scratch(call_)), 64);
        scratch_ = Memory(static_cast<size_t>(scratch_bytes_ * slots.threads()));
        sums_ = Memory(static_cast<size_t>(sums_a_head_ * 4 * slots.count()));
        keys_ = Memory(static_cast<size_t>(keys * slots.count()));
        slots.run([this](int64_t kv, int64_t slot, int64_t part) { prepare(kv, slot, part); },
                  [this](int64_t kv, int64_t slot, int64_t unit, int thread) {
                      // The last units are the longest where queries read what is before them.
                      const Place place{kv, slot, unit / units_};
                      set_.observe(described(place, units_ - 1 - unit % units_), scratch_.as<char>() + thread * scratch_bytes_);
                  },
                  [this](int64_t kv, int64_t slot) {
                      for (int64_t i = 0; i < group_; ++i) gather({kv, slot, i});
                  });
    }

private:
    // A query head: `member` of the group that reads a kv head, which is in a slot.
    struct Place {
        int64_t kv, slot, member;
    };
    int64_t head_of(const Place& place) const { return place.kv * group_ + place.member; }

    // Where a set has keys turned: in whole parts, 0 where it reads them as they are packed.
    int64_t turned() const { return set_.matrix || set_.panels ? 0 : rounded_up(call_.n_keys, Heads::kPart); }
    int32_t* keys(int64_t slot) const { return keys_.as<int32_t>() + slot * turned() * call_.scoring.depth; }

    // Of the keys only those that some query visits are turned.
    void prepare(int64_t kv, int64_t slot, int64_t number) const {
        if (heads_.parts()) heads_.pack(kv, slot, number);
        const int64_t part = number * Heads::kPart;
        const int64_t first = std::max(part, visited_first_), stop = std::min(part + Heads::kPart, visited_stop_);
        if (!turned() || first >= stop) return;
        const Head head = heads_.head(kv, slot);
        set_.turn_keys(head.k, head.k_stride, call_.scoring.depth, first, stop, keys(slot));
    }

    ObserveCall described() const {
        ObserveCall call;
        call.scoring = scoring_of(problem_, set_, false);
        call.plan = &plan_;
        call.row_ptr = problem_.spans.row_ptr;
        call.starts = problem_.spans.starts;
        call.stops = problem_.spans.stops;
        call.n_queries = problem_.q.rows;
        call.n_keys = problem_.k.rows;
        call.offset = problem_.spans.offset;
        call.received = wants_.received != nullptr;
        call.entropy = wants_.entropy != nullptr;
        call.max_score = wants_.max_score != nullptr;
        call.distance = wants_.distance != nullptr;
        call.top = wants_.top;
        call.n_distances = wants_.by_distance ? wants_.n_distances : 0;
        call.map_sum = wants_.map_sum != nullptr || wants_.map_mean != nullptr;
        call.map_max = wants_.map_max != nullptr;
        call.map_of_scores = wants_.map_of_scores;
        if (call.map_sum || call.map_max) {
            call.map_rows = wants_.map_rows;
            call.map_columns = wants_.map_columns;
        }
        return call;
    }

    // The sums of one unit: received, by_distance, rows of pixels at its edges (sum, max), largest score.
    float* sums(const Place& place, int64_t unit) const {
        return sums_.as<float>() + place.slot * sums_a_head_ + (place.member * units_ + unit) * own_;
    }
    int64_t edge_sum() const { return received_ + distances_; }
    int64_t edge_max() const { return edge_sum() + (call_.map_sum ? edges_ : 0); }
    int64_t max_score() const { return own_ - 1; }

    ObserveUnit described(const Place& place, int64_t number) const {
        const int64_t head = head_of(place), h = head % problem_.q.heads;
        const int64_t rows = call_.n_queries, pixels = call_.map_rows * call_.map_columns;
        float* own = sums(place, number);
        const Head packed = heads_.head(place.kv, place.slot);
        ObserveUnit unit;
        unit.call = &call_;
        unit.keys = turned() ? keys(place.slot) : packed.k;
        unit.key_stride = packed.k_stride;
        unit.odd_keys = packed.odd_keys;
        unit.q = start(problem_.q, problem_.type, head / problem_.q.heads, h, 0);
        unit.q_stride = problem_.q.row_stride;
        unit.width = problem_.q.columns;
        if (problem_.alibi) unit.slope = problem_.alibi[h];
        unit.lse = lse_ + head * rows;
        unit.first = bounds_[static_cast<size_t>(number)];
        unit.stop = bounds_[static_cast<size_t>(number + 1)];
        if (call_.entropy) unit.entropy = wants_.entropy + head * rows;
        if (call_.distance) unit.distance = wants_.distance + head * rows;
        if (call_.top) {
            unit.top_weights = wants_.top_weights + head * rows * call_.top;
            unit.top_keys = wants_.top_keys + head * rows * call_.top;
        }
        unit.masses = masses_.data();
        unit.mass_row = head * rows;
        unit.received = own;
        unit.by_distance = own + received_;
        unit.max_score = own + max_score();
        if (wants_.map_mean) unit.map_mean = wants_.map_mean + head * pixels;
        unit.map_sum = wants_.map_sum ? wants_.map_sum + head * pixels : unit.map_mean;
        if (call_.map_max) unit.map_max = wants_.map_max + head * pixels;
        unit.edge_sum = own + edge_sum();
        unit.edge_max = own + edge_max();
        return unit;
    }

    void gather(const Place& place) const {
        const int64_t head = head_of(place);
        if (call_.received) add_up(place, 0, call_.n_keys, wants_.received + head * call_.n_keys);
        if (call_.n_distances) {
            add_up(place, received_, call_.n_distances, wants_.by_distance + head * call_.n_distances);
        }
        if (call_.max_score) {
            float most = -kInfinity;
            for (int64_t number = 0; number < units_; ++number) {
                most = larger(sums(place, number)[max_score()], most);
            }
            wants_.max_score[head] = most;
        }
        if (call_.counts == nullptr) return;
        if (call_.map_sum) join_edges(place, described(place, 0).map_sum, edge_sum(), [](float a, float b) { return a + b; });
        if (call_.map_max) join_edges(place, described(place, 0).map_max, edge_max(), larger);
        for (int64_t number = 0; number < units_; ++number) {
            const PixelRows rows = pixel_rows_of(number);
            const auto finish = [&](int64_t row) { set_.finish_pixels(described(place, 0), row, row + 1); };
            if (rows.first_shared && begins(rows.first, number)) finish(rows.first);
            if (rows.last_shared && rows.last != rows.first) finish(rows.last);
        }
    }

    PixelRows pixel_rows_of(int64_t number) const {
        const int64_t stop = bounds_[static_cast<size_t>(number + 1)] * set_.tile;
        return pixel_rows(call_, bounds_[static_cast<size_t>(number)] * set_.tile, std::min(stop, call_.n_queries));
    }

    // Whether a row of pixels has its first query in this unit.
    bool begins(int64_t row, int64_t number) const {
        return pixel_edge(row, call_.n_queries, call_.map_rows) >= bounds_[static_cast<size_t>(number)] * set_.tile;
    }

    // NaN where one of them is.
    static float larger(float a, float b) { return a > b || a != a ? a : b; }

    // Units in ascending order, whoever was done first.
    void add_up(const Place& place, int64_t at, int64_t n, float* to) const {
        std::copy_n(sums(place, 0) + at, n, to);
        for (int64_t unit = 1; unit < units_; ++unit) {
            const float* from = sums(place, unit) + at;
            for (int64_t i = 0; i < n; ++i) to[i] += from[i];
        }
    }

    // Rows of pixels that lie in more than one unit; the others are in the map already.
    template <class Join>
    void join_edges(const Place& place, float* map, int64_t at, const Join& join) const {
        const int64_t columns = call_.map_columns;
        for (int64_t number = 0; number < units_; ++number) {
            const PixelRows rows = pixel_rows_of(number);
            const float* from = sums(place, number) + at;
            float *first = map + rows.first * columns, *last = map + rows.last * columns;
            if (rows.first_shared && begins(rows.first, number)) {
                std::copy_n(from, columns, first);
            } else if (rows.first_shared) {
                std::transform(first, first + columns, from, first, join);
            }
            if (rows.last_shared && rows.last != rows.first) std::copy_n(from + columns, columns, last);
        }
    }

    const Problem& problem_;
    const float* const lse_;
    const Wants& wants_;
    const Options& options_;
    const Kernels& set_;
    const Plan plan_;
    ObserveCall call_;
    Heads heads_;
    const int64_t group_;
    const std::vector<int64_t> bounds_;
    const int64_t units_;
    std::vector<std::unique_ptr<Plan>> mass_plans_;
    std::vector<const Plan*> mass_plan_pointers_;
    std::vector<float*> masses_;
    int64_t received_ = 0, distances_ = 0, edges_ = 0, own_ = 0, sums_a_head_ = 0;  // floats
    int64_t visited_first_ = INT64_MAX, visited_stop_ = 0;  // keys; whole pairs of micro-tiles, but for the end
    int64_t scratch_bytes_ = 0;
    Memory scratch_, sums_, keys_, counts_;
};

// What is left of the sums over queries where there are none.
void fill_without_queries(const Problem& problem, const Wants& wants) {
    const int64_t heads = problem.q.batch * problem.q.heads;
    if (wants.received) std::fill_n(wants.received, heads * problem.k.rows, 0.0f);
    if (wants.by_distance) std::fill_n(wants.by_distance, heads * wants.n_distances, 0.0f);
    if (wants.max_score) std::fill_n(wants.max_score, heads, -kInfinity);
}

}  // namespace

void observe(const Problem& problem, const float* lse, const Wants& wants, const Options& options) {
    check_observe(problem, lse, wants, options);
    if (problem.q.batch == 0 || problem.q.heads == 0) return;
    if (problem.q.rows == 0) return fill_without_queries(problem, wants);
    Call(problem, lse, wants, options).run();
}

}  // namespace lookbehind
