// Runs the whole native engine on random problems, without Python: what the sanitizers watch (`make sanitize`).
//
//     driver [rounds] [seed]
//
// Arrays end where they end: a byte too far is seen. Results are compared with plain loops in double, between
// instruction sets, and bit for bit between one thread and several. Prints one line a set; the exit status is 1 if
// anything was wrong.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lookbehind.h"

namespace lb = lookbehind;

namespace {

std::mt19937_64 generator;

int64_t whole(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(generator);
}
bool maybe() { return whole(0, 1) == 1; }
float normal() { return std::normal_distribution<float>()(generator); }

uint16_t to_bfloat16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float from_bfloat16(uint16_t x) {
    const uint32_t bits = uint32_t(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// Normal float16 numbers alone: what normal() gives, rounded.
uint16_t to_float16(float x) {
    if (std::fabs(x) < 1e-3f) return 0;
    int exponent;
    const float part = std::frexp(std::fabs(x), &exponent);  // in [0.5, 1)
    const auto whole = static_cast<uint32_t>(std::lround(part * 2048));  // 11 bits, the first of them set
    return static_cast<uint16_t>((x < 0 ? 0x8000u : 0u) + (uint32_t(exponent + 13) << 10) + whole);
}

float from_float16(uint16_t x) {
    if ((x & 0x7fff) == 0) return 0;
    const float value = std::ldexp(1024.0f + (x & 1023), ((x >> 10) & 31) - 25);
    return x >> 15 ? -value : value;
}

// [batch, heads, rows, columns], heads or rows first, with a gap behind each row; exactly as long as it must be.
struct Array {
    lb::Type type;
    int64_t batch, heads, rows, columns;
    int64_t batch_stride, head_stride, row_stride;
    std::vector<char> memory;

    Array(lb::Type type, int64_t batch, int64_t heads, int64_t rows, int64_t columns)
        : type(type), batch(batch), heads(heads), rows(rows), columns(columns) {
        const int64_t gap = maybe() ? 0 : whole(1, 5);
        if (maybe()) {
            row_stride = columns + gap, head_stride = rows * row_stride, batch_stride = heads * head_stride;
        } else {
            head_stride = columns + gap, row_stride = heads * head_stride, batch_stride = rows * row_stride;
        }
        const int64_t size = !batch || !rows ? 0
            : (batch - 1) * batch_stride + (heads - 1) * head_stride + (rows - 1) * row_stride + columns;
        memory.resize(static_cast<size_t>(size) * width());
        for (int64_t i = 0; i < size; ++i) set(i, normal());
    }

    size_t width() const { return type == lb::Type::float32 ? 4 : 2; }
    int64_t at(int64_t b, int64_t h, int64_t r, int64_t c) const {
        return b * batch_stride + h * head_stride + r * row_stride + c;
    }
    void set(int64_t i, float x) {
        char* to = memory.data() + static_cast<size_t>(i) * width();
        if (type == lb::Type::float32) { std::memcpy(to, &x, 4); return; }
        const uint16_t half = type == lb::Type::bfloat16 ? to_bfloat16(x) : to_float16(x);
        std::memcpy(to, &half, 2);
    }
    double get(int64_t i) const {
        const char* from = memory.data() + static_cast<size_t>(i) * width();
        if (type == lb::Type::float32) { float x; std::memcpy(&x, from, 4); return x; }
        uint16_t half;
        std::memcpy(&half, from, 2);
        return type == lb::Type::bfloat16 ? from_bfloat16(half) : from_float16(half);
    }
    lb::Tensor tensor() const {
        return {memory.data(), batch, heads, rows, columns, batch_stride, head_stride, row_stride};
    }
    lb::Output output() { return {memory.data(), batch_stride, head_stride, row_stride}; }
};

struct Table {
    std::vector<int64_t> row_ptr{0}, starts, stops;
    int64_t n_queries, n_keys, offset;

    // Rows of 0 to 6 random intervals, or what a decoder has: everything up to a diagonal, or a window.
    Table(int64_t n_queries, int64_t n_keys) : n_queries(n_queries), n_keys(n_keys), offset(n_keys - n_queries) {
        const int64_t kind = whole(0, 3), window = whole(1, n_keys + 1);
        for (int64_t row = 0; row < n_queries; ++row) {
            if (kind < 2) {
                const int64_t stop = std::clamp<int64_t>(offset + row + 1, 0, n_keys);
                const int64_t first = kind == 0 ? 0 : std::max<int64_t>(0, offset + row + 1 - window);
                if (first < stop) add(first, stop);
            } else {
                for (int64_t key = whole(0, n_keys), n = whole(0, 6); n > 0 && key < n_keys; --n) {
                    const int64_t stop = whole(key + 1, n_keys);
                    add(key, stop);
                    key = stop + 1 + (kind == 2 ? 0 : whole(0, n_keys));
                }
            }
            row_ptr.push_back(static_cast<int64_t>(starts.size()));
        }
        if (maybe()) offset += whole(-20, 20);
    }

    void add(int64_t start, int64_t stop) { starts.push_back(start), stops.push_back(stop); }
    lb::Spans spans() const {
        return {n_queries, n_keys, offset, row_ptr.data(), starts.data(), stops.data(),
                static_cast<int64_t>(starts.size())};
    }
    template <typename Visit>
    void each(int64_t row, const Visit& visit) const {
        for (int64_t i = row_ptr[row]; i < row_ptr[row + 1]; ++i)
            for (int64_t key = starts[i]; key < stops[i]; ++key) visit(key);
    }
};

struct Case {
    lb::Type type = static_cast<lb::Type>(whole(0, 2));
    int64_t batch = whole(1, 2), kv_heads = whole(1, 5), heads = kv_heads * whole(1, 3);
    int64_t n_queries = whole(0, 9) == 0 ? 0 : maybe() ? whole(1, 5) : whole(1, 150), n_keys = whole(1, 300);
    int64_t width = whole(1, 70), v_width = whole(1, 70);
    Array q{type, batch, heads, n_queries, width}, k{type, batch, kv_heads, n_keys, width};
    Array v{type, batch, kv_heads, n_keys, v_width}, out{type, batch, heads, n_queries, v_width};
    Table table{n_queries, n_keys};
    std::vector<float> sinks, alibi;
    lb::Problem problem;

    Case() {
        for (int64_t h = 0; h < heads; ++h) sinks.push_back(normal()), alibi.push_back(std::fabs(normal()) / 8);
        problem = {type, q.tensor(), k.tensor(), v.tensor(), table.spans()};
        problem.scale = 1 / std::sqrt(double(width));
        if (maybe()) problem.softcap = 2;
        if (maybe()) problem.sinks = sinks.data();
        if (maybe()) problem.alibi = alibi.data();
    }

    double score(int64_t b, int64_t h, int64_t row, int64_t key) const {
        const int64_t kv = h / (heads / kv_heads);
        double s = 0;
        for (int64_t c = 0; c < width; ++c) s += q.get(q.at(b, h, row, c)) * k.get(k.at(b, kv, key, c));
        s *= problem.scale;
        if (problem.softcap > 0) s = problem.softcap * std::tanh(s / problem.softcap);
        if (problem.alibi) s += alibi[h] * double(key - (table.offset + row));
        return s;
    }
};

// What the engine wrote for a case.
struct Found {
    Array out;
    std::vector<float> lse, alone, received, entropy, top, highest, distance, by_distance, mass, sum, most;
    std::vector<int64_t> keys;
    explicit Found(const Case& one) : out(one.out) {}
};

Found run(const Case& one, const lb::Options& options) {
    Found found(one);
    const auto all = static_cast<size_t>(one.batch * one.heads), rows = all * static_cast<size_t>(one.n_queries);
    found.lse.resize(rows), found.alone.resize(rows);
    lb::attend(one.problem, found.out.output(), found.lse.data(), options);
    lb::logsumexp(one.problem, found.alone.data(), options);

    const int64_t top = 3, columns = std::min<int64_t>(one.n_keys, 13), down = std::min<int64_t>(one.n_queries, 7);
    const int64_t reach = one.table.offset + one.n_queries;
    lb::Wants wants;
    wants.n_distances = std::max({one.n_keys, reach, one.n_keys - one.table.offset});
    const auto grown = [](std::vector<float>& values, size_t size) { values.resize(size); return values.data(); };
    wants.received = grown(found.received, all * static_cast<size_t>(one.n_keys));
    wants.entropy = grown(found.entropy, rows);
    wants.top = top;
    wants.top_weights = grown(found.top, rows * top);
    found.keys.resize(rows * top);
    wants.top_keys = found.keys.data();
    wants.max_score = grown(found.highest, all);
    wants.distance = grown(found.distance, rows);
    wants.by_distance = grown(found.by_distance, all * static_cast<size_t>(wants.n_distances));
    wants.masses.push_back({one.table.spans(), grown(found.mass, rows)});
    if (one.n_queries > 0) {
        wants.map_rows = down, wants.map_columns = columns;
        wants.map_sum = grown(found.sum, all * static_cast<size_t>(down * columns));
        wants.map_max = grown(found.most, all * static_cast<size_t>(down * columns));
    }
    lb::observe(one.problem, found.lse.data(), wants, options);
    return found;
}

int faults = 0;

void expect(bool right, const char* what, const std::string& set) {
    if (!right && ++faults <= 20) std::printf("wrong: %s on %s\n", what, set.c_str());
}

bool close(double found, double right, double allowed) {
    if (std::isinf(right)) return found == right;
    return std::fabs(found - right) <= allowed * std::max(1.0, std::fabs(right));
}

void check(const Case& one, const Found& found, const std::string& set) {
    const bool coarse = one.type == lb::Type::bfloat16;  // its exponential
    const double allowed = one.type == lb::Type::float32 ? 1e-5 : 2e-2, fine = coarse ? 2e-4 : 1e-5;
    for (int64_t b = 0; b < one.batch; ++b)
        for (int64_t h = 0; h < one.heads; ++h)
            for (int64_t row = 0; row < one.n_queries; ++row) {
                double total = 0, mass = 0;
                bool empty = true;
                one.table.each(row, [&](int64_t key) { total += std::exp(one.score(b, h, row, key)), empty = false; });
                if (one.problem.sinks && !empty) total += std::exp(one.sinks[h]);
                const double lse = empty ? -std::numeric_limits<double>::infinity() : std::log(total);
                std::vector<double> out(one.v_width);
                const int64_t kv = h / (one.heads / one.kv_heads);
                one.table.each(row, [&](int64_t key) {
                    const double p = std::exp(one.score(b, h, row, key) - lse);
                    mass += p;
                    for (int64_t c = 0; c < one.v_width; ++c) out[c] += p * one.v.get(one.v.at(b, kv, key, c));
                });
                const auto at = static_cast<size_t>((b * one.heads + h) * one.n_queries + row);
                expect(close(found.lse[at], lse, fine) && close(found.alone[at], lse, 1e-5), "lse", set);
                expect(close(found.mass[at], mass, fine), "mass", set);
                for (int64_t c = 0; c < one.v_width; ++c)
                    expect(close(found.out.get(found.out.at(b, h, row, c)), out[c], allowed), "out", set);
            }
    double received = 0, far = 0, mass = 0, map = 0;
    for (float x : found.received) received += x;
    for (float x : found.by_distance) far += x;
    for (float x : found.mass) mass += x;
    for (float x : found.sum) map += std::isnan(x) ? 0 : x;  // NaN: no product there
    expect(close(received, mass, 1e-4), "received", set);
    expect(close(far, mass, 1e-4), "by distance", set);
    expect(one.n_queries == 0 || close(map, mass, 1e-4), "map", set);
}

template <typename T>
bool same(const std::vector<T>& one, const std::vector<T>& other) {
    return one.size() == other.size() && (one.empty() || !std::memcmp(one.data(), other.data(), one.size() * sizeof(T)));
}

bool same(const Found& one, const Found& other) {
    return same(one.out.memory, other.out.memory) && same(one.lse, other.lse) && same(one.alone, other.alone) &&
           same(one.received, other.received) && same(one.entropy, other.entropy) && same(one.top, other.top) &&
           same(one.highest, other.highest) && same(one.distance, other.distance) && same(one.sum, other.sum) &&
           same(one.by_distance, other.by_distance) && same(one.mass, other.mass) && same(one.most, other.most) &&
           same(one.keys, other.keys);
}

// A call that is told to stop stops, on all threads, and the next call is as good as any.
void cancel(const std::string& set) {
    Case one;
    std::atomic<int> asked{0};
    lb::Options options;
    options.threads = 3, options.set = set, options.cancelled_context = &asked;
    options.cancelled = [](void* context) { return ++*static_cast<std::atomic<int>*>(context) > 0; };
    try {
        for (int i = 0; i < 20; ++i) run(one, options);
    } catch (const lb::Cancelled&) {}
    options.cancelled = nullptr;
    check(one, run(one, options), set);
}

// Several callers at once, each with threads of its own.
void callers(const std::string& set) {
    Case one;
    lb::Options options;
    options.threads = 2, options.set = set;
    const Found expected = run(one, options);
    std::vector<std::thread> several;
    std::atomic<int> wrong{0};
    std::vector<float> lse[3];
    for (auto& mine : lse) {
        mine.resize(expected.lse.size());
        several.emplace_back([&, to = mine.data()] { lb::logsumexp(one.problem, to, options); });
    }
    for (auto& thread : several) thread.join();
    for (auto& mine : lse) expect(same(mine, expected.alone), "callers side by side", set);
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 40;
    generator.seed(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0);
    for (const std::string& set : lb::sets()) {
        for (int round = 0; round < rounds; ++round) {
            Case one;
            lb::Options options;
            options.set = set;
            const Found alone = run(one, options);
            check(one, alone, set);
            options.threads = static_cast<int>(whole(2, 5));
            expect(same(alone, run(one, options)), "threads change the bits", set);
        }
        cancel(set);
        callers(set);
        std::printf("%s: %d problems, %s\n", set.c_str(), rounds, faults ? "something was wrong" : "all right");
    }
    return faults > 0;
}
