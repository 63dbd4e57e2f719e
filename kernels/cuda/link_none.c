/* link_none.c: in the place of link.c and home.c where nccl.h was not found. */
#include "cuda/link.h"

#include "group/home.h"

#include <stdio.h>

#define NONE "nccl.h was not found when this was built, so it connects no GPUs"

bool otp_link_make_id(char id[OTP_LINK_ID_BYTES], otp_error *err)
{
	(void)id;
	return otp_fail_machine(err, "NCCL", NONE);
}

bool otp_link_connect(otp_device *device, const char id[OTP_LINK_ID_BYTES], int process, int processes,
		      int seconds, otp_error *err)
{
	(void)device;
	(void)id;
	(void)process;
	(void)processes;
	(void)seconds;
	return otp_fail_machine(err, "NCCL", NONE);
}

void otp_link_close(otp_device *device) { (void)device; }
void otp_link_heed(void) {}

void otp_link_describe(char *text, size_t bytes)
{
	(void)bytes;
	*text = '\0';
}

void otp_link_sum(const otp_call *call) { (void)call; }
void otp_link_spread(const otp_call *call) { (void)call; }
void otp_link_end_sums(const otp_call *call) { (void)call; }

void otp_link_begin_sum(const otp_call *call, const otp_buckets *buckets, int bucket)
{
	(void)call;
	(void)buckets;
	(void)bucket;
}

otp_group_start otp_group_start_home;
__attribute__((visibility("default"))) const otp_group_home *
otp_group_start_home(const otp_group_terms *terms, char *why, size_t why_bytes)
{
	(void)terms;
	snprintf(why, why_bytes, NONE);
	return NULL;
}
