// The whole surface of the native engine: attention over spans, and what is seen in its weights.
//
// Plain pointers, strides and spans; nothing here knows Python. Every function checks the call before it
// touches any memory (Error), runs on as many threads as asked, and stops soon after `cancelled` says so
// (Cancelled). Results are the same bits for any number of threads.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace lookbehind {

enum class Type { float32, bfloat16, float16 };

// A call that cannot be run as it was asked: one line, what was asked and what arrived.
struct Error : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// The caller's own `cancelled` asked to stop; what the outputs hold is undefined.
struct Cancelled : std::exception {
    const char* what() const noexcept override { return "cancelled"; }
};

// [batch, heads, rows, columns], read only. Strides count elements; that of the columns is 1.
struct Tensor {
    const void* data = nullptr;
    int64_t batch = 0, heads = 0, rows = 0, columns = 0;
    int64_t batch_stride = 0, head_stride = 0, row_stride = 0;
};

// The same, to write to.
struct Output {
    void* data = nullptr;
    int64_t batch_stride = 0, head_stride = 0, row_stride = 0;
};

// Row r is the query at position offset + r; it reads the keys of intervals row_ptr[r] to row_ptr[r + 1] - 1:
// half-open, ascending, never touching, all within [0, n_keys).
struct Spans {
    int64_t n_queries = 0, n_keys = 0, offset = 0;
    const int64_t* row_ptr = nullptr;  // [n_queries + 1]
    const int64_t* starts = nullptr;   // [n_intervals]
    const int64_t* stops = nullptr;    // [n_intervals]
    int64_t n_intervals = 0;
};

// s_ij = scale * q_i.k_j; then softcap * tanh(s / softcap); then + alibi * (j - i), i and j positions.
struct Problem {
    Type type = Type::float32;  // of q, k, v and out
    Tensor q;                   // [B, Hq, Lq, D]
    Tensor k;                   // [B, Hkv, Lk, D]; query head h reads kv head h / (Hq / Hkv)
    Tensor v;                   // [B, Hkv, Lk, Dv]; data is null where no output is wanted
    Spans spans;                // Lq queries, Lk keys
    double scale = 1;
    double softcap = 0;            // 0: none
    const float* sinks = nullptr;  // [Hq]: one more logit per head, without a key; null: none
    const float* alibi = nullptr;  // [Hq]: slopes; null: none
};

struct Options {
    int threads = 1;
    std::string set;                       // the instruction set by name; empty: the best this machine runs
    bool (*cancelled)(void*) = nullptr;    // asked a few times a second, by the calling thread alone
    void* cancelled_context = nullptr;
};

// The mass of each row on other spans (same lengths as the problem's).
struct Mass {
    Spans spans;             // must lie within the problem's spans
    float* mass = nullptr;   // [B, Hq, Lq]
};

// What to reduce the weights p_ij = exp(s_ij - lse_i) to. Null pointers and zero sizes are not asked for and
// not paid for. All arrays are contiguous and are written whole; B and Hq lead.
struct Wants {
    float* received = nullptr;     // [B, Hq, Lk]
    float* entropy = nullptr;      // [B, Hq, Lq]
    float* top_weights = nullptr;  // [B, Hq, Lq, top], descending; 0 where a row has fewer keys
    int64_t* top_keys = nullptr;   // [B, Hq, Lq, top]; -1 where a row has fewer keys
    int64_t top = 0;
    float* max_score = nullptr;    // [B, Hq]; -inf if there is no product
    float* distance = nullptr;     // [B, Hq, Lq]
    float* by_distance = nullptr;  // [B, Hq, n_distances]
    int64_t n_distances = 0;
    std::vector<Mass> masses;
    int64_t map_rows = 0, map_columns = 0;
    bool map_of_scores = false;    // pool s_ij, not p_ij
    float* map_mean = nullptr;     // [B, Hq, map_rows, map_columns]; NaN where there is no product
    float* map_sum = nullptr;      // the same
    float* map_max = nullptr;      // the same
};

// out [B, Hq, Lq, Dv] in the problem's type; lse float32 [B, Hq, Lq], contiguous, may be null.
void attend(const Problem& problem, const Output& out, float* lse, const Options& options);

// lse alone: v is not looked at.
void logsumexp(const Problem& problem, float* lse, const Options& options);

// lse [B, Hq, Lq] is an input: whoever computed it.
void observe(const Problem& problem, const float* lse, const Wants& wants, const Options& options);

// The instruction sets compiled in that this machine runs, best first.
std::vector<std::string> sets();

// The instruction sets compiled in, whether or not this machine runs them.
std::vector<std::string> compiled_sets();

// Multiply-adds that never leave the registers, in 2 * products per second: what one core could reach in these `seconds`, all
// of them together, so that what disturbs a core disturbs this as it does what is measured beside it.
// For bfloat16 with the dot instruction where the set has one, else with the float32 multiply-add: float32 attention
// that the matrix unit multiplies can be above it.
double peak_flops(Type type, const std::string& set, double seconds);

// Bytes per second read plus written by copying `bytes` on `threads` threads, again and again for so many seconds.
double copy_bandwidth(int64_t bytes, int threads, double seconds);

}  // namespace lookbehind
