/* cuda_fake: that the fake device (tests/fake_device) is as late, as forgetful and
 * as strict as it says; each of the faults below ends a program that commits it.
 *
 *   cuda_fake          what it allows and refuses
 *   cuda_fake FAULT    commit one */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_device/fake.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { BYTES = 1000 };

typedef struct place {
	cudaStream_t stream;
	char *device, *pinned;
} place;

static void do_nothing(void *argument) { (void)argument; }

static place open_place(void)
{
	place p;
	assert_int_equal(cudaStreamCreateWithFlags(&p.stream, cudaStreamNonBlocking), cudaSuccess);
	assert_int_equal(cudaMalloc((void **)&p.device, BYTES), cudaSuccess);
	assert_int_equal(cudaMallocHost((void **)&p.pinned, BYTES), cudaSuccess);
	return p;
}

static void close_place(place p)
{
	assert_int_equal(cudaFree(p.device), cudaSuccess);
	assert_int_equal(cudaFreeHost(p.pinned), cudaSuccess);
	assert_int_equal(cudaStreamDestroy(p.stream), cudaSuccess);
}

static void bring(place p)
{
	assert_int_equal(cudaMemcpyAsync(p.pinned, p.device, BYTES, cudaMemcpyDeviceToHost, p.stream),
			 cudaSuccess);
}

static bool holds(place p, int value)
{
	for (int i = 0; i < BYTES; i++)
		if (p.pinned[i] != (char)value)
			return false;
	return true;
}

/* ---- what it allows and refuses ---- */

static void memory_is_not_a_number(void **state)
{
	(void)state;
	place p = open_place();
	bring(p);
	memset(p.pinned, 0, BYTES);
	assert_int_equal(cudaStreamSynchronize(p.stream), cudaSuccess);
	assert_true(holds(p, 0xff));
	close_place(p);
}

static void work_is_late(void **state)
{
	(void)state;
	place p = open_place();
	cudaEvent_t event;
	assert_int_equal(cudaEventCreate(&event), cudaSuccess);
	assert_int_equal(cudaMemsetAsync(p.device, 5, BYTES, p.stream), cudaSuccess);
	bring(p);
	assert_int_equal(cudaEventRecord(event, p.stream), cudaSuccess);
	assert_int_equal(cudaMemsetAsync(p.device, 6, BYTES, p.stream), cudaSuccess);
	bring(p);
	assert_true(holds(p, 0xff)); /* nobody waited */
	assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
	assert_true(holds(p, 5)); /* and not for more */
	assert_int_equal(cudaStreamSynchronize(p.stream), cudaSuccess);
	assert_true(holds(p, 6));
	assert_int_equal(cudaEventDestroy(event), cudaSuccess);
	close_place(p);
}

/* The stream waits neither for a copy outside of it, nor the copy for the stream. */
static void a_copy_does_not_wait(void **state)
{
	(void)state;
	place p = open_place();
	char seen;
	assert_int_equal(cudaMemsetAsync(p.device, 5, BYTES, p.stream), cudaSuccess);
	assert_int_equal(cudaMemcpy(&seen, p.device, 1, cudaMemcpyDeviceToHost), cudaSuccess);
	assert_int_equal(seen, (char)0xff);
	close_place(p);
}

static void captures_run_nothing_and_graphs_repeat(void **state)
{
	(void)state;
	place p = open_place();
	cudaGraph_t graph;
	cudaGraphExec_t executable;
	assert_int_equal(cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
	assert_int_equal(cudaMemsetAsync(p.device, 5, BYTES, p.stream), cudaSuccess);
	assert_int_equal(cudaStreamEndCapture(p.stream, &graph), cudaSuccess);
	assert_int_equal(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
	assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
	for (int launches = 0; launches < 3; launches++) {
		assert_int_equal(cudaMemsetAsync(p.device, 7, BYTES, p.stream), cudaSuccess);
		if (launches)
			assert_int_equal(cudaGraphLaunch(executable, p.stream), cudaSuccess);
		bring(p);
		assert_int_equal(cudaStreamSynchronize(p.stream), cudaSuccess);
		assert_true(holds(p, launches ? 5 : 7));
	}
	assert_int_equal(cudaGraphExecDestroy(executable), cudaSuccess);
	close_place(p);
}

static cudaError_t allocate(place p)
{
	void *memory;
	(void)p;
	return cudaMalloc(&memory, 1);
}
static cudaError_t wait(place p) { return cudaStreamSynchronize(p.stream); }
static cudaError_t copy(place p) { return cudaMemcpy(p.pinned, p.device, 1, cudaMemcpyDeviceToHost); }
/* What is loaded when it is first used. */
static cudaError_t load(place p)
{
	bool loaded = false;
	return otp_fake_issue(p.stream, (otp_fake_work){"work", do_nothing, NULL, NULL, 0}, &loaded)
		   ? cudaSuccess
		   : cudaGetLastError();
}

static void captures_are_broken(void **state)
{
	(void)state;
	cudaError_t (*const illegal[])(place p) = {allocate, wait, copy, load};
	place p = open_place();
	for (size_t i = 0; i < sizeof illegal / sizeof *illegal; i++) {
		cudaGraph_t graph;
		assert_int_equal(cudaStreamBeginCapture(p.stream, cudaStreamCaptureModeThreadLocal),
				 cudaSuccess);
		assert_int_not_equal(illegal[i](p), cudaSuccess);
		assert_int_not_equal(cudaMemsetAsync(p.device, 5, BYTES, p.stream), cudaSuccess);
		assert_int_equal(cudaStreamEndCapture(p.stream, &graph), cudaErrorStreamCaptureInvalidated);
		assert_null(graph);
		assert_int_equal(wait(p), cudaSuccess);
	}
	cudaGetLastError();
	close_place(p);
}

static void memory_ends(void **state)
{
	(void)state;
	void *memory;
	size_t left, whole;
	assert_int_equal(cudaMemGetInfo(&left, &whole), cudaSuccess);
	assert_int_equal(cudaMalloc(&memory, left + 1), cudaErrorMemoryAllocation);
	assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
	assert_int_equal(cudaGetLastError(), cudaSuccess);
}

/* ---- faults ---- */

static void host_reads(void)
{
	place p = open_place();
	printf("%d\n", p.device[1]);
}

static void host_leaks(void) { open_place(); }

static void host_copies_unpinned(void)
{
	static char memory[BYTES];
	place p = open_place();
	cudaMemcpyAsync(p.device, memory, BYTES, cudaMemcpyHostToDevice, p.stream);
}

/* In a kernel's first word; where it lies is fixed, since some addresses pass for a number beside what was
 * there. */
static void host_passes_its_own(void)
{
	char *fixed = (char *)0x600050000000; /* NOLINT(performance-no-int-to-ptr) */
	char *memory = mmap(fixed, BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(memory, fixed);
	const void *arguments[] = {&memory[2]};
	otp_fake_check_arguments("kernel", (const void *)arguments, sizeof arguments);
}

static void write_byte(void *address) { *(char *)address = 1; }

static void write_at(ptrdiff_t from_start, bool freed)
{
	place p = open_place();
	if (freed)
		cudaFree(p.device);
	otp_fake_issue(p.stream, (otp_fake_work){"a kernel", write_byte, NULL, p.device + from_start, 0},
		       &(bool){true});
	cudaStreamSynchronize(p.stream);
	cudaFree(p.device);
}

static void kernel_writes_beside(void) { write_at(BYTES, false); }
static void kernel_writes_far(void) { write_at(BYTES + 100, false); }
static void kernel_writes_freed(void) { write_at(0, true); }

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*commit)(void);
	} faults[] = {{"read", host_reads},
		      {"leak", host_leaks},
		      {"unpinned", host_copies_unpinned},
		      {"host_address", host_passes_its_own},
		      {"beside", kernel_writes_beside},
		      {"far", kernel_writes_far},
		      {"freed", kernel_writes_freed}};
	for (size_t i = 0; argc > 1 && i < sizeof faults / sizeof *faults; i++)
		if (strcmp(argv[1], faults[i].name) == 0)
			faults[i].commit();
	if (argc > 1)
		return 0;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_is_not_a_number),
	    cmocka_unit_test(work_is_late),
	    cmocka_unit_test(a_copy_does_not_wait),
	    cmocka_unit_test(captures_run_nothing_and_graphs_repeat),
	    cmocka_unit_test(captures_are_broken),
	    cmocka_unit_test(memory_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
