/* memory.c: device memory is a range of addresses that the host may not touch:
 * only while the device works, or a copy, it is open. A block ends at a page that
 * is never open, and no address is given out twice. */
#include "fake_device/fake.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, ALIGNMENT = 256 };
static const size_t RANGE_BYTES = (size_t)1 << 42;
static const int UNTOUCHED = 0xa5; /* between the end of a block and that of its page */

typedef struct block {
	struct block *next;
	char *pages; /* what is opened and closed */
	size_t page_bytes;
	char *memory;
	size_t bytes; /* asked for */
} block;

static block *blocks;
static char *range, *top;
static size_t used, limit = (size_t)4 << 30;
static const char *volatile working; /* what the device works at, NULL: nothing, and all is closed */

static bool in_range(uintptr_t address)
{
	return address >= (uintptr_t)range && address - (uintptr_t)range < RANGE_BYTES;
}

/* Whoever touches memory that is closed. */
static void tell_touch(int signal_number, siginfo_t *info, void *context)
{
	(void)context;
	if (range && in_range((uintptr_t)info->si_addr) && working)
		otp_fake_forbid("%s touches device memory that is not allocated, at %p", working,
				info->si_addr);
	if (range && in_range((uintptr_t)info->si_addr))
		otp_fake_forbid("the host touches device memory, at %p", info->si_addr);
	if (working)
		fprintf(stderr, "fake device: %s touches %p, which is not device memory\n", working,
			info->si_addr);
	signal(signal_number, SIG_DFL); /* and come back */
}

static void start(void)
{
	const char *bytes = getenv("OTPLAN_FAKE_MEMORY");
	if (bytes)
		limit = strtoull(bytes, NULL, 10);
	range = top = mmap(NULL, RANGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	OTP_ASSERT(range != MAP_FAILED, "fake device: no addresses for its memory");
	struct sigaction action = {.sa_sigaction = tell_touch, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

static void protect(const block *b, int protection)
{
	if (mprotect(b->pages, b->page_bytes, protection) != 0)
		otp_fake_forbid("the machine has no room for %zu bytes of its memory", b->page_bytes);
}

void otp_fake_open_memory(const char *what)
{
	for (const block *b = blocks; b && !working; b = b->next)
		protect(b, PROT_READ | PROT_WRITE);
	working = what;
}

void otp_fake_close_memory(void)
{
	for (const block *b = blocks; b; b = b->next)
		protect(b, PROT_NONE);
	working = NULL;
}

static const block *block_of(const void *memory, size_t bytes)
{
	const block *b = blocks;
	while (b &&
	       !((const char *)memory >= b->memory && (const char *)memory + bytes <= b->memory + b->bytes))
		b = b->next;
	return b;
}

bool otp_fake_on_device(const void *memory, size_t bytes) { return block_of(memory, bytes) != NULL; }

/* ---- arguments of kernels ---- */

/* Whether the host can write there: what it may not, a kernel finds out. */
static bool is_hosts(uintptr_t address)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], mode[5];
	bool found = false;
	while (maps && !found && fgets(line, sizeof line, maps)) {
		uintptr_t from, to;
		found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, mode) == 3 &&
			address >= from && address < to && strncmp(mode, "rw", 2) == 0;
	}
	if (maps)
		fclose(maps);
	return found;
}

/* Numbers look like addresses, too, where what lies behind them in a word was an address before: a bool,
 * which ends in 0 or 1, and an int, below 2^28. */
static bool may_be_address(uintptr_t word)
{
	const uintptr_t least = (uintptr_t)1 << 32, end = (uintptr_t)1 << 47,
			largest_int = (uintptr_t)1 << 28;
	return word >= least && word < end && (word & 255) > 1 && word % least >= largest_int;
}

void otp_fake_check_arguments(const char *kernel, const void *arguments, size_t bytes)
{
	for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t)) {
		uintptr_t word;
		memcpy(&word, (const char *)arguments + at, sizeof word);
		if (may_be_address(word) && !in_range(word) && is_hosts(word))
			otp_fake_forbid("%s is given %#zx, an address of the host's memory", kernel,
					(size_t)word);
	}
}

/* ---- CUDA's functions ---- */

static bool fill_block(block *b)
{
	size_t inside = otp_round_up(b->bytes, ALIGNMENT);
	b->page_bytes = otp_round_up(inside, PAGE);
	b->pages = top;
	b->memory = b->pages + b->page_bytes - inside;
	if (top + b->page_bytes + PAGE > range + RANGE_BYTES)
		return false;
	top += b->page_bytes + PAGE;
	protect(b, PROT_READ | PROT_WRITE);
	memset(b->pages, UNTOUCHED, b->page_bytes);
	memset(b->memory, 0xff, b->bytes); /* NaN */
	if (!working)
		protect(b, PROT_NONE);
	return true;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
	OTP_FAKE_CALL;
	if (otp_fake_breaks_capture(NULL))
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	if (!range)
		start();
	if (call.refused || bytes > limit - used)
		return otp_fake_fail(cudaErrorMemoryAllocation);
	block *b = otp_calloc(1, sizeof *b);
	b->bytes = bytes;
	OTP_ASSERT(fill_block(b), "fake device: all its addresses were used");
	b->next = blocks;
	blocks = b;
	used += bytes;
	otp_fake_count(OTP_FAKE_MEMORY, 1);
	*memory = b->memory;
	return cudaSuccess;
}

static void check_edges(const block *b)
{
	for (const char *c = b->pages; c < b->pages + b->page_bytes; c++)
		if ((c < b->memory || c >= b->memory + b->bytes) && *c != (char)UNTOUCHED)
			otp_fake_forbid(
			    "something wrote beside a block of %zu bytes, %td bytes from its start", b->bytes,
			    c - b->memory);
}

cudaError_t cudaFree(void *memory)
{
	OTP_FAKE_CALL;
	if (otp_fake_breaks_capture(NULL))
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	if (call.refused)
		return otp_fake_fail(cudaErrorUnknown);
	if (!memory)
		return cudaSuccess;
	otp_fake_finish_all(); /* the device waits */
	block **at = &blocks;
	while (*at && (*at)->memory != memory)
		at = &(*at)->next;
	block *b = *at;
	if (!b)
		return otp_fake_fail(cudaErrorInvalidValue);
	protect(b, PROT_READ | PROT_WRITE);
	check_edges(b);
	*at = b->next;
	used -= b->bytes;
	madvise(b->pages, b->page_bytes, MADV_DONTNEED);
	protect(b, PROT_NONE);
	otp_free(b);
	otp_fake_count(OTP_FAKE_MEMORY, -1);
	return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *whole)
{
	OTP_FAKE_CALL;
	if (call.refused)
		return otp_fake_fail(cudaErrorUnknown);
	if (!range)
		start();
	*left = limit - used;
	*whole = limit;
	return cudaSuccess;
}

/* ---- pinned ---- */

enum { MOST_PINNED = 64 };
static struct {
	char *memory;
	size_t bytes;
} pinned[MOST_PINNED];

static int pinned_at(const void *memory)
{
	int i = 0;
	while (i < MOST_PINNED && pinned[i].memory != memory)
		i++;
	return i;
}

bool otp_fake_is_pinned(const void *memory, size_t bytes)
{
	const char *m = memory;
	for (int i = 0; i < MOST_PINNED; i++)
		if (pinned[i].memory && m >= pinned[i].memory &&
		    m + bytes <= pinned[i].memory + pinned[i].bytes)
			return true;
	return false;
}

cudaError_t cudaMallocHost(void **memory, size_t bytes)
{
	OTP_FAKE_CALL;
	if (otp_fake_breaks_capture(NULL))
		return otp_fake_fail(cudaErrorStreamCaptureUnsupported);
	int i = pinned_at(NULL);
	if (call.refused || i == MOST_PINNED)
		return otp_fake_fail(cudaErrorMemoryAllocation);
	pinned[i].memory = otp_calloc(bytes, 1);
	pinned[i].bytes = bytes;
	memset(pinned[i].memory, 0xff, bytes);
	*memory = pinned[i].memory;
	otp_fake_count(OTP_FAKE_PINNED, 1);
	return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory)
{
	OTP_FAKE_CALL;
	if (call.refused)
		return otp_fake_fail(cudaErrorUnknown);
	if (!memory)
		return cudaSuccess;
	otp_fake_finish_all();
	int i = pinned_at(memory);
	if (i == MOST_PINNED)
		return otp_fake_fail(cudaErrorInvalidValue);
	otp_free(memory);
	pinned[i].memory = NULL;
	otp_fake_count(OTP_FAKE_PINNED, -1);
	return cudaSuccess;
}
