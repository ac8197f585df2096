#include "check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

namespace lookbehind {
namespace {

constexpr int64_t kMostPlaces = std::numeric_limits<int32_t>::max();  // of one axis
constexpr int64_t kMostBytes = int64_t{1} << 62;                      // that an array may reach over

using Sizes = std::array<int64_t, 4>;

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    std::string text;
    const auto add = [&text](const auto& part) {
        if constexpr (std::is_arithmetic_v<std::decay_t<decltype(part)>>) {
            text += std::to_string(part);
        } else {
            text += part;
        }
    };
    (add(parts), ...);
    throw Error(text);
}

std::string listed(const Sizes& sizes) {
    std::string text = "[";
    for (size_t axis = 0; axis < sizes.size(); ++axis) {
        text += (axis ? ", " : "") + std::to_string(sizes[axis]);
    }
    return text + "]";
}

Sizes sizes_of(const Tensor& tensor) { return {tensor.batch, tensor.heads, tensor.rows, tensor.columns}; }

int64_t bytes_of(Type type) {
    switch (type) {
        case Type::float32: return 4;
        case Type::bfloat16:
        case Type::float16: return 2;
    }
    refuse("type: there is no number ", static_cast<int>(type), "; choose float32, bfloat16 or float16");
}

// Whether an array of these sizes holds more bytes than can be counted on.
bool overflows(const Sizes& sizes, int64_t item) {
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return false;
    int64_t bytes = item;
    for (const int64_t size : sizes) {
        if (bytes > kMostBytes / size) return true;
        bytes *= size;
    }
    return false;
}

void check_sizes(const char* name, const Sizes& sizes, int64_t item) {
    for (const int64_t size : sizes) {
        if (size < 0 || size > kMostPlaces) {
            refuse(name, ": each size must lie in 0 to ", kMostPlaces, "; got ", listed(sizes));
        }
    }
    if (overflows(sizes, item)) refuse(name, ": ", listed(sizes), " cannot be addressed; split the call");
}

// Where a pointer may go: |stride| * (size - 1) summed over the axes.
void check_reach(const char* name, const Sizes& sizes, const std::array<int64_t, 3>& strides, int64_t item) {
    int64_t reach = sizes[3];
    for (size_t axis = 0; axis < strides.size(); ++axis) {
        const int64_t steps = std::max<int64_t>(sizes[axis] - 1, 0);
        const bool out_of_range = strides[axis] <= -kMostBytes || strides[axis] >= kMostBytes;
        const int64_t stride = out_of_range ? kMostBytes : std::abs(strides[axis]);
        if (steps > 0 && stride > (kMostBytes / item - reach) / steps) {
            refuse(name, ": a stride of ", strides[axis], " over ", sizes[axis],
                   " places reaches beyond what can be addressed");
        }
        reach += steps * stride;
    }
}

void check_tensor(const char* name, const Tensor& tensor, int64_t item) {
    const Sizes sizes = sizes_of(tensor);
    check_sizes(name, sizes, item);
    if (tensor.columns < 1) refuse(name, ": a head needs at least 1 column; got ", listed(sizes));
    check_reach(name, sizes, {tensor.batch_stride, tensor.head_stride, tensor.row_stride}, item);
    const bool empty = tensor.batch == 0 || tensor.heads == 0 || tensor.rows == 0;
    if (tensor.data == nullptr && !empty) refuse(name, ": ", listed(sizes), " without data");
}

// An output whose rows share memory would be written by several threads at once.
void check_output(const Output& out, const Problem& problem, int64_t item) {
    const Sizes sizes{problem.q.batch, problem.q.heads, problem.q.rows, problem.v.columns};
    check_sizes("out", sizes, item);
    const std::array<int64_t, 3> strides{out.batch_stride, out.head_stride, out.row_stride};
    check_reach("out", sizes, strides, item);
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return;
    if (out.data == nullptr) refuse("out: ", listed(sizes), " without data");
    std::array<size_t, 3> order{0, 1, 2};
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return strides[a] < strides[b]; });
    int64_t taken = sizes[3];
    for (const size_t axis : order) {
        if (sizes[axis] == 1) continue;
        if (strides[axis] < taken) {
            refuse("out: its rows of ", sizes[3], " columns overlap; got strides ", strides[0], ", ", strides[1],
                   " and ", strides[2]);
        }
        taken += strides[axis] * (sizes[axis] - 1);
    }
}

void check_spans(const std::string& name, const Spans& spans, int64_t n_queries, int64_t n_keys) {
    if (spans.n_queries != n_queries || spans.n_keys != n_keys) {
        refuse(name, ": ", n_queries, " queries x ", n_keys, " keys are needed; got ", spans.n_queries, " x ",
               spans.n_keys);
    }
    if (std::abs(spans.offset / 2) > kMostPlaces / 2 - n_queries / 2) {
        refuse(name, ": positions must fit in 32 bits; got ", n_queries, " queries at offset ", spans.offset);
    }
    if (spans.n_intervals < 0 || (n_queries > 0 && spans.row_ptr == nullptr) ||
        (spans.n_intervals > 0 && (spans.starts == nullptr || spans.stops == nullptr))) {
        refuse(name, ": ", spans.n_intervals, " intervals without their tables");
    }
    if (n_queries == 0) return;
    // The pointers first: only then may they lead anywhere.
    if (spans.row_ptr[0] != 0 || spans.row_ptr[n_queries] != spans.n_intervals) {
        refuse(name, ": row pointers must run from 0 to the ", spans.n_intervals, " intervals given; they run from ",
               spans.row_ptr[0], " to ", spans.row_ptr[n_queries]);
    }
    for (int64_t row = 0; row < n_queries; ++row) {
        if (spans.row_ptr[row + 1] < spans.row_ptr[row] || spans.row_ptr[row + 1] > spans.n_intervals) {
            refuse(name, ": row pointers must ascend; that of row ", row, " is ", spans.row_ptr[row],
                   " and the next ", spans.row_ptr[row + 1]);
        }
    }
    for (int64_t row = 0; row < n_queries; ++row) {
        int64_t before = -1;  // where the interval before it stops
        for (int64_t at = spans.row_ptr[row]; at < spans.row_ptr[row + 1]; ++at) {
            const int64_t start = spans.starts[at], stop = spans.stops[at];
            if (start < 0 || start >= stop || stop > n_keys) {
                refuse(name, ": each interval must be non-empty and lie in [0, ", n_keys, "); row ", row, " has [",
                       start, ", ", stop, ")");
            }
            if (start <= before) {
                refuse(name, ": the intervals of row ", row, " must ascend, apart from one another; [", start, ", ",
                       stop, ") follows one up to ", before);
            }
            before = stop;
        }
    }
}

// Every interval of `inner` must lie within one of `outer`: those of a row never touch.
void check_within(const std::string& name, const Spans& inner, const Spans& outer) {
    for (int64_t row = 0; row < inner.n_queries; ++row) {
        int64_t at = outer.row_ptr[row];
        for (int64_t mine = inner.row_ptr[row]; mine < inner.row_ptr[row + 1]; ++mine) {
            while (at < outer.row_ptr[row + 1] && outer.stops[at] < inner.stops[mine]) ++at;
            if (at == outer.row_ptr[row + 1] || outer.starts[at] > inner.starts[mine]) {
                refuse(name, ": must lie within the spans of the call; row ", row, " reads [", inner.starts[mine],
                       ", ", inner.stops[mine], ") only here");
            }
        }
    }
}

void check_problem(const Problem& problem, const Options& options) {
    const int64_t item = bytes_of(problem.type);
    const Tensor &q = problem.q, &k = problem.k;
    check_tensor("q", q, item);
    check_tensor("k", k, item);
    if (k.batch != q.batch || k.columns != q.columns) {
        refuse("k: batch and columns must be those of q, ", listed(sizes_of(q)), "; got ", listed(sizes_of(k)));
    }
    if (q.heads > 0 && (k.heads == 0 || q.heads % k.heads != 0)) {
        refuse("k: its heads must divide the ", q.heads, " of q; got ", k.heads);
    }
    if (!std::isfinite(problem.scale)) refuse("scale: must be finite; got ", problem.scale);
    if (!std::isfinite(problem.softcap) || problem.softcap < 0) {
        refuse("softcap: must be finite and positive, or 0 for none; got ", problem.softcap);
    }
    if (options.threads < 1) refuse("threads: at least 1 is needed; got ", options.threads);
    check_spans("spans", problem.spans, q.rows, k.rows);
}

// A float32 array [B, Hq, ...] that is asked for by its pointer.
void check_array(const char* name, const void* data, const Sizes& sizes, int64_t item = 4) {
    check_sizes(name, sizes, item);
    const bool empty = std::find(sizes.begin(), sizes.end(), 0) != sizes.end();
    if (data == nullptr && !empty) refuse(name, ": ", listed(sizes), " without data");
}

}  // namespace

void check_attend(const Problem& problem, const Output& out, const Options& options) {
    check_problem(problem, options);
    const Tensor &k = problem.k, &v = problem.v;
    check_tensor("v", v, bytes_of(problem.type));
    if (v.batch != k.batch || v.heads != k.heads || v.rows != k.rows) {
        refuse("v: batch, heads and rows must be those of k, ", listed(sizes_of(k)), "; got ",
               listed(sizes_of(v)));
    }
    check_output(out, problem, bytes_of(problem.type));
}

void check_logsumexp(const Problem& problem, const float* lse, const Options& options) {
    check_problem(problem, options);
    check_array("lse", lse, {problem.q.batch, problem.q.heads, problem.q.rows, 1});
}

void check_observe(const Problem& problem, const float* lse, const Wants& wants, const Options& options) {
    check_logsumexp(problem, lse, options);
    const int64_t batch = problem.q.batch, heads = problem.q.heads, rows = problem.q.rows, keys = problem.k.rows;
    const Spans& spans = problem.spans;
    check_sizes("received", {batch, heads, keys, 1}, 4);
    if (wants.top < 0) refuse("top: must not be negative; got ", wants.top);
    if (wants.top > 0) {
        check_array("top_weights", wants.top_weights, {batch, heads, rows, wants.top});
        check_array("top_keys", wants.top_keys, {batch, heads, rows, wants.top}, 8);
    }
    if (wants.by_distance != nullptr) {
        const int64_t needed = std::max({keys, spans.offset + rows, keys - spans.offset});
        if (wants.n_distances != needed) {
            refuse("by_distance: ", needed, " distances can occur; got room for ", wants.n_distances);
        }
        check_sizes("by_distance", {batch, heads, needed, 1}, 4);
    }
    for (size_t at = 0; at < wants.masses.size(); ++at) {
        const Mass& mass = wants.masses[at];
        const std::string name = "mass " + std::to_string(at);
        check_spans(name, mass.spans, rows, keys);
        if (mass.spans.offset != spans.offset) {
            refuse(name, ": its offset must be that of the call, ", spans.offset, "; got ", mass.spans.offset);
        }
        check_within(name, mass.spans, spans);
        check_array("mass", mass.mass, {batch, heads, rows, 1});
    }
    if (wants.map_mean != nullptr || wants.map_sum != nullptr || wants.map_max != nullptr) {
        if (wants.map_rows < 0 || wants.map_columns < 0 || wants.map_rows > rows || wants.map_columns > keys) {
            refuse("map: at most ", rows, " x ", keys, " pixels are possible; got ", wants.map_rows, " x ",
                   wants.map_columns);
        }
        if ((wants.map_rows == 0 && rows > 0) || (wants.map_columns == 0 && keys > 0)) {
            refuse("map: at least 1 x 1 pixels are needed; got ", wants.map_rows, " x ", wants.map_columns);
        }
        check_sizes("map", {batch, heads, wants.map_rows, wants.map_columns}, 4);
    }
}

}  // namespace lookbehind
