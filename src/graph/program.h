/* program: graph + plan + backend, frozen; run many times, allocating nothing.
 * Another batch size or another loss is another program.
 */
#ifndef OTP_PROGRAM_H
#define OTP_PROGRAM_H

#include "graph/graph.h"

typedef struct otp_program otp_program;

/* A span's first `elements`, rounded to bfloat16: adam writes them with the
 * float32 ones, kernels that round their operands read them instead. */
typedef struct otp_rounded {
	void *memory; /* NULL: there is no such copy */
	int64_t elements;
} otp_rounded;

/* What programs of one device share that run one at a time: memory for what lives within a run. Who makes
 * them gives an arena of at least otp_program_shared_bytes of each, then scratch of scratch_bytes, which
 * programs raise to what they need; all of it outlives them. */
typedef struct otp_shared {
	void *arena, *scratch;
	size_t arena_bytes, scratch_bytes;
} otp_shared;

typedef struct otp_program_options {
	otp_precision precision;
	/* Whose columns an update is of: one process's worker's; of 0 processes or workers, all. */
	int process, processes, worker, workers;
	const char *purpose; /* what out of memory names: "a transport step (a smaller --batch takes less)" */
	bool poison; /* checking mode: memory that the plan calls free is filled with NaN between calls */
	const otp_rounded *rounded; /* [OTP_MAX_SPANS], or NULL: no copies */
	unsigned narrow_spans;	    /* bit s: span s is held in bfloat16, where the program is in bf16 */
	otp_shared *shared;	    /* NULL: memory of its own */
	const otp_type *types;	    /* tests alone: how each node is stored, instead of storage.h's rule */
} otp_program_options;

typedef struct otp_program_size {
	size_t arena_bytes, unshared_bytes, scratch_bytes;
	size_t kept_bytes; /* of the arena's, those that cannot be shared with other programs */
	size_t host_bytes; /* of a planned program: its calls, and what kernels bind to them */
	int64_t largest;   /* elements of the largest tensor outside the spans */
	int calls;
	bool scratch_expected; /* some of it only the backend's library knows, when the program is made */
} otp_program_size;

/* spans[i]: device memory of span i, from backend->alloc (NULL where unused).
 * The graph must outlive the program. Running out of memory ends the process;
 * with otp_program_try it is an error, where no other thread allocates meanwhile. */
otp_program *otp_program_new(const otp_backend *backend, otp_device *device, const otp_graph *g,
			     void *const spans[OTP_MAX_SPANS], otp_program_options options);
otp_program *otp_program_try(const otp_backend *backend, otp_device *device, const otp_graph *g,
			     void *const spans[OTP_MAX_SPANS], otp_program_options options, otp_error *err);
void otp_program_free(otp_program *p);
/* Of the arena of a program that is not made, what it can share. */
size_t otp_program_shared_bytes(const otp_backend *backend, const otp_graph *g, otp_program_options options);
/* Once there is scratch in what the program shares: before its first run. */
void otp_program_take_scratch(otp_program *p);

void otp_program_run(otp_program *p);
/* A leaf or output by node; host elements are float or uint32_t by its type. */
void otp_program_write(otp_program *p, const otp_node *node, const void *values);
void otp_program_read(otp_program *p, const otp_node *node, void *values);
void *otp_program_data(otp_program *p, const otp_node *node);

otp_program_size otp_program_measure(const otp_program *p);
/* The same of a program that is not made: from graph and backend alone, nothing is allocated on the device.
 */
otp_program_size otp_program_plan(const otp_backend *backend, otp_device *device, const otp_graph *g,
				  otp_program_options options);

/* The calls of such a program, without memory, in order: for those who count. Tensors in spans have made-up
 * addresses, all others NULL. */
typedef void otp_see_call(void *context, const otp_call *call);
void otp_program_list(const otp_backend *backend, const otp_graph *g, otp_program_options options,
		      otp_see_call *see, void *context);

/* Seconds each op kind took over `runs` runs, for bench: [OTP_OP_COUNT]. */
void otp_program_profile(otp_program *p, int runs, double *seconds_by_op);

#endif
