#include "plan.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "lookbehind.h"

namespace lookbehind {
namespace {

// A uniform stretch shorter than this is written out key by key, so that it joins its ragged neighbours.
constexpr int64_t kWorthARun = 4 * kKeys;

// A place where query `lane` starts or stops seeing keys: key << kLaneBits | lane. Sorted by key.
constexpr int kLaneBits = 5;

// The runs of one tile, from stretches of keys with one mask each.
class Runs {
public:
    Runs(std::vector<Run>& runs, std::vector<uint32_t>& words, std::vector<int64_t>& where, uint32_t live)
        : runs_(runs), words_(words), where_(where), begin_(runs.size()), live_(live) {}

    // Keys [first, stop) are seen by `mask`. Stretches come in ascending order.
    void add(int64_t first, int64_t stop, uint32_t mask) {
        if (mask == 0) return;
        const int64_t whole_first = (first + kKeys - 1) / kKeys * kKeys, whole_stop = stop / kKeys * kKeys;
        if (mask != live_ && whole_stop - whole_first < kWorthARun) return ragged(first, stop, mask);
        if (whole_first >= whole_stop) return ragged(first, stop, mask);
        ragged(first, whole_first, mask);
        if (mask == live_) {
            full(whole_first, whole_stop);
        } else {
            runs_.push_back({whole_first, whole_stop, nullptr, 0});
            where_.push_back(static_cast<int64_t>(words_.size()));
            words_.push_back(mask);
        }
        ragged(whole_stop, stop, mask);
    }

private:
    bool extends(int64_t first) const { return runs_.size() > begin_ && runs_.back().stop == first; }
    bool is_full() const { return where_.back() < 0; }

    void full(int64_t first, int64_t stop) {
        if (extends(first) && is_full()) {
            runs_.back().stop = stop;
            return;
        }
        runs_.push_back({first, stop, nullptr, 0});
        where_.push_back(-1);
    }

    // Within a micro-tile begun by the stretch before, or in new ones.
    void ragged(int64_t first, int64_t stop, uint32_t mask) {
        while (first < stop) {
            const int64_t tile = first / kKeys * kKeys, end = std::min(stop, tile + kKeys);
            const bool begun = runs_.size() > begin_ && runs_.back().stop == tile + kKeys;
            if (!begun) {
                if (extends(tile) && !is_full() && runs_.back().step == 1) {
                    runs_.back().stop += kKeys;
                } else {
                    runs_.push_back({tile, tile + kKeys, nullptr, 1});
                    where_.push_back(static_cast<int64_t>(words_.size()));
                }
                words_.insert(words_.end(), kKeys, 0u);
            }
            std::fill(words_.end() - kKeys + (first - tile), words_.end() - kKeys + (end - tile), mask);
            first = end;
        }
    }

    std::vector<Run>& runs_;
    std::vector<uint32_t>& words_;
    std::vector<int64_t>& where_;  // of each run's first word; -1: full
    const size_t begin_;
    const uint32_t live_;
};

// Where queries [first, stop) start and stop seeing keys, sorted by key.
void edges_of(const Spans& spans, int64_t first, int64_t stop, std::vector<int64_t>& edges) {
    edges.clear();
    int64_t most = 0;
    for (int64_t row = first; row < stop; ++row) {
        most = std::max(most, spans.row_ptr[row + 1] - spans.row_ptr[row]);
    }
    const auto put = [&](const int64_t* side, int64_t row, int64_t rank) {
        const int64_t interval = spans.row_ptr[row] + rank;
        if (interval < spans.row_ptr[row + 1]) edges.push_back(side[interval] << kLaneBits | (row - first));
    };
    if (most <= 2) {  // triangles and windows come out sorted this way
        for (int64_t rank = 0; rank < most; ++rank) {
            for (const int64_t* side : {spans.starts, spans.stops}) {
                for (int64_t row = first; row < stop; ++row) put(side, row, rank);
            }
        }
    } else {
        for (int64_t row = first; row < stop; ++row) {
            const int64_t count = spans.row_ptr[row + 1] - spans.row_ptr[row];
            for (int64_t rank = 0; rank < count; ++rank) {
                put(spans.starts, row, rank);
                put(spans.stops, row, rank);
            }
        }
    }
    if (!std::is_sorted(edges.begin(), edges.end())) std::sort(edges.begin(), edges.end());
}

}  // namespace

struct Plan::Tables {
    std::vector<Run> runs;
    std::vector<uint32_t> words;
    std::vector<Rows> rows;
    std::vector<int64_t> order;
};

Plan::Plan(const Spans& spans, int lanes)
    : tables_(nullptr), rows_(nullptr), order_(nullptr), n_tiles_((spans.n_queries + lanes - 1) / lanes),
      products_(0) {
    auto tables = std::make_unique<Tables>();
    std::vector<int64_t> edges, where, begin{0};
    tables->rows.reserve(static_cast<size_t>(n_tiles_));
    for (int64_t tile = 0; tile < n_tiles_; ++tile) {
        const int64_t first = tile * lanes, stop = std::min(first + lanes, spans.n_queries);
        const auto live = static_cast<uint32_t>((uint64_t{1} << (stop - first)) - 1);
        Runs runs(tables->runs, tables->words, where, live);
        edges_of(spans, first, stop, edges);
        uint32_t seeing = 0;
        for (size_t at = 0; at < edges.size();) {
            const int64_t key = edges[at] >> kLaneBits;
            for (; at < edges.size() && edges[at] >> kLaneBits == key; ++at) {
                seeing ^= 1u << (edges[at] & ((1 << kLaneBits) - 1));
            }
            if (at < edges.size()) runs.add(key, edges[at] >> kLaneBits, seeing);
        }
        begin.push_back(static_cast<int64_t>(tables->runs.size()));
    }

    // Only now do the tables lie still.
    for (size_t run = 0; run < where.size(); ++run) {
        if (where[run] >= 0) tables->runs[run].masks = tables->words.data() + where[run];
    }
    for (int64_t tile = 0; tile < n_tiles_; ++tile) {
        const Run* runs = tables->runs.data() + begin[tile];
        const int64_t n_runs = begin[tile + 1] - begin[tile];
        int64_t keys = 0;
        for (int64_t run = 0; run < n_runs; ++run) keys += runs[run].stop - runs[run].first;
        tables->rows.push_back({runs, n_runs, keys * lanes});
        products_ += keys * lanes;
    }
    tables->order.resize(static_cast<size_t>(n_tiles_));
    std::iota(tables->order.begin(), tables->order.end(), 0);
    std::stable_sort(tables->order.begin(), tables->order.end(), [&rows = tables->rows](int64_t a, int64_t b) {
        return rows[a].products > rows[b].products;
    });
    tables_ = tables.release();
    rows_ = tables_->rows.data();
    order_ = tables_->order.data();
}

Plan::~Plan() { delete tables_; }

}  // namespace lookbehind
