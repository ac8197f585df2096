// The Python module lookbehind._native: arrays in, the calls of lookbehind.h, errors out. All that knows Python.
//
// Arrays arrive through DLPack or the buffer protocol, never copied; src/lookbehind/_native.pyi lists the
// functions. What an array is (type, device, axes, strides, writable) is checked here, everything else in check.cpp.
// The GIL is released while the engine runs; signals are looked at in between, so Ctrl-C works.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <vector>

#include "lookbehind.h"

namespace nb = nanobind;
using namespace nb::literals;
namespace lb = lookbehind;

namespace {

using Array = nb::ndarray<nb::ro>;
using Target = nb::ndarray<>;

// -- arrays ------------------------------------------------------------------------------------------------

constexpr nb::dlpack::dtype kind(nb::dlpack::dtype_code code, uint8_t bits) { return {uint8_t(code), bits, 1}; }
constexpr auto float32 = kind(nb::dlpack::dtype_code::Float, 32);
constexpr auto float16 = kind(nb::dlpack::dtype_code::Float, 16);
constexpr auto bfloat16 = kind(nb::dlpack::dtype_code::Bfloat, 16);
constexpr auto int64 = kind(nb::dlpack::dtype_code::Int, 64);

std::string words(nb::dlpack::dtype type) {
    static const char* names[] = {"int", "uint", "float", "handle", "bfloat", "complex", "bool"};
    return (type.code < 7 ? names[type.code] : "dtype") + std::to_string(type.bits);
}

template <typename Any>
std::string shape(const Any& array) {
    std::string text = "[";
    for (size_t axis = 0; axis < array.ndim(); ++axis) text += (axis ? ", " : "") + std::to_string(array.shape(axis));
    return text + "]";
}

lb::Type type(const Array& array, const char* name) {
    if (array.dtype() == float32) return lb::Type::float32;
    if (array.dtype() == bfloat16) return lb::Type::bfloat16;
    if (array.dtype() == float16) return lb::Type::float16;
    throw lb::Error(std::string(name) + ": float32, bfloat16 or float16 is needed; got " + words(array.dtype()));
}

template <typename Any>
void on_cpu(const Any& array, const char* name) {
    if (array.device_type() != nb::device::cpu::value)
        throw lb::Error(std::string(name) + ": an array on the CPU is needed; got device type " +
                        std::to_string(array.device_type()));
}

template <typename Any>
void four_axes(const Any& array, const char* name) {
    on_cpu(array, name);
    if (array.ndim() != 4)
        throw lb::Error(std::string(name) + ": four axes [batch, heads, rows, columns] are needed; got " + shape(array));
    if (array.shape(3) > 1 && array.stride(3) != 1)
        throw lb::Error(std::string(name) + ": the last axis must have stride 1; got " + std::to_string(array.stride(3)));
}

lb::Tensor tensor(const Array& array, const char* name, nb::dlpack::dtype like) {
    four_axes(array, name);
    if (array.dtype() != like)
        throw lb::Error(std::string(name) + ": " + words(like) + " is needed, as q; got " + words(array.dtype()));
    return {array.data(), int64_t(array.shape(0)), int64_t(array.shape(1)), int64_t(array.shape(2)),
            int64_t(array.shape(3)), array.stride(0), array.stride(1), array.stride(2)};
}

// A contiguous array of `size` axes [lead..., last...], or an error.
template <typename T, typename Any>
T* contiguous(const Any& array, const char* name, nb::dlpack::dtype want, std::vector<int64_t> size) {
    on_cpu(array, name);
    bool fits = array.dtype() == want && array.ndim() == size.size(), dense = true;
    int64_t step = 1;
    for (size_t axis = size.size(); fits && axis-- > 0;) {
        fits = int64_t(array.shape(axis)) == size[axis];
        dense = dense && (size[axis] <= 1 || array.stride(axis) == step);
        step *= size[axis] > 0 ? size[axis] : 1;
    }
    if (!fits || !dense) {
        std::string wanted = "[";
        for (size_t axis = 0; axis < size.size(); ++axis) wanted += (axis ? ", " : "") + std::to_string(size[axis]);
        throw lb::Error(std::string(name) + ": contiguous " + words(want) + " " + wanted + "] is needed; got " +
                        words(array.dtype()) + " " + shape(array) + (fits ? ", not contiguous" : ""));
    }
    return static_cast<T*>(array.data());
}

// -- what every call has ------------------------------------------------------------------------------------

template <typename Any>
Any array(nb::handle given, const char* name) {
    Any found;
    if (!nb::try_cast(given, found, false)) throw lb::Error(std::string(name) + ": an array is needed");
    return found;
}

// (row_ptr [n_queries + 1], starts [n], stops [n], offset): the arrays live as long as this does.
struct Spans {
    Array row_ptr, starts, stops;
    lb::Spans plain;

    Spans(const nb::tuple& given, int64_t n_queries, int64_t n_keys) {
        if (given.size() != 4) throw lb::Error("spans: (row_ptr, starts, stops, offset) is needed");
        row_ptr = array<Array>(given[0], "row_ptr");
        starts = array<Array>(given[1], "starts");
        stops = array<Array>(given[2], "stops");
        const int64_t n = starts.ndim() == 1 ? int64_t(starts.shape(0)) : 0;
        plain.n_queries = n_queries;
        plain.n_keys = n_keys;
        if (!nb::try_cast(given[3], plain.offset)) throw lb::Error("spans: the offset must be a whole number of 64 bits");
        plain.row_ptr = contiguous<const int64_t>(row_ptr, "row_ptr", int64, {n_queries + 1});
        plain.starts = contiguous<const int64_t>(starts, "starts", int64, {n});
        plain.stops = contiguous<const int64_t>(stops, "stops", int64, {n});
        plain.n_intervals = n;
    }
};

struct Call {
    lb::Problem problem;
    Spans spans;
    lb::Options options;

    Call(const Array& q, const Array& k, const Array* v, const nb::tuple& given, double scale, double softcap,
         const std::optional<Array>& sinks, const std::optional<Array>& alibi, int threads, const std::string& set)
        : problem{type(q, "q"), tensor(q, "q", q.dtype()), tensor(k, "k", q.dtype()), {}, {}},
          spans(given, problem.q.rows, problem.k.rows) {
        if (v) problem.v = tensor(*v, "v", q.dtype());
        problem.spans = spans.plain;
        problem.scale = scale;
        problem.softcap = softcap;
        if (sinks) problem.sinks = contiguous<const float>(*sinks, "sinks", float32, {problem.q.heads});
        if (alibi) problem.alibi = contiguous<const float>(*alibi, "alibi", float32, {problem.q.heads});
        options.threads = threads;
        options.set = set;
        options.cancelled = [](void*) {
            nb::gil_scoped_acquire held;
            return PyErr_CheckSignals() != 0;
        };
    }

    std::vector<int64_t> rows() const { return {problem.q.batch, problem.q.heads, problem.q.rows}; }
};

// Runs `engine` without the GIL; a signal handler's exception is raised as it is.
template <typename Engine>
void run(const Engine& engine) {
    try {
        nb::gil_scoped_release released;
        engine();
    } catch (const lb::Cancelled&) {
        throw nb::python_error();
    }
}

// -- the calls ---------------------------------------------------------------------------------------------

void attend(const Array& q, const Array& k, const Array& v, const Target& out, const Target& lse,
            const nb::tuple& spans, double scale, double softcap, const std::optional<Array>& sinks,
            const std::optional<Array>& alibi, int threads, const std::string& set) {
    Call call(q, k, &v, spans, scale, softcap, sinks, alibi, threads, set);
    four_axes(out, "out");
    const auto& problem = call.problem;
    if (out.dtype() != q.dtype() || int64_t(out.shape(0)) != problem.q.batch ||
        int64_t(out.shape(1)) != problem.q.heads || int64_t(out.shape(2)) != problem.q.rows ||
        int64_t(out.shape(3)) != problem.v.columns)
        throw lb::Error("out: " + words(q.dtype()) + " [batch, heads, rows] of q, columns of v is needed; got " +
                        words(out.dtype()) + " " + shape(out));
    lb::Output target{out.data(), out.stride(0), out.stride(1), out.stride(2)};
    float* to = contiguous<float>(lse, "lse", float32, call.rows());
    run([&] { lb::attend(problem, target, to, call.options); });
}

void logsumexp(const Array& q, const Array& k, const Target& lse, const nb::tuple& spans, double scale,
               double softcap, const std::optional<Array>& sinks, const std::optional<Array>& alibi, int threads,
               const std::string& set) {
    Call call(q, k, nullptr, spans, scale, softcap, sinks, alibi, threads, set);
    float* to = contiguous<float>(lse, "lse", float32, call.rows());
    run([&] { lb::logsumexp(call.problem, to, call.options); });
}

// `wants`: name to the array that the reduction is written to. `masses`: (spans, array) each.
void observe(const Array& q, const Array& k, const Array& lse, const nb::dict& wants, const nb::list& masses,
             bool map_of_scores, const nb::tuple& spans, double scale, double softcap,
             const std::optional<Array>& sinks, const std::optional<Array>& alibi, int threads,
             const std::string& set) {
    Call call(q, k, nullptr, spans, scale, softcap, sinks, alibi, threads, set);
    const auto& problem = call.problem;
    const int64_t batch = problem.q.batch, heads = problem.q.heads, rows = problem.q.rows;
    std::vector<Target> kept;  // every target, for as long as the engine writes to it
    auto target = [&](nb::handle value, const char* name) -> const Target& {
        kept.push_back(array<Target>(value, name));
        return kept.back();
    };
    auto wide = [](const Target& array, size_t axis) { return array.ndim() > axis ? int64_t(array.shape(axis)) : 0; };
    int64_t top_keys = 0;
    lb::Wants plain;
    plain.map_of_scores = map_of_scores;
    for (auto [key, value] : wants) {
        const auto name = nb::cast<std::string>(key);
        const Target& to = target(value, name.c_str());
        auto floats = [&](std::vector<int64_t> size) { return contiguous<float>(to, name.c_str(), float32, size); };
        if (name == "received") {
            plain.received = floats({batch, heads, problem.k.rows});
        } else if (name == "entropy") {
            plain.entropy = floats({batch, heads, rows});
        } else if (name == "top_weights") {
            plain.top = wide(to, 3);
            plain.top_weights = floats({batch, heads, rows, plain.top});
        } else if (name == "top_keys") {
            top_keys = wide(to, 3);
            plain.top_keys = contiguous<int64_t>(to, "top_keys", int64, {batch, heads, rows, top_keys});
        } else if (name == "max_score") {
            plain.max_score = floats({batch, heads});
        } else if (name == "distance") {
            plain.distance = floats({batch, heads, rows});
        } else if (name == "by_distance") {
            plain.n_distances = wide(to, 2);
            plain.by_distance = floats({batch, heads, plain.n_distances});
        } else if (name == "map_mean" || name == "map_sum" || name == "map_max") {
            const bool second = plain.map_mean || plain.map_sum || plain.map_max;
            if (second && (plain.map_rows != wide(to, 2) || plain.map_columns != wide(to, 3)))
                throw lb::Error(name + ": the size of the other maps is needed; got " + shape(to));
            plain.map_rows = wide(to, 2);
            plain.map_columns = wide(to, 3);
            (name == "map_mean" ? plain.map_mean : name == "map_sum" ? plain.map_sum : plain.map_max) =
                floats({batch, heads, plain.map_rows, plain.map_columns});
        } else {
            throw lb::Error("wants: there is no reduction " + name);
        }
    }
    if (plain.top != top_keys) throw lb::Error("top_weights and top_keys: both are needed, and as wide");
    std::vector<Spans> measured;
    measured.reserve(masses.size());
    for (nb::handle one : masses) {
        nb::tuple pair, given;
        if (!nb::try_cast(one, pair) || pair.size() != 2 || !nb::try_cast(pair[0], given))
            throw lb::Error("masses: (spans, array) each is needed");
        measured.emplace_back(given, rows, problem.k.rows);
        plain.masses.push_back({measured.back().plain, contiguous<float>(target(pair[1], "mass"), "mass", float32, call.rows())});
    }
    auto from = contiguous<const float>(lse, "lse", float32, call.rows());
    run([&] { lb::observe(problem, from, plain, call.options); });
}

double peak_flops(const std::string& name, const std::string& set, double seconds) {
    if (name != "float32" && name != "bfloat16") throw lb::Error("peak_flops: float32 or bfloat16; got " + name);
    nb::gil_scoped_release released;
    return lb::peak_flops(name == "float32" ? lb::Type::float32 : lb::Type::bfloat16, set, seconds);
}

double copy_bandwidth(int64_t bytes, int threads, double seconds) {
    nb::gil_scoped_release released;
    return lb::copy_bandwidth(bytes, threads, seconds);
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "The native CPU engine; use it through lookbehind.attend and lookbehind.observe.";
    module.def("attend", &attend, nb::kw_only(), "q"_a, "k"_a, "v"_a, "out"_a, "lse"_a, "spans"_a, "scale"_a,
               "softcap"_a, "sinks"_a.none(), "alibi"_a.none(), "threads"_a, "set"_a);
    module.def("logsumexp", &logsumexp, nb::kw_only(), "q"_a, "k"_a, "lse"_a, "spans"_a, "scale"_a, "softcap"_a,
               "sinks"_a.none(), "alibi"_a.none(), "threads"_a, "set"_a);
    module.def("observe", &observe, nb::kw_only(), "q"_a, "k"_a, "lse"_a, "wants"_a, "masses"_a, "map_of_scores"_a,
               "spans"_a, "scale"_a, "softcap"_a, "sinks"_a.none(), "alibi"_a.none(), "threads"_a, "set"_a);
    module.def("sets", &lb::sets);
    module.def("compiled_sets", &lb::compiled_sets);
    module.def("peak_flops", &peak_flops, "type"_a, "set"_a, "seconds"_a);
    module.def("copy_bandwidth", &copy_bandwidth, "bytes"_a, "threads"_a, "seconds"_a);
}
