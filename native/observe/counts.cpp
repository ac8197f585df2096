#include "counts.h"

#include <algorithm>
#include <vector>

#include "unit.h"

namespace lookbehind {

namespace {

// A key from which on so many more, or fewer, of a row's queries see the keys.
struct Step {
    int64_t key;
    float change;
};

void steps_of(const Spans& spans, int64_t first, int64_t stop, std::vector<Step>& steps) {
    steps.clear();
    // All starts, then all stops: where each query has one interval, that is in order.
    for (int64_t at = spans.row_ptr[first]; at < spans.row_ptr[stop]; ++at) steps.push_back({spans.starts[at], 1});
    for (int64_t at = spans.row_ptr[first]; at < spans.row_ptr[stop]; ++at) steps.push_back({spans.stops[at], -1});
    const auto earlier = [](const Step& a, const Step& b) { return a.key < b.key; };
    if (!std::is_sorted(steps.begin(), steps.end(), earlier)) std::sort(steps.begin(), steps.end(), earlier);
}

}  // namespace

void pixel_counts(const Spans& spans, int64_t rows, int64_t columns, float* counts) {
    std::vector<float> widths(static_cast<size_t>(columns));
    const auto edge = [&](int64_t column) { return pixel_edge(column, spans.n_keys, columns); };
    for (int64_t column = 0; column < columns; ++column) {
        widths[static_cast<size_t>(column)] = static_cast<float>(edge(column + 1) - edge(column));
    }
    std::vector<Step> steps;
    for (int64_t row = 0; row < rows; ++row) {
        steps_of(spans, pixel_edge(row, spans.n_queries, rows), pixel_edge(row + 1, spans.n_queries, rows), steps);
        float* const to = counts + row * columns;
        std::fill_n(to, columns, 0.0f);
        float seeing = 0;
        for (size_t at = 0; at + 1 < steps.size(); ++at) {
            seeing += steps[at].change;
            const int64_t first = steps[at].key, stop = steps[at + 1].key;
            if (first == stop || seeing == 0) continue;
            const int64_t column = pixel_of(first, spans.n_keys, columns), last = pixel_of(stop - 1, spans.n_keys, columns);
            if (column == last) {
                to[column] += seeing * static_cast<float>(stop - first);
                continue;
            }
            to[column] += seeing * static_cast<float>(edge(column + 1) - first);
            for (int64_t whole = column + 1; whole < last; ++whole) to[whole] = seeing * widths[static_cast<size_t>(whole)];
            to[last] += seeing * static_cast<float>(stop - edge(last));
        }
    }
}

}  // namespace lookbehind
