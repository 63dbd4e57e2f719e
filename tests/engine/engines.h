/* engines: what the tests of an engine share: a backend that counts, small engines, samples and steps. */
#ifndef OTP_ENGINE_ENGINES_H
#define OTP_ENGINE_ENGINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/places.h"

#include <stdatomic.h>

/* ---- a backend that counts, between the engine and the real one ---- */

enum { MOST_PROGRAMS = 64 };

extern struct seen {
	const otp_backend *inner;
	atomic_int allocs, releases, uploads, downloads, launches, waits;
	const otp_call *programs[MOST_PROGRAMS]; /* each by its first call; one thread */
	int program_count;
} seen;

void forget_counts(void);

typedef struct work {
	otp_backend backend;
	otp_runtime place;
} work;

void open_work(work *w, const char *name, int threads);

/* ---- engines and samples ---- */

enum { ROWS = 11, SIZE = 8, BATCH = 5 };

extern const otp_arch IMAGES, POINTS;

otp_engine *new_engine(work *w, const otp_arch *arch, int parts, otp_resident source, otp_resident target);

/* A grey source and a target of colours, as bytes, as words, and as floats. */
typedef struct side {
	int stored;
	uint8_t bytes[ROWS * SIZE * SIZE * 3];
	float values[BATCH * SIZE * SIZE * 3]; /* of the last picks */
	uint32_t picks[BATCH];
} side;

/* The picks of a step, and the floats that the host's way makes of them. */
void pick(side *s, uint32_t which, uint32_t draw);
otp_batch batch_of(const side *s, bool resident);

typedef struct setup {
	side source, target;
	otp_engine *e;
	bool resident;
} setup;

void open_setup(setup *s, work *w, int parts, bool resident);

/* ---- steps ---- */

otp_update update_at(int step);
/* V, T, V with R1, T. */
void four_steps(setup *s, int step);
/* V and T in turn, on points; read_each: the losses after each, NULL: not read. */
void point_steps(otp_engine *e, int from, int to, otp_losses *read_each);
/* A network's whole state. otp_free it. */
float *read_state(otp_engine *e, otp_network network, size_t *bytes);
/* The states and the losses, bit for bit. */
void assert_same_state(otp_engine *a, otp_engine *b);

/* ---- tests in files of their own ---- */

#define ENGINE_TESTS(TEST)                                                                                   \
	TEST(cuts_are_whole_and_even)                                                                        \
	TEST(many_parts_take_few_rows)                                                                       \
	TEST(kinds_of_steps_share_memory)                                                                    \
	TEST(threads_change_no_bit)                                                                          \
	TEST(gradients_are_those_of_adam)                                                                    \
	TEST(refused_updates_change_nothing)                                                                 \
	TEST(threads_change_no_norm)                                                                         \
	TEST(large_gradients_are_clipped)                                                                    \
	TEST(scale_changes_no_game)
#define DECLARE_TEST(name) void name(void **state);
ENGINE_TESTS(DECLARE_TEST)
#undef DECLARE_TEST

#endif
