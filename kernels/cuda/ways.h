/* ways: in which way a convolution is computed, of those for which cuDNN may have an engine. It knows nothing
 * of cuDNN: whoever asks says which ways there are and what they take. */
#ifndef OTP_CUDA_WAYS_H
#define OTP_CUDA_WAYS_H

#include <stdbool.h>

typedef struct otp_way {
	bool fused;    /* the epilogue is in the convolution's kernel, not in a launch of our own */
	bool compiled; /* by an engine that is compiled when it is built */
	bool bf16_in, bf16_out;
} otp_way;

typedef struct otp_way_wishes {
	bool epilogue;	  /* something follows the convolution */
	bool bf16;	  /* operands may be rounded to bfloat16 */
	bool bf16_result; /* the result is stored in bfloat16 */
	bool compile_fused, compile_apart;
} otp_way_wishes;

typedef struct otp_way_answer {
	enum otp_way_verdict {
		OTP_WAY_NONE,	 /* no engine computes it so */
		OTP_WAY_TIMED,	 /* in so many milliseconds */
		OTP_WAY_WANTED,	 /* a fused way that was the faster one before */
		OTP_WAY_UNWANTED /* one that was the slower one */
	} verdict;
	float taken; /* of a fused way */
} otp_way_answer;

typedef struct otp_way_judge {
	void *context;
	otp_way_answer (*ask)(void *context, const otp_way *way);
	/* Milliseconds of a way that is not fused and of the launch that follows it. Asked only for a
	 * comparison. */
	float (*time_apart)(void *context, const otp_way *apart);
	/* Told once of a fused way that was compared. */
	void (*settle)(void *context, const otp_way *fused, bool wanted);
} otp_way_judge;

/* False where there is no way. */
bool otp_way_choose(const otp_way_wishes *wishes, const otp_way_judge *judge, otp_way *chosen);

#endif
