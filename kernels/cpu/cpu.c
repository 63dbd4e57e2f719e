/* cpu.c: the host as a backend. Memory is host memory, a launch runs the calls
 * in the calling thread, and there is nothing to wait for. */
#include "cpu/cpu.h"
#include "cpu/dnn.h"

#include "core/pool.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct otp_device {
	int unused;
};

static bool cpu_open(int index, otp_device **device, otp_error *err)
{
	static otp_device host;
	if (index != 0)
		return otp_fail(err, "cpu", "there is no device %d, only 0", index);
	*device = &host;
	return true;
}

static void cpu_close(otp_device *device) { (void)device; }

/* In front of memory: how much of it was mapped, 0 where it was not. */
enum { HEAD_BYTES = 64 };

/* What is large is mapped: pages that are never touched are never taken, and of several processes each
 * touches its share of a state alone. Sanitizers see more of memory that malloc gave. */
static size_t mapped_bytes(size_t bytes)
{
	enum { LARGE = 1 << 20 };
#ifdef OTPLAN_SANITIZE
	return 0 * bytes;
#else
	return bytes < LARGE ? 0 : bytes + HEAD_BYTES;
#endif
}

static void *cpu_alloc(otp_device *device, size_t bytes)
{
	size_t mapped = mapped_bytes(bytes);
	(void)device;
	char *memory = mapped ? mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			      : otp_try_calloc(bytes + HEAD_BYTES, 1);
	if (!memory || memory == MAP_FAILED)
		return NULL;
	memcpy(memory, &mapped, sizeof mapped);
	return memory + HEAD_BYTES;
}

static void cpu_release(otp_device *device, void *memory)
{
	size_t mapped;
	(void)device;
	if (!memory)
		return;
	char *begin = (char *)memory - HEAD_BYTES;
	memcpy(&mapped, begin, sizeof mapped);
	if (mapped)
		munmap(begin, mapped);
	else
		otp_free(begin);
}

/* Host and device elements are the same. */
static void cpu_transfer(otp_device *device, void *dst, otp_type type, const void *src, int64_t count)
{
	(void)device;
	(void)type;
	memcpy(dst, src, (size_t)count * 4);
}

static void cpu_launch(otp_device *device, const otp_call *calls, int count, void **token)
{
	(void)device;
	(void)token;
	otp_dnn_enter_thread();
	for (int i = 0; i < count; i++)
		otp_cpu_backend.kernels[calls[i].op]->run(&calls[i]);
}

static void cpu_forget(otp_device *device, void *token)
{
	(void)device;
	(void)token;
}

static void cpu_wait(otp_device *device) { (void)device; }

static size_t cpu_memory_free(otp_device *device)
{
	(void)device;
	return 0;
}

static int cpu_workers(otp_device *device, int asked)
{
	(void)device;
	return asked ? asked : otp_cores();
}

static bool cpu_narrows(otp_device *device)
{
	(void)device;
	return otp_dnn_has_bf16();
}

static const otp_kernel *const cpu_kernels[OTP_OP_COUNT] = {
#define OP(name, inputs, attribute, in_place, meaning) [OTP_OP_##name] = &otp_cpu_##name,
#include "graph/ops.def"
#undef OP
};

/* Which clone of an OTP_SIMD function the loader picks here. */
static const char *own_instructions(void)
{
#ifdef OTP_SIMD_CLONES
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl"))
		return "x86-64-v4";
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
		return "x86-64-v3";
#endif
	return "the compiler's default";
}

static void cpu_describe(char *text, size_t bytes)
{
	char library[96];
	otp_dnn_describe(library, sizeof library);
	snprintf(text, bytes, "%s; own loops: %s", library, own_instructions());
}

const otp_backend otp_cpu_backend = {
    .name = "cpu",
    .element_bytes = {[OTP_F32] = 4, [OTP_U32] = 4},
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_transfer,
    .download = cpu_transfer,
    .launch = cpu_launch,
    .forget = cpu_forget,
    .wait = cpu_wait,
    .memory_free = cpu_memory_free,
    .workers = cpu_workers,
    .kernels = cpu_kernels,
    .narrows = cpu_narrows,
    .describe = cpu_describe,
};
