// Running the units of a call side by side, on as many threads as told.
//
// Plain types only: the files of an instruction set include this, and must not instantiate templates of the
// standard library, whose one copy in the program would then hold instructions of that set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lookbehind {

struct Options;

// What a thread does with one unit of [0, n_units). `thread` is in [0, parallel_threads(...)), and no two units
// run under one number at the same time: scratch memory is kept by it.
using Body = void (*)(void* context, int64_t unit, int thread);

// How many threads `parallel` uses at most: never more than there are units.
int parallel_threads(int threads, int64_t n_units);

// Does every unit once. Units are handed out in ascending order, so the longest belong first.
//
// The calling thread takes part, and asks options.cancelled about twenty times a second; true ends the call
// with Cancelled. Threads live for one call: starting one takes some 20 microseconds, and on return none is
// left behind to meet a fork, another call or the end of the process. Where the system gives no more threads,
// those there are do all of it. The first exception (of a unit, or of `cancelled`) ends the call and is thrown
// here, once the units that have begun are finished: one that takes longer than a fraction of a second calls poll.
void parallel(int threads, int64_t n_units, Body body, void* context, const Options& options);

// Called by a unit now and then, on its own thread: throws if the call has ended meanwhile, or is to end.
void poll();

// Memory aligned to a cache line, given back on destruction; not set to anything. Throws std::bad_alloc.
// From 2 MiB on it asks for huge pages. Some megabytes are kept for the next call, which would otherwise spend a
// tenth of its time on the faults of fresh pages.
class Memory {
public:
    Memory() = default;
    explicit Memory(size_t bytes);
    ~Memory();
    Memory(Memory&& other) noexcept { swap(other); }
    Memory& operator=(Memory&& other) noexcept {
        swap(other);
        return *this;
    }

    template <class T>
    T* as() const { return static_cast<T*>(data_); }

private:
    void swap(Memory& other) {
        void* const data = data_;
        const size_t bytes = bytes_;
        data_ = other.data_;
        bytes_ = other.bytes_;
        other.data_ = data;
        other.bytes_ = bytes;
    }

    void* data_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace lookbehind
