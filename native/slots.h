// The heads of a call, one after another in a few slots of memory: some units make a head ready, the others read it, and who
// finishes its last one puts together what they have found. All are units of one `parallel`: a thread goes on to the next
// head while others are busy with the last units of one, and waits only where what it needs is being made.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "runtime.h"

namespace lookbehind {

class Slots {
public:
    // How many heads may be held at once, of so many bytes each: memory stays O(keys) whatever the head count.
    static int64_t most(int64_t heads, int64_t bytes) {
        constexpr int64_t kMostBytes = int64_t{32} << 20;
        return std::clamp<int64_t>(kMostBytes / std::max<int64_t>(bytes, 1), 1, std::max<int64_t>(heads, 1));
    }

    // Each head has `parts` units that make it ready, and at least one that needs that. One slot is enough for one thread,
    // and best: what was packed is then still in its cache when it is read.
    Slots(int64_t heads, int64_t bytes, int64_t parts, int64_t units, const Options& options)
        : heads_(heads), parts_(parts), units_(units), options_(options),
          slots_(static_cast<size_t>(
              std::min(most(heads, bytes), options.threads > 1 ? 2 + options.threads / units : int64_t{1}))) {}

    int64_t count() const { return static_cast<int64_t>(slots_.size()); }
    int threads() const { return parallel_threads(options_.threads, n_units()); }

    // prepare(head, slot, part), work(head, slot, unit, thread), join(head, slot).
    template <class Prepare, class Work, class Join>
    void run(const Prepare& prepare, const Work& work, const Join& join) {
        struct Context {
            Slots& slots;
            const Prepare& prepare;
            const Work& work;
            const Join& join;
        } context{*this, prepare, work, join};
        const auto unit = [](void* self, int64_t index, int thread) {
            const auto& [slots, prepare, work, join] = *static_cast<Context*>(self);
            const int64_t all = slots.parts_ + slots.units_, head = index / all, own = index % all - slots.parts_;
            const int64_t at = head % slots.count(), turn = head / slots.count();
            Slot& slot = slots.slots_[static_cast<size_t>(at)];
            wait(slot.left, turn);
            if (own < 0) {
                prepare(head, at, own + slots.parts_);
                slot.ready.fetch_add(1, std::memory_order_release);
                return;
            }
            wait(slot.ready, (turn + 1) * slots.parts_);
            work(head, at, own, thread);
            // What the others wrote is seen by then.
            if (slot.done.fetch_add(1, std::memory_order_acq_rel) + 1 < (turn + 1) * slots.units_) return;
            join(head, at);
            slot.left.store(turn + 1, std::memory_order_release);
        };
        parallel(options_.threads, n_units(), unit, &context, options_);
    }

private:
    // What has happened in a slot, since the call began: parts that are ready, units that are done, heads that have left.
    struct alignas(64) Slot {
        std::atomic<int64_t> ready{0}, done{0}, left{0};
    };

    int64_t n_units() const { return heads_ * (parts_ + units_); }

    // Units begin in ascending order, so what is waited for has begun, and waits for nothing that has not.
    static void wait(const std::atomic<int64_t>& count, int64_t wanted) {
        while (count.load(std::memory_order_acquire) < wanted) {
            poll();
            std::this_thread::yield();
        }
    }

    const int64_t heads_, parts_, units_;
    const Options& options_;
    std::vector<Slot> slots_;
};

}  // namespace lookbehind
