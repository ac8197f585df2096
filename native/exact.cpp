#include "exact.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "heads.h"
#include "runtime.h"

namespace lookbehind {

namespace {

constexpr int64_t kAtOnce = 64;  // keys

// Rows of one head as floats.
class Rows32 {
public:
    Rows32(const Tensor& x, Type type, const Kernels& set, int64_t b, int64_t head)
        : x_(x), type_(type), set_(set), b_(b), head_(head), floats_(static_cast<size_t>(kAtOnce * x.columns)) {}

    // Rows [first, first + n), [n][columns]; n is kAtOnce at most.
    const float* operator()(int64_t first, int64_t n) {
        Packing p;
        p.from = start(x_, type_, b_, head_, first);
        p.stride = x_.row_stride;
        p.rows = p.padded = n;
        p.width = p.to_stride = x_.columns;
        p.type = type_;
        p.to = reinterpret_cast<int32_t*>(floats_.data());
        set_.pack_rows(p);
        return floats_.data();
    }

private:
    const Tensor& x_;
    const Type type_;
    const Kernels& set_;
    const int64_t b_, head_;
    std::vector<float> floats_;
};

// In eight sums, side by side.
double dot(const float* a, const float* b, int64_t n) {
    double sums[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int64_t lane = 0; lane < 8; ++lane) sums[lane] += static_cast<double>(a[i + lane]) * b[i + lane];
    }
    for (; i < n; ++i) sums[i % 8] += static_cast<double>(a[i]) * b[i];
    double all = 0;
    for (const double sum : sums) all += sum;
    return all;
}

}  // namespace

void attend_exactly(const Problem& problem, const Kernels& set, int64_t b, int64_t head, int64_t row, const Output& out, float* lse) {
    const Spans& spans = problem.spans;
    const int64_t kv = head / (problem.q.heads / problem.k.heads), width = problem.q.columns;
    const auto for_keys = [&](const auto& visit) {  // visit(first, n), in stretches
        for (int64_t i = spans.row_ptr[row]; i < spans.row_ptr[row + 1]; ++i) {
            for (int64_t key = spans.starts[i]; key < spans.stops[i]; key += kAtOnce) {
                poll();
                visit(key, std::min(kAtOnce, spans.stops[i] - key));
            }
        }
    };
    Rows32 queries(problem.q, problem.type, set, b, head), keys(problem.k, problem.type, set, b, kv);
    const float* const query = queries(row, 1);
    std::vector<double> weights;  // scores at first
    for_keys([&](int64_t first, int64_t n) {
        const float* const k = keys(first, n);
        for (int64_t j = 0; j < n; ++j) {
            double score = problem.scale * dot(query, k + j * width, width);
            if (problem.softcap > 0) score = problem.softcap * std::tanh(score / problem.softcap);
            if (problem.alibi) score += problem.alibi[head] * static_cast<double>(first + j - spans.offset - row);
            weights.push_back(score);
        }
    });
    double most = problem.sinks ? problem.sinks[head] : -std::numeric_limits<double>::infinity();
    for (const double score : weights) most = std::max(most, score);
    double sum = problem.sinks ? std::exp(problem.sinks[head] - most) : 0;
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    if (lse) lse[(b * problem.q.heads + head) * problem.q.rows + row] = static_cast<float>(most + std::log(sum));
    if (out.data == nullptr) return;

    Rows32 values(problem.v, problem.type, set, b, kv);
    const int64_t columns = problem.v.columns;
    std::vector<double> sums(static_cast<size_t>(columns));
    const double* weight = weights.data();
    for_keys([&](int64_t first, int64_t n) {
        const float* v = values(first, n);
        for (int64_t j = 0; j < n; ++j, v += columns, ++weight) {
            for (int64_t c = 0; c < columns; ++c) sums[static_cast<size_t>(c)] += *weight * v[c];
        }
    });
    std::vector<float> floats;
    for (const double value : sums) floats.push_back(static_cast<float>(value / sum));
    set.narrow(problem.type, floats.data(), columns, start(out, problem.type, b, head, row));
}

}  // namespace lookbehind
