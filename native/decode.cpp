// attend for a few queries: stretches of keys to an instruction set's kernel, and what they found joined in order.
#include "decode.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "decode/unit.h"
#include "heads.h"
#include "slots.h"

namespace lookbehind {

namespace {

constexpr double kLog2e = 1.4426950408889634073;

// log(e^a + e^b), also of infinities.
double log_of_sum(double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return a + b;
    const double most = std::max(a, b);
    return std::isinf(most) ? most : most + std::log1p(std::exp(std::min(a, b) - most));
}

// Keys number * kDecodeKeys, ..., and which of them, first and last, some query sees.
struct Stretch {
    int64_t number, first_seen, last_seen;
};

// One call, and what its units share.
class Call {
public:
    Call(const Problem& problem, const Output& out, float* lse, const Options& options)
        : problem_(problem), out_(out), lse_(lse), options_(options), set_(kernels(options.set)),
          plan_(problem.spans, kMostDecoded), call_(described()) {
        // Stretches that no query visits are left out.
        const Rows& rows = plan_.rows(0);
        for (int64_t i = 0; i < rows.n_runs; ++i) {
            for (int64_t at = rows.runs[i].first / kDecodeKeys; at * kDecodeKeys < rows.runs[i].stop; ++at) {
                const int64_t first = std::max(rows.runs[i].first, at * kDecodeKeys);
                const int64_t stop = std::min({rows.runs[i].stop, (at + 1) * kDecodeKeys, call_.n_keys});
                if (stretches_.empty() || stretches_.back().number < at) stretches_.push_back({at, first, stop});
                stretches_.back().last_seen = stop - 1;
            }
        }
        n_ = static_cast<int64_t>(stretches_.size());
        value_stride_ = value_stride(call_.value_width);
        found_ = rounded_up(call_.rows() * (2 + value_stride_), 16);
    }

    void run() {
        const int64_t heads = problem_.k.batch * problem_.k.heads;
        if (n_ == 0) {
            for (int64_t kv = 0; kv < heads; ++kv) join(kv, 0);
            return;
        }
        Slots slots(heads, n_ * found_ * 4, 0, n_, options_);
        scratch_bytes_ = rounded_up(static_cast<int64_t>(set_.decode_scratch(call_)), 64);
        scratch_ = Memory(static_cast<size_t>(scratch_bytes_ * slots.threads()));
        memory_ = Memory(static_cast<size_t>(n_ * found_ * 4 * slots.count()));
        slots.run([](int64_t, int64_t, int64_t) {},
                  [this](int64_t kv, int64_t slot, int64_t stretch, int thread) { decode(kv, slot, stretch, thread); },
                  [this](int64_t kv, int64_t slot) { join(kv, slot); });
    }

private:
    DecodeCall described() const {
        DecodeCall call;
        const bool values = out_.data != nullptr;
        call.scoring = scoring_of(problem_, set_, values);
        call.n_queries = static_cast<int>(problem_.q.rows);
        call.group = static_cast<int>(problem_.q.heads / problem_.k.heads);
        call.n_keys = problem_.k.rows;
        call.offset = problem_.spans.offset;
        call.width = problem_.q.columns;
        call.value_width = values ? problem_.v.columns : 0;
        call.k_stride = problem_.k.row_stride;
        call.v_stride = values ? problem_.v.row_stride : 0;
        call.q_stride = problem_.q.row_stride;
        call.q_head_stride = problem_.q.head_stride;
        call.visits = &plan_.rows(0);
        return call;
    }

    // What a stretch has found: levels, sums, values.
    float* found(int64_t slot, int64_t stretch) const { return memory_.as<float>() + (slot * n_ + stretch) * found_; }

    void decode(int64_t kv, int64_t slot, int64_t stretch, int thread) {
        const int64_t b = kv / problem_.k.heads, h = kv % problem_.k.heads;
        DecodeUnit unit;
        unit.call = &call_;
        unit.q = start(problem_.q, problem_.type, b, h * call_.group, 0);
        unit.k = start(problem_.k, problem_.type, b, h, 0);
        if (call_.value_width) unit.v = start(problem_.v, problem_.type, b, h, 0);
        if (problem_.alibi) unit.slopes = problem_.alibi + h * call_.group;
        const Stretch& keys = stretches_[static_cast<size_t>(stretch)];
        unit.first = keys.number * kDecodeKeys;
        unit.first_seen = keys.first_seen;
        unit.last_seen = keys.last_seen;
        unit.stop = std::min(unit.first + kDecodeKeys, call_.n_keys);
        unit.values = found(slot, stretch);
        unit.level = unit.values + call_.rows() * value_stride_;
        unit.sum = unit.level + call_.rows();
        set_.decode(unit, scratch_.as<char>() + thread * scratch_bytes_);
    }

    // The rows of one kv head, from its stretches in ascending order.
    void join(int64_t kv, int64_t slot) const {
        const int64_t b = kv / problem_.k.heads, rows = call_.rows();
        const double bits = problem_.softcap > 0 ? problem_.softcap * kLog2e : std::abs(problem_.scale) * kLog2e;
        const double unit = problem_.alibi ? 1.0 : static_cast<float>(bits);  // bits of a level
        std::vector<float> values(static_cast<size_t>(value_stride_)), columns(static_cast<size_t>(call_.value_width));
        std::vector<double> levels(static_cast<size_t>(n_));
        for (int64_t row = 0; row < rows; ++row) {
            const int64_t query = row / call_.group, head = kv % problem_.k.heads * call_.group + row % call_.group;
            const bool empty = problem_.spans.row_ptr[query] == problem_.spans.row_ptr[query + 1];
            double level = -std::numeric_limits<double>::infinity(), sum = 0;
            for (int64_t i = 0; i < n_; ++i) {
                levels[static_cast<size_t>(i)] = found_levels(slot, i)[row] + bias(head, query, i);
                level = std::max(level, levels[static_cast<size_t>(i)]);
            }
            std::fill(values.begin(), values.end(), 0.0f);
            for (int64_t i = 0; i < n_ && !empty; ++i) {
                const double factor = std::exp2((levels[static_cast<size_t>(i)] - level) * unit);
                sum += found_levels(slot, i)[rows + row] * factor;
                const float* from = found(slot, i) + row * value_stride_;
                const float narrow = static_cast<float>(factor);
                for (int64_t c = 0; c < value_stride_; ++c) values[static_cast<size_t>(c)] += from[c] * narrow;
            }
            double lse = empty ? -std::numeric_limits<double>::infinity() : level * unit / kLog2e + std::log(sum);
            double share = empty || sum == 0 ? 0 : 1 / sum;
            if (problem_.sinks && !empty) {
                const double with_sink = log_of_sum(lse, problem_.sinks[head]);
                if (share != 0) share *= std::exp(lse - with_sink);
                lse = with_sink;
            }
            if (lse_) lse_[(b * problem_.q.heads + head) * problem_.q.rows + query] = static_cast<float>(lse);
            if (out_.data == nullptr) continue;
            const float narrow = static_cast<float>(share);
            for (float& value : values) value = empty ? 0 : value * narrow;
            set_.order_values(call_, values.data(), columns.data());
            set_.narrow(problem_.type, columns.data(), call_.value_width, start(out_, problem_.type, b, head, query));
        }
    }

    // What the levels that a stretch has found lack, in bits.
    double bias(int64_t head, int64_t query, int64_t stretch) const {
        if (problem_.alibi == nullptr) return 0;
        const Stretch& keys = stretches_[static_cast<size_t>(stretch)];
        const int64_t from = biased_from(problem_.alibi[head], keys.first_seen, keys.last_seen);
        return static_cast<double>(problem_.alibi[head]) * kLog2e * static_cast<double>(from - call_.offset - query);
    }

    // [rows], and behind them the sums.
    const float* found_levels(int64_t slot, int64_t stretch) const { return found(slot, stretch) + call_.rows() * value_stride_; }

    const Problem& problem_;
    const Output& out_;
    float* const lse_;
    const Options& options_;
    const Kernels& set_;
    const Plan plan_;
    const DecodeCall call_;
    std::vector<Stretch> stretches_;  // those that are visited
    int64_t n_ = 0, value_stride_ = 0, found_ = 0, scratch_bytes_ = 0;
    Memory scratch_, memory_;
};

}  // namespace

bool decode(const Problem& problem, const Output& out, float* lse, const Options& options) {
    if (problem.q.rows < 1 || problem.q.rows > kMostDecoded || problem.q.heads == 0 || problem.q.batch == 0) return false;
    Call(problem, out, lse, options).run();
    return true;
}

}  // namespace lookbehind
