// What this machine could reach at best: multiply-adds of an instruction set, and copies.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>

#include "kernels.h"
#include "lookbehind.h"
#include "runtime.h"

namespace lookbehind {
namespace {

double wall_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of this thread alone, where the system tells: other programs' time does not count.
double own_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
    timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0) {
        return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
    }
#endif
    return wall_seconds();
}

void check_seconds(double seconds) {
    if (!(seconds > 0 && seconds <= 60)) {
        throw Error("seconds: more than 0 and at most 60 are needed; got " + std::to_string(seconds));
    }
}

struct Copy {
    const char* from;
    char* to;
    int64_t bytes, part;
};

void copy_part(void* context, int64_t unit, int) {
    const Copy& copy = *static_cast<const Copy*>(context);
    const int64_t first = unit * copy.part;
    std::memcpy(copy.to + first, copy.from + first, static_cast<size_t>(std::min(copy.part, copy.bytes - first)));
}

}  // namespace

double peak_flops(Type type, const std::string& set, double seconds) {
    check_seconds(seconds);
    const Kernels& chosen = kernels(set);
    const bool pairs = type == Type::bfloat16 && chosen.dot;
    constexpr int64_t kRounds = 50'000;  // some milliseconds
    double done = 0;
    const double start = own_seconds(), end = wall_seconds() + seconds;
    do {
        done += chosen.peak(pairs, kRounds);
    } while (wall_seconds() < end);
    return done / std::max(own_seconds() - start, 1e-9);
}

double copy_bandwidth(int64_t bytes, int threads, double seconds) {
    check_seconds(seconds);
    if (bytes < 1 || bytes > int64_t{1} << 40) {
        throw Error("bytes: 1 to 2^40 are needed; got " + std::to_string(bytes));
    }
    if (threads < 1) throw Error("threads: at least 1 is needed; got " + std::to_string(threads));
    // Ordinary pages, as tensors have them, not the huge ones of our own scratch.
    const size_t size = static_cast<size_t>(bytes);
    const std::unique_ptr<char[]> from(new char[size]), to(new char[size]);
    // Written once: pages that were never written may all be one page of zeros.
    std::memset(from.get(), 1, size);
    std::memset(to.get(), 2, size);
    Copy copy{from.get(), to.get(), bytes, (bytes + threads - 1) / threads};
    const int64_t parts = (bytes + copy.part - 1) / copy.part;
    // Time on the clock where threads work side by side; a single one may have shared its core.
    const auto clock = threads == 1 ? own_seconds : wall_seconds;
    double done = 0;
    const double start = clock(), end = wall_seconds() + seconds;
    do {
        parallel(threads, parts, copy_part, &copy, Options{});
        done += 2.0 * static_cast<double>(bytes);
    } while (wall_seconds() < end);
    return done / std::max(clock() - start, 1e-9);
}

}  // namespace lookbehind
