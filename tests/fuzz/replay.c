/* replay FOLDER: every file of FOLDER/TARGET once through its target, without libFuzzer; none crashes. */
#include "fuzz.h"

#include "core/base.h"
#include "core/file.h"

#include <dirent.h>
#include <stdio.h>

static int replay(const char *folder)
{
	int count = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		otp_error err = {0};
		size_t bytes;
		char *path = otp_format("%s/%s", folder, e->d_name);
		uint8_t *data = e->d_name[0] == '.' ? NULL : otp_file_read(path, &bytes, &err);
		if (data) {
			LLVMFuzzerTestOneInput(data, bytes);
			count++;
		}
		otp_free(data);
		otp_free(path);
	}
	if (dir)
		closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	bool ok = argc == 2;
	for (size_t i = 0; ok && fuzz_name(i); i++) {
		char *folder = otp_format("%s/%s", argv[1], fuzz_name(i));
		fuzz_choose(fuzz_name(i));
		int count = replay(folder);
		printf("%s: %d inputs\n", fuzz_name(i), count);
		ok = count > 0;
		otp_free(folder);
	}
	return !ok;
}
