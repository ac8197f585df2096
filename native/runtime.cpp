#include "runtime.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "lookbehind.h"

namespace lookbehind {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kBetweenQuestions = std::chrono::milliseconds(50);
constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;

// One call's state, shared by its threads.
class Call {
public:
    Call(int64_t n_units, Body body, void* context, const Options& options)
        : n_units_(n_units), body_(body), context_(context), options_(options) {}

    // Does units until none is left.
    void take_part(int thread) noexcept {
        const Part before = std::exchange(part, Part{this, thread == 0});
        try {
            while (!ended()) {
                if (thread == 0) ask();
                const int64_t unit = next_.fetch_add(1, std::memory_order_relaxed);
                if (unit >= n_units_) break;
                body_(context_, unit, thread);
            }
        } catch (const Ended&) {  // because of what another thread has reported
        } catch (...) {
            fail(std::current_exception());
        }
        part = before;
    }

    // On the calling thread: throws if the call is to end.
    void ask() {
        if (options_.cancelled == nullptr || Clock::now() - asked_ < kBetweenQuestions) return;
        if (options_.cancelled(options_.cancelled_context)) throw Cancelled();
        asked_ = Clock::now();
    }

    // Within a unit.
    static void poll() {
        if (part.call == nullptr) return;
        if (part.call->ended()) throw Ended();
        if (part.asks) part.call->ask();
    }

    void fail(std::exception_ptr error) noexcept {
        const std::lock_guard lock(mutex_);
        if (!error_) error_ = std::move(error);
        ended_.store(true, std::memory_order_relaxed);
    }

    void started() {
        const std::lock_guard lock(mutex_);
        ++busy_;
    }

    void finished() noexcept {
        const std::lock_guard lock(mutex_);
        if (--busy_ == 0) idle_.notify_all();
    }

    // Whether every other thread has finished, after waiting for a while.
    bool wait_a_while() {
        std::unique_lock lock(mutex_);
        return idle_.wait_for(lock, kBetweenQuestions, [this] { return busy_ == 0; });
    }

    bool ended() const { return ended_.load(std::memory_order_relaxed); }

    // To be asked when every other thread has finished.
    const std::exception_ptr& error() const { return error_; }

private:
    struct Ended {};

    // What this thread takes part in.
    struct Part {
        Call* call = nullptr;
        bool asks = false;
    };
    static thread_local Part part;

    const int64_t n_units_;
    const Body body_;
    void* const context_;
    const Options& options_;
    Clock::time_point asked_ = Clock::now();
    std::atomic<int64_t> next_{0};
    std::atomic<bool> ended_{false};
    std::mutex mutex_;
    std::condition_variable idle_;
    int busy_ = 0;
    std::exception_ptr error_;
};

thread_local Call::Part Call::part;

// Memory between calls. Whoever finds it busy goes without, so that a fork in the middle does no harm.
class Shelf {
public:
    // A block of at least so many bytes and not much more, whose alignment is that of its size; or null.
    void* take(size_t& bytes) noexcept {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock()) return nullptr;
        for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
            if (block->second < bytes || block->second / 2 > bytes || is_huge(block->second) != is_huge(bytes)) continue;
            void* const data = block->first;
            bytes = block->second;
            held_ -= bytes;
            blocks_.erase(block);
            return data;
        }
        return nullptr;
    }

    // Whether it was taken in: what is large, or one too many, goes back to the system.
    bool put(void* data, size_t bytes) noexcept {
        const std::unique_lock lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock() || held_ + bytes > kMostBytes || blocks_.size() == kMostBlocks) return false;
        blocks_.emplace_back(data, bytes);
        held_ += bytes;
        return true;
    }

    Shelf() { blocks_.reserve(kMostBlocks); }
    ~Shelf() {
        for (const auto& [data, bytes] : blocks_) std::free(data);
    }

private:
#if defined(__SANITIZE_ADDRESS__)
    static constexpr size_t kMostBytes = 0;  // a block that is used again would hide that it was given back
#else
    static constexpr size_t kMostBytes = size_t{32} << 20;
#endif
    static constexpr size_t kMostBlocks = 16;

    static bool is_huge(size_t bytes) { return bytes >= kHugePage; }

    std::mutex mutex_;
    std::vector<std::pair<void*, size_t>> blocks_;
    size_t held_ = 0;
};

Shelf& shelf() {
    static Shelf shelf;
    return shelf;
}

}  // namespace

void poll() { Call::poll(); }

int parallel_threads(int threads, int64_t n_units) {
    return static_cast<int>(std::clamp<int64_t>(n_units, 1, std::max(threads, 1)));
}

void parallel(int threads, int64_t n_units, Body body, void* context, const Options& options) {
    Call call(n_units, body, context, options);
    std::vector<std::thread> others;
    const int n_others = parallel_threads(threads, n_units) - 1;
    others.reserve(static_cast<size_t>(n_others));
    for (int thread = 1; thread <= n_others; ++thread) {
        call.started();
        try {
            others.emplace_back([&call, thread] {
                call.take_part(thread);
                call.finished();
            });
        } catch (const std::system_error&) {  // the system gives no more
            call.finished();
            break;
        }
    }
    call.take_part(0);
    while (!others.empty() && !call.wait_a_while()) {
        if (call.ended()) continue;  // `cancelled` has said so already, and is not asked twice
        try {
            call.ask();
        } catch (...) {
            call.fail(std::current_exception());
        }
    }
    for (std::thread& other : others) other.join();
    if (call.error()) std::rethrow_exception(call.error());
}

Memory::Memory(size_t bytes) {
    const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
    if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
    bytes_ = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    data_ = shelf().take(bytes_);
    if (data_ != nullptr) return;
    data_ = std::aligned_alloc(alignment, bytes_);
    if (data_ == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    // Advice: where the kernel refuses it, the memory is as good, with more page faults.
    if (alignment == kHugePage) madvise(data_, bytes_, MADV_HUGEPAGE);
#endif
}

Memory::~Memory() {
    if (data_ != nullptr && !shelf().put(data_, bytes_)) std::free(data_);
}

}  // namespace lookbehind
