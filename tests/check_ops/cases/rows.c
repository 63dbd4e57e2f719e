/* rows: samples that are gathered from a set, rows that are recorded; nothing to differentiate. */
#include "check_ops/harness.h"

/* Bytes written one by one, and what each pick must find: the formula, not the kernels' indexing. */
static void check_gather_by_hand(int which)
{
	enum { ROWS = 256, H = 2, W = 3, C = 3, N = 5, COLUMN = 1 };
	const uint32_t picks[N] = {0, 1, 2 * 255, 2 * 255 + 1, 2 * 77};
	test_case t = {.op = OTP_OP_gather, .count = 2, .fill = {WORDS, WORDS}};
	t.attr.gather.to = otp_shape4(N, H, W, C);
	t.attr.gather.stored = C;
	t.attr.gather.column = COLUMN;
	t.in[0] = otp_shape4(ROWS, 1, 1, otp_gather_words(H * W * C));
	t.in[1] = otp_shape4(N, 1, 1, 2);
	values v = make_values(&t);
	unsigned char *bytes = v.host[0];
	for (int row = 0; row < ROWS; row++)
		for (int i = 0; i < H * W * C; i++)
			bytes[row * 4 * t.in[0].c + i] = (unsigned char)(row + 7 * i);
	for (int n = 0; n < N; n++)
		((uint32_t *)v.host[1])[2 * n + COLUMN] = picks[n];
	float out[N * H * W * C];
	run_planned(which, &t, &v, (way){0}, false, 1, out);
	bool right = true;
	for (int i = 0; i < N * H * W * C; i++) {
		int n = i / (H * W * C), c = i % C, w = i / C % W, h = i / (C * W) % H;
		int from = (h * W + (picks[n] % 2 ? W - 1 - w : w)) * C + c;
		unsigned char byte = (unsigned char)((int)(picks[n] / 2) + 7 * from);
		right &= out[i] == (float)byte / 127.5f - 1;
	}
	report(right, "gather", "%s: other values than the bytes stand for", tested_backends[which]);
	drop_values(&t, &v);
}

void check_gather(void)
{
	static const struct {
		otp_shape to;
		int stored, rows;
	} sizes[] = {{{1, 1, 1, 1}, 1, 1},    {{3, 5, 7, 3}, 3, 4}, {{4, 3, 3, 3}, 1, 9},
		     {{2, 28, 28, 1}, 1, 31}, {{5, 2, 9, 4}, 4, 2}, {{64, 64, 64, 3}, 3, 512}};
	enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };
	for (int k = 0; k < SIZE_COUNT; k++) {
		otp_shape to = sizes[k].to;
		test_case t = {.op = OTP_OP_gather,
			       .count = 2,
			       .fill = {WORDS, PICKS},
			       .bound = EXACT,
			       .bench_only = k == SIZE_COUNT - 1};
		t.attr.gather.to = to;
		t.attr.gather.stored = sizes[k].stored;
		t.attr.gather.column = k % 3;
		t.in[0] =
		    otp_shape4(sizes[k].rows, 1, 1, otp_gather_words((int64_t)to.h * to.w * sizes[k].stored));
		t.in[1] = otp_shape4(to.n, 1, 1, 3 + k % 2);
		run_case(t);
	}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_gather_by_hand(which);
}

/* In place, as the engine runs it: every row in its slot, past the end from the first on again. */
static void check_record_rows(int which)
{
	enum { SLOTS = 5, COLUMNS = 3, RUNS = 13 };
	const otp_backend *backend = tested[which].backend;
	otp_device *device = tested[which].device;
	void *spans[OTP_MAX_SPANS] = {
	    backend->alloc(device, SLOTS * COLUMNS * backend->element_bytes[OTP_F32])};
	otp_graph *g = otp_graph_new();
	otp_node *ring = otp_view(g, "ring", 0, 0, otp_shape4(1, 1, SLOTS, COLUMNS));
	otp_node *row = otp_input(g, "row", OTP_F32, otp_shape4(1, 1, 1, COLUMNS));
	otp_node *words = otp_input(g, "words", OTP_U32, otp_shape4(2, 1, 1, 2));
	otp_output(otp_record(ring, row, words, 1), 0, 0);
	otp_program *p = otp_program_new(backend, device, g, spans, (otp_program_options){0});
	for (uint32_t run = 0; run < RUNS; run++) {
		const float three[COLUMNS] = {(float)run, (float)run + 0.25f, (float)run + 0.5f};
		const uint32_t numbers[4] = {99, run, 98, 97};
		otp_program_write(p, row, three);
		otp_program_write(p, words, numbers);
		otp_program_run(p);
	}
	float got[SLOTS * COLUMNS];
	backend->wait(device);
	backend->download(device, got, OTP_F32, spans[0], SLOTS * COLUMNS);
	bool right = true;
	for (int slot = 0; slot < SLOTS; slot++) {
		float last = (float)(slot < RUNS % SLOTS ? RUNS / SLOTS * SLOTS + slot
							 : (RUNS / SLOTS - 1) * SLOTS + slot);
		for (int c = 0; c < COLUMNS; c++)
			right &= got[slot * COLUMNS + c] == last + 0.25f * (float)c;
	}
	report(right, "record", "%s: rows are not in their slots", tested_backends[which]);
	otp_program_free(p);
	otp_graph_free(g);
	backend->release(device, spans[0]);
}

void check_record(void)
{
	static const otp_shape rings[] = {{1, 1, 1, 1}, {1, 1, 7, 4}, {1, 1, 300, 5}};
	for (int k = 0; k < 3; k++) {
		test_case t = {.op = OTP_OP_record,
			       .count = 3,
			       .in = {rings[k], {1, 1, 1, rings[k].c}, {2, 1, 1, 1 + k}},
			       .fill = {NORMALISH, NORMALISH, WORDS},
			       .bound = EXACT};
		t.attr.record.column = k;
		run_case(t);
	}
	for (int which = 0; which < TESTED_COUNT && !tally.bench; which++)
		if (tested[which].backend)
			check_record_rows(which);
}
