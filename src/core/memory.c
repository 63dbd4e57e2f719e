#define _POSIX_C_SOURCE 200809L
#include "core/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static bool read_number(const char *path, const char *label, size_t *out)
{
	FILE *file = fopen(path, "r");
	char line[256];
	bool found = false;
	unsigned long long value;
	size_t skip = strlen(label);
	while (file && !found && fgets(line, sizeof line, file))
		if (strncmp(line, label, skip) == 0 && sscanf(line + skip, "%llu", &value) == 1) {
			*out = (size_t)value;
			found = true;
		}
	if (file)
		fclose(file);
	return found;
}

static size_t less(size_t a, size_t b) { return a < b ? a : b; }

/* Whole address space and resident part of this process, in bytes. */
static void read_own(size_t *space, size_t *resident)
{
	unsigned long pages = 0, resident_pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	if (file) {
		if (fscanf(file, "%lu %lu", &pages, &resident_pages) != 2)
			pages = resident_pages = 0;
		fclose(file);
	}
	*space = (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
	*resident = (size_t)resident_pages * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t left_by_machine(void)
{
	size_t kib;
	if (read_number("/proc/meminfo", "MemAvailable:", &kib))
		return kib * 1024;
	return (size_t)sysconf(_SC_PHYS_PAGES) / 2 * (size_t)sysconf(_SC_PAGESIZE);
}

/* Files that the group has read count as used; the kernel drops them when memory is short. */
static size_t left_by_group(void)
{
	size_t most, used, files = 0;
	if (!read_number("/sys/fs/cgroup/memory.max", "", &most) ||
	    !read_number("/sys/fs/cgroup/memory.current", "", &used))
		return SIZE_MAX;
	read_number("/sys/fs/cgroup/memory.stat", "inactive_file ", &files);
	used -= less(files, used);
	return most - less(used, most);
}

static size_t left_by_space(void)
{
	struct rlimit limit;
	size_t space, resident;
	if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	read_own(&space, &resident);
	return (size_t)limit.rlim_cur - less(space, (size_t)limit.rlim_cur);
}

size_t otp_memory_available(void) { return less(left_by_machine(), less(left_by_group(), left_by_space())); }

size_t otp_memory_peak(void)
{
	size_t kib = 0;
	return read_number("/proc/self/status", "VmHWM:", &kib) ? kib * 1024 : otp_memory_resident();
}

size_t otp_memory_resident(void)
{
	size_t space, resident;
	read_own(&space, &resident);
	return resident;
}

size_t otp_memory_in_use(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
	struct mallinfo2 heap = mallinfo2();
	return heap.uordblks + heap.hblkhd;
#else
	return 0;
#endif
}

const char *otp_bytes_text(uint64_t bytes, char text[OTP_BYTES_TEXT])
{
	static const char *const UNITS[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	int unit = 0;
	while (value >= 10000 && unit < 3) {
		value /= 1024;
		unit++;
	}
	snprintf(text, OTP_BYTES_TEXT, "%.*f %s", value < 100 ? 1 : 0, value, UNITS[unit]);
	return text;
}
