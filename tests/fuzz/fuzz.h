/* fuzz: the parsers that read what others wrote, each a target: bytes in, no crash out. */
#ifndef OTP_FUZZ_H
#define OTP_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Chooses the target, NULL: by the environment's OTP_FUZZ. False where there is none of that name. */
int fuzz_choose(const char *target);
/* The i-th target's name; NULL after the last. Its seeds lie in tests/fuzz/NAME. */
const char *fuzz_name(size_t i);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
