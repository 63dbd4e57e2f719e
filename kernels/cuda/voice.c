#include "cuda/voice.h"

#include <stdarg.h>
#include <stdio.h>

/* Seconds between lines off a terminal, and of building that is worth a line at its end. */
static const double PATIENCE = 10, LONG = 2;

static const otp_voice *voice;

void otp_cuda_speak_through(const otp_voice *v) { voice = v; }

void otp_cuda_say(const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (voice)
		voice->log("cuda: %s", text);
}

static void describe(const otp_builds *b, char text[static 128])
{
	snprintf(text, 128, "%d cuDNN plans, %d of them compiled", b->plans, b->compiled);
}

void otp_cuda_building(otp_builds *b, bool compiled)
{
	char text[128], line[192];
	double now = otp_seconds();
	if (!b->plans)
		b->begun = b->told = now;
	b->plans++;
	b->compiled += compiled;
	describe(b, text);
	if (voice && voice->is_live()) {
		snprintf(line, sizeof line, "cuda: building %s so far", text);
		voice->status(line);
	} else if (now - b->told >= PATIENCE) {
		otp_cuda_say("building %s so far", text);
		b->told = now;
	}
}

void otp_cuda_built(otp_builds *b)
{
	char text[128];
	if (!b->plans)
		return;
	double taken = otp_seconds() - b->begun;
	describe(b, text);
	if (voice && voice->is_live())
		voice->status(NULL);
	if (taken >= LONG)
		otp_cuda_say("built %s, in %.0f s", text, taken);
	*b = (otp_builds){0};
}
