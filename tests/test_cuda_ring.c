/* ring: pinned memory before a device that is late. A made-up stream holds copies
 * back until it is waited for, which is the worst that a real one may do: what
 * arrives must be what was sent, and nobody may wait before the ring is full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/rng.h"
#include "cuda/ring.h"

#include <string.h>

enum { SLICES = 4, SLICE_BYTES = 1024, MOST_COPIES = 1 << 14 };

typedef struct copy {
	char *to;
	const char *from;
	size_t bytes;
} copy;

static struct {
	copy copies[MOST_COPIES];
	int issued, done;
	int mark[SLICES]; /* copies issued before it; 0: none */
	int waits;	  /* in which something was still to be done */
} stream;

static void run_until(int end)
{
	for (; stream.done < end; stream.done++) {
		const copy *c = &stream.copies[stream.done];
		memcpy(c->to, c->from, c->bytes);
	}
}

static void mark(void *context, int slice)
{
	assert_ptr_equal(context, &stream);
	stream.mark[slice] = stream.issued;
}

static void await_mark(void *context, int slice)
{
	assert_ptr_equal(context, &stream);
	stream.waits += stream.done < stream.mark[slice];
	run_until(stream.mark[slice]);
}

static otp_ring new_ring(void)
{
	memset(&stream, 0, sizeof stream);
	return (otp_ring){.memory = otp_calloc(SLICES, SLICE_BYTES),
			  .slice_bytes = SLICE_BYTES,
			  .slices = SLICES,
			  .mark = mark,
			  .await = await_mark,
			  .context = &stream};
}

/* As the backend sends: pieces into the ring, each with its copy. Returns how many. */
static int send_bytes(otp_ring *r, char *to, const char *from, size_t bytes)
{
	int pieces = 0;
	for (size_t at = 0, piece; at < bytes; at += piece, pieces++) {
		piece = bytes - at;
		char *memory = otp_ring_take(r, &piece);
		assert_true(piece > 0 && piece <= bytes - at);
		assert_true(memory >= r->memory && memory + piece <= r->memory + SLICES * SLICE_BYTES);
		memcpy(memory, from + at, piece);
		assert_true(stream.issued < MOST_COPIES);
		stream.copies[stream.issued++] = (copy){to + at, memory, piece};
	}
	return pieces;
}

static void what_is_sent_arrives(void **state)
{
	(void)state;
	enum { SENT = 2000, MOST = 3000 };
	otp_ring r = new_ring();
	char *sent = otp_calloc(SENT, MOST), *arrived = otp_calloc(SENT, MOST), buffer[MOST];
	for (uint32_t i = 0; i < SENT; i++) {
		otp_stream s = otp_stream_make(1, i, 0);
		size_t bytes = otp_random_u32(s, OTP_PURPOSE_SYNTH, 0) % (i % 3 ? 100 : MOST) + 1;
		memset(buffer, (int)(otp_random_u32(s, OTP_PURPOSE_SYNTH, 1) & 255), bytes);
		buffer[bytes / 2] = (char)i;
		memcpy(sent + (size_t)i * MOST, buffer, bytes);
		int pieces = send_bytes(&r, arrived + (size_t)i * MOST, buffer, bytes);
		assert_true(pieces == 1 || bytes > SLICE_BYTES);
		memset(buffer, 0, bytes); /* the sender's memory is its own again */
		assert_true(stream.issued - stream.done <= SLICES * (SLICE_BYTES / 64));
	}
	run_until(stream.issued);
	assert_memory_equal(sent, arrived, SENT * MOST);
	otp_free(sent);
	otp_free(arrived);
	otp_free(r.memory);
}

static void nobody_waits_before_it_is_full(void **state)
{
	(void)state;
	otp_ring r = new_ring();
	static char to[2 * SLICES * SLICE_BYTES], from[2 * SLICES * SLICE_BYTES];
	for (int i = 0; i < SLICES * (SLICE_BYTES / 64); i++)
		send_bytes(&r, to, from, 50);
	assert_int_equal(stream.waits, 0);
	assert_int_equal(stream.done, 0);
	send_bytes(&r, to, from, 50);
	assert_int_equal(stream.waits, 1); /* for one slice, not for all that was issued */
	assert_int_equal(stream.done, SLICE_BYTES / 64);
	/* A device that keeps up is never waited for. */
	for (int i = 0; i < 1000; i++) {
		run_until(stream.issued);
		send_bytes(&r, to, from, 900);
	}
	assert_int_equal(stream.waits, 1);
	/* Larger than the ring: in pieces, and then it has to wait. */
	run_until(stream.issued);
	assert_true(send_bytes(&r, to, from, sizeof to) > SLICES);
	assert_true(stream.waits > 1);
	otp_free(r.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_sent_arrives),
	    cmocka_unit_test(nobody_waits_before_it_is_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
