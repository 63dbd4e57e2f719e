#include "cuda/ways.h"

/* The first fused way that has an engine; which engine, is known without asking for others. Its result is of
 * the type that is stored: a pass that converts it would move as many bytes as a launch of our own that does
 * the epilogue, too, and more where the engine writes float32. */
static otp_way_answer first_fused(const otp_way_wishes *w, const otp_way_judge *judge, otp_way *way)
{
	otp_way_answer answer = {OTP_WAY_NONE, 0};
	if (!w->epilogue || (w->bf16_result && !w->bf16))
		return answer;
	for (int compiled = 0; compiled <= w->compile_fused && answer.verdict == OTP_WAY_NONE; compiled++) {
		*way = (otp_way){true, compiled, w->bf16, w->bf16_result};
		answer = judge->ask(judge->context, way);
	}
	return answer;
}

/* Wanted first: an engine that needs no compiling, bfloat16 operands before float32 ones, a result of the
 * type it is stored in. */
static otp_way_answer first_apart(const otp_way_wishes *w, const otp_way_judge *judge, otp_way *way)
{
	const otp_way types[] = {{.bf16_in = true, .bf16_out = w->bf16_result},
				 {.bf16_in = true, .bf16_out = !w->bf16_result},
				 {.bf16_in = false, .bf16_out = false}};
	otp_way_answer answer = {OTP_WAY_NONE, 0};
	for (int compiled = 0; compiled <= w->compile_apart; compiled++)
		for (int i = w->bf16 ? 0 : 2; i < 3; i++) {
			*way = types[i];
			way->compiled = compiled;
			answer = judge->ask(judge->context, way);
			if (answer.verdict != OTP_WAY_NONE)
				return answer;
		}
	return answer;
}

/* A fused way is compared with the way that would be taken without it. One that loses is the last that is
 * looked at: no other is taken for want of something to compare it with. */
bool otp_way_choose(const otp_way_wishes *wishes, const otp_way_judge *judge, otp_way *chosen)
{
	otp_way fused = {false}, apart = {false};
	otp_way_answer together = first_fused(wishes, judge, &fused);
	*chosen = fused;
	if (together.verdict == OTP_WAY_WANTED)
		return true;
	otp_way_answer alone = first_apart(wishes, judge, &apart);
	bool wanted = false;
	if (together.verdict == OTP_WAY_TIMED) {
		wanted = alone.verdict == OTP_WAY_NONE ||
			 together.taken <= judge->time_apart(judge->context, &apart);
		judge->settle(judge->context, &fused, wanted);
	}
	if (!wanted)
		*chosen = apart;
	return wanted || alone.verdict != OTP_WAY_NONE;
}
