/* version: what this program is, and with --verbose what it was built from and
 * computes with: the first thing a report of trouble should hold. */
#include "cli/commands.h"
#include "graph/op.h"

#include "otplan_commit.h" /* made by the build */

#include <cjson/cJSON.h>
#include <hdf5.h>
#include <lapacke.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <spng.h>
#include <webp/decode.h>
#include <xxhash.h>
#include <zip.h>
#include <zlib.h>

static void print_backend(const char *name)
{
	otp_error why = {0};
	char computes[160] = "";
	const otp_backend *backend = otp_backend_find(name, &why);
	if (backend)
		backend->describe(computes, sizeof computes);
	/* An error's first word is where it arose: the name that stands there already. */
	const char *reason = strstr(why.text, ": ");
	if (backend)
		printf("backend %-8s %s\n", name, computes);
	else
		printf("backend %-8s not found: %s\n", name, reason ? reason + 2 : why.text);
}

static void print_libraries(void)
{
	unsigned major = 0, minor = 0, release = 0;
	H5get_libversion(&major, &minor, &release);
	printf("HDF5             %u.%u.%u\n", major, minor, release);
	printf("zlib             %s\n", zlibVersion());
	printf("libzip           %s\n", zip_libzip_version());
	printf("libjpeg          API %d\n", JPEG_LIB_VERSION);
	printf("libspng          %s\n", spng_version_string());
	int webp = WebPGetDecoderVersion();
	printf("libwebp          %d.%d.%d\n", webp >> 16, webp >> 8 & 255, webp & 255);
	lapack_int lapack[3] = {0};
	LAPACKE_ilaver(&lapack[0], &lapack[1], &lapack[2]);
	printf("LAPACK           %d.%d.%d\n", (int)lapack[0], (int)lapack[1], (int)lapack[2]);
	printf("cJSON            %s\n", cJSON_Version());
	unsigned xxhash = XXH_versionNumber();
	printf("xxHash           %u.%u.%u\n", xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
}

int otp_command_version(int argc, char **argv, otp_error *err)
{
	bool verbose = argc == 1 && strcmp(argv[0], "--verbose") == 0;
	if (argc > 0 && !verbose) {
		otp_fail(err, argv[0], "is not an option of --version, expected --verbose or nothing");
		return otp_exit_code(err);
	}
	puts("otplan " OTPLAN_VERSION);
	if (!verbose)
		return OTP_EXIT_OK;
	printf("commit           %s\n", OTPLAN_COMMIT);
#if defined(__VERSION__)
	printf("compiler         %s %s\n",
#if defined(__clang__)
	       "clang",
#else
	       "gcc",
#endif
	       __VERSION__);
#endif
	print_backend("cpu");
	print_backend("cuda");
	print_libraries();
	return OTP_EXIT_OK;
}
