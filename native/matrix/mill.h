// Matrix products in small steps, to be taken between vector instructions: both units of the core then work at once.
#pragma once

#include "../scoring.h"
#include "registers.h"
#include "thirds.h"

namespace lookbehind::LOOKBEHIND_SET {

static_assert(kTile == 2 * kSide && kMatrixSide == 2 * kSide);

constexpr int64_t kGroup = 2 * kSide;  // keys that are multiplied together, at absolute places
constexpr int kMicros = kGroup / kMicro;  // micro-tiles of a group
constexpr int64_t kStep = 2 * kSide;   // elements that one step multiplies, of a key or of keys

// c [kGroup][kTile] = or += a [kGroup][steps * kStep] times b [steps * kSide pairs][kTile]; of thirds, the sum of six such.
struct Product {
    const void* a = nullptr;
    int64_t a_stride = 0;            // bytes from row to row
    int64_t a_step = 0, a_third = 0;  // bytes from one place to the next, from third to third
    const int8_t* places = nullptr;  // of a, one for each step; null: 0, 1, 2, ...
    const int32_t* b = nullptr;
    int64_t b_step = kSide * kTile, b_third = 0;  // words
    float* c = nullptr;
    int64_t steps = 0;
    bool adds = false;               // whether c holds something already
};

// How many of the steps that are left to take beside micro-tile m of a group: none, if that can be, beside the last, in
// which what the others have come to is stored.
constexpr int steps_of(int left, int m) {
    const int micros = m + 1 < kMicros ? kMicros - 1 - m : 1;
    return (left + micros - 1) / micros;
}

// One product at a time: two by two registers of c, which four registers of a and b feed.
//
// What a multiplication needs is loaded a while before, and what a product has come to is stored among the steps of
// the next: an instruction that waits blocks, sooner or later, all that come after it.
//
// kOfThirds: of thirds; a step of the product is kMeetings steps of the mill then.
template <bool kOfThirds>
class Mill {
public:
    // How many steps it takes for a product of so many.
    static constexpr int steps_for(int64_t steps) { return static_cast<int>(steps) * kTurns; }

    void begin(const Product& product) {
        product_ = product;
        at_ = turn_ = 0;
        load_a<4>(0);
        load_b<6>(0);
        load_b<7>(1);
        load_a<5>(1);
    }

    bool busy() const { return at_ < product_.steps; }

    // Four multiplications, 64 cycles; only while it is busy. beside(i) is called before each.
    template <class Beside>
    [[gnu::always_inline]] inline void step(const Beside& beside) {
        const bool first = at_ == 0 && turn_ == 0;
        if (++turn_ == kTurns) {
            turn_ = 0;
            ++at_;
        }
        const bool more = busy(), more_a = more && changes(kThirdOfA), more_b = more && changes(kThirdOfB);
        beside(0);
        if (first) renew<0>();
        multiply_rows<0, 4, 6>();
        beside(1);
        if (first) renew<1>();
        multiply_rows<1, 4, 7>();
        if (more_a) load_a<4>(0);
        beside(2);
        if (first) renew<2>();
        multiply_rows<2, 5, 6>();
        if (more_b) load_b<6>(0);
        beside(3);
        if (first) renew<3>();
        multiply_rows<3, 5, 7>();
        if (more_b) load_b<7>(1);
        if (more_a) load_a<5>(1);
        if (!more) held_ = product_.c;
    }

    // Whether the last product that is done, and goes to c, is still in registers.
    bool holds(const float* c) const { return held_ == c; }

    // Stores what is done; best some time after it was. Not while it is busy.
    [[gnu::always_inline]] inline void put_down() {
        if (held_ == nullptr) return;
        store<0>();
        store<1>();
        store<2>();
        store<3>();
        held_ = nullptr;
    }

    // Until all is done and stored.
    void finish() {
        while (busy()) step([](int) {});
        put_down();
    }

private:
    static constexpr int64_t kRow = kTile * 4;
    static constexpr int kTurns = kOfThirds ? kMeetings : 1;

    // Whether the turn that is next needs another register's worth of the one that these are the thirds of.
    bool changes(const int (&thirds)[kMeetings]) const { return turn_ == 0 || thirds[turn_] != thirds[turn_ - 1]; }

    template <int kPart>
    static float* part_of(float* c) {
        return c + kPart / 2 * kSide * kTile + kPart % 2 * kSide;
    }

    template <int kPart>
    [[gnu::always_inline]] inline void store() {
        store_rows<kPart>(part_of<kPart>(held_), kRow);
    }

    template <int kPart>
    [[gnu::always_inline]] inline void renew() {
        if (held_) store<kPart>();
        if (product_.adds) load_rows<kPart>(part_of<kPart>(product_.c), kRow);
        else zero_rows<kPart>();
    }

    template <int kRegister>
    [[gnu::always_inline]] inline void load_a(int64_t half) {
        const int64_t place = product_.places ? product_.places[at_] : at_;
        const int64_t third = kOfThirds ? kThirdOfA[turn_] * product_.a_third : 0;
        const char* const a = static_cast<const char*>(product_.a) + place * product_.a_step + third;
        load_rows<kRegister>(a + half * kSide * product_.a_stride, product_.a_stride);
    }

    template <int kRegister>
    [[gnu::always_inline]] inline void load_b(int64_t half) {
        const int64_t third = kOfThirds ? kThirdOfB[turn_] * product_.b_third : 0;
        load_rows<kRegister>(product_.b + at_ * product_.b_step + third + half * kSide, kRow);
    }

    Product product_;
    int64_t at_ = 0;         // the step that is next,
    int turn_ = 0;           // and which of its turns
    float* held_ = nullptr;  // where the product before goes, while that is in registers still
};

}  // namespace lookbehind::LOOKBEHIND_SET
