/* memory: how much this process may still take, by the kernel's estimate and
 * the control group's limit, whichever is less. */
#include "data/source.h"

#include <stdio.h>
#include <string.h>
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

size_t otp_memory_available(void)
{
	size_t kib, available, most, used;
	if (read_number("/proc/meminfo", "MemAvailable:", &kib))
		available = kib * 1024;
	else
		available = (size_t)sysconf(_SC_PHYS_PAGES) / 2 * (size_t)sysconf(_SC_PAGESIZE);
	if (read_number("/sys/fs/cgroup/memory.max", "", &most) &&
	    read_number("/sys/fs/cgroup/memory.current", "", &used)) {
		size_t left = most > used ? most - used : 0;
		available = left < available ? left : available;
	}
	return available;
}
