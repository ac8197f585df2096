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

// c [kGroup][kTile] = or += a [kGroup][steps * kStep] times b [steps * kSide pairs][kTile]; of thirds, the sum of
// kMeetings such.
struct Product {
    const void* a;
    int64_t a_stride;         // bytes from row to row
    int64_t a_step, a_third;  // bytes from one place to the next, from third to third
    const int8_t* places;     // of a, one for each step; null: 0, 1, 2, ...
    const int32_t* b;
    int64_t b_step, b_third;  // words
    float* c;
    int64_t steps;
    bool adds;                // whether c holds something already
};

// How many of the steps that are left to take beside micro-tile m of a group.
constexpr int steps_of(int left, int m) {
    const int micros = kMicros - m;
    return (left + micros - 1) / micros;
}

// A number that is a constant wherever it goes, and calls with first, first + 1, ... up to stop.
template <int kValue>
struct Number {
    static constexpr int value = kValue;
};
template <int kFirst, int kStop, class Call>
LB_INLINE void for_each(const Call& call) {
    if constexpr (kFirst < kStop) {
        call(Number<kFirst>());
        for_each<kFirst + 1, kStop>(call);
    }
}

// The product of a group of keys, rows of `depth` words, and a tile of queries.
template <bool kOfThirds>
LB_INLINE void set_scores(Product& product, const int32_t* keys, int64_t stride, const int32_t* q, int64_t depth, float* c) {
    const int64_t third = depth / (kOfThirds ? kThirds : 1);
    product.a = keys;
    product.a_stride = stride * 4;
    product.a_step = kStep * 2;
    product.a_third = third * 4;
    product.places = nullptr;
    product.b = q;
    product.b_step = kSide * kTile;
    product.b_third = third * kTile;
    product.c = c;
    product.steps = third / kSide;
    product.adds = false;
}

// One product after another: two by two registers of c, which four registers of a and b feed. Keys and values, a, pass by.
//
// What a multiplication needs is loaded a while before, from one product to the next as well, and what a product has come
// to is stored among the steps of the next: an instruction that waits blocks, sooner or later, all that come after it.
template <bool kOfThirds>
class Mill {
public:
    static constexpr int kTurns = kOfThirds ? kMeetings : 1;  // of a step, each with other thirds
    static constexpr int kMultiplications = 4 * kTurns;       // of a step, 16 cycles each

    // So many products to come, each of one step at least; all before are to be done.
    void begin(const Product* products, int n) {
        next_ = products;
        end_ = products + n;
        at_ = 0;
        if (!busy()) return;
        find_place();
        load_a<4>(0, 0);
        load_b<6>(0, 0);
        load_b<7>(0, 1);
        load_a<5>(0, 1);
    }

    bool busy() const { return next_ != end_; }
    bool amid() const { return at_ != 0; }  // a product

    // Those that are not done.
    const Product* next() const { return next_; }
    const Product* end() const { return end_; }

    // Only while it is busy. beside(Number<i>()) is called before multiplication i.
    template <class Beside>
    [[gnu::always_inline]] inline void step(const Beside& beside) {
        float* const c = next_->c;
        const bool first = at_ == 0, adds = next_->adds, last = ++at_ == next_->steps;
        for_each<0, kTurns>([&](auto turn) __attribute__((always_inline)) { take<turn.value>(c, first, adds, last, beside); });
        held_ = last ? c : nullptr;
    }

    // Whether the last product that is done, and goes to c, is still in registers.
    bool holds(const float* c) const { return held_ == c; }

    // Stores what is done; best some time after it was. Not amid a product.
    [[gnu::always_inline]] inline void put_down() {
        if (held_ == nullptr) return;
        store<0>();
        store<1>();
        store<2>();
        store<3>();
        held_ = nullptr;
    }

    // So many steps with nothing beside them.
    [[gnu::noinline]] void steps(int64_t n) {
        for (; n > 0; --n) step([](auto) {});
    }

    // All that are left.
    void finish() {
        while (busy()) steps(next_->steps - at_);
    }

    // One product at once; not amid others.
    void run(const Product& product) {
        begin(&product, 1);
        finish();
        put_down();
    }

private:
    static constexpr int64_t kRow = kTile * 4;

    // Loads what the turn after it needs and has not got.
    template <int kTurn, class Beside>
    [[gnu::always_inline]] inline void take(float* c, bool first, bool adds, bool last, const Beside& beside) {
        constexpr bool kLast = kTurn + 1 == kTurns;
        constexpr int kNext = kLast ? 0 : kTurn + 1;
        if (kLast && last) {
            ++next_;
            at_ = 0;
        }
        const bool more = !kLast || busy();
        const bool a = kLast ? more : kThirdOfA[kNext] != kThirdOfA[kTurn];
        const bool b = kLast ? more : kThirdOfB[kNext] != kThirdOfB[kTurn];
        const bool renews = kTurn == 0 && first;
        if (kLast && more) find_place();
        beside(Number<4 * kTurn>());
        if (renews) renew<0>(c, adds);
        multiply_rows<0, 4, 6>();
        beside(Number<4 * kTurn + 1>());
        if (renews) renew<1>(c, adds);
        multiply_rows<1, 4, 7>();
        if (a) load_a<4>(kNext, 0);
        beside(Number<4 * kTurn + 2>());
        if (renews) renew<2>(c, adds);
        multiply_rows<2, 5, 6>();
        if (b) load_b<6>(kNext, 0);
        beside(Number<4 * kTurn + 3>());
        if (renews) renew<3>(c, adds);
        multiply_rows<3, 5, 7>();
        if (b) load_b<7>(kNext, 1);
        if (a) load_a<5>(kNext, 1);
    }

    template <int kPart>
    static float* part_of(float* c) {
        return c + kPart / 2 * kSide * kTile + kPart % 2 * kSide;
    }

    template <int kPart>
    [[gnu::always_inline]] inline void store() {
        store_rows<kPart>(part_of<kPart>(held_), kRow);
    }

    template <int kPart>
    [[gnu::always_inline]] inline void renew(float* c, bool adds) {
        if (held_) store<kPart>();
        if (adds) load_rows<kPart>(part_of<kPart>(c), kRow);
        else zero_rows<kPart>();
    }

    // Of the step that is next.
    [[gnu::always_inline]] inline void find_place() {
        a_ = static_cast<const char*>(next_->a) + (next_->places ? next_->places[at_] : at_) * next_->a_step;
        b_ = next_->b + at_ * next_->b_step;
    }

    template <int kRegister>
    [[gnu::always_inline]] inline void load_a(int turn, int64_t half) {
        const int64_t third = kOfThirds ? kThirdOfA[turn] * next_->a_third : 0;
        stream_rows<kRegister>(a_ + third + half * kSide * next_->a_stride, next_->a_stride);
    }

    template <int kRegister>
    [[gnu::always_inline]] inline void load_b(int turn, int64_t half) {
        const int64_t third = kOfThirds ? kThirdOfB[turn] * next_->b_third : 0;
        load_rows<kRegister>(b_ + third + half * kSide, kRow);
    }

    const Product* next_ = nullptr;  // the product that is next, or under way
    const Product* end_ = nullptr;
    int64_t at_ = 0;                 // its step that is next
    const char* a_;                  // that step's place, or that of the one before while it has turns to come
    const int32_t* b_;
    float* held_ = nullptr;          // where the product before goes, while that is in registers still
};

// Does the pieces of vectors' work, and steps of the mill beside them: by step(beside), those that are too many by
// steps_alone(n). Pieces lie evenly between the multiplications: where another thread has half of what the core looks ahead, a
// vector that is not near a multiplication waits for all of them. Where there is no step, wait() is called amid the pieces.
template <int kPieces, int kMultiplications, class Step, class Alone, class Piece, class Wait>
[[gnu::always_inline]] inline void work_beside(int steps, const Step& step, const Alone& steps_alone, const Piece& piece,
                                               const Wait& wait) {
    const auto share = [&](auto shared) __attribute__((always_inline)) {
        constexpr int kSteps = shared.value, kAll = kMultiplications * kSteps;
        if (steps > kSteps) steps_alone(steps - kSteps);
        for_each<0, kSteps>([&](auto s) __attribute__((always_inline)) {
            step([&](auto i) __attribute__((always_inline)) {
                constexpr int kAt = kMultiplications * s.value + i.value;
                for_each<kAt * kPieces / kAll, (kAt + 1) * kPieces / kAll>(piece);
            });
        });
    };
    constexpr bool kLong = kMultiplications >= kPieces;
    if (!kLong && steps >= 4) return share(Number<4>());
    if (!kLong && steps >= 2) return share(Number<2>());
    if (steps >= 1) return share(Number<1>());
    for_each<0, kPieces / 2>(piece);
    wait();
    for_each<kPieces / 2, kPieces>(piece);
}

}  // namespace lookbehind::LOOKBEHIND_SET
