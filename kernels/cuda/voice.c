#include "cuda/voice.h"

#include <stdarg.h>
#include <stdio.h>

/* Seconds between lines off a terminal, and of building that is worth a line at its end. */
static const double PATIENCE = 10, LONG = 2;

static const otp_voice *voice;

void otp_cuda_speak_through(const otp_voice *v) { voice = v; }

static void say(const char *before, const char *fmt, va_list args)
{
	char text[1024];
	vsnprintf(text, sizeof text, fmt, args);
	if (voice)
		voice->log("%s: %s", before, text);
}

void otp_cuda_say(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say("cuda", fmt, args);
	va_end(args);
}

void otp_cuda_complain(const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	say("otplan", fmt, args);
	va_end(args);
}

static void describe(const otp_builds *b, char text[static 128])
{
	snprintf(text, 128, "%d cuDNN plans, %d of them compiled", b->plans, b->compiled);
}

/* On a terminal at once, else now and then. */
static void tell(otp_builds *b, const char *text)
{
	char line[192];
	double now = otp_seconds();
	if (!b->begun)
		b->begun = b->told = now;
	if (voice && voice->is_live()) {
		snprintf(line, sizeof line, "cuda: %s", text);
		voice->status(line);
	} else if (now - b->told >= PATIENCE) {
		otp_cuda_say("%s", text);
		b->told = now;
	}
}

void otp_cuda_building(otp_builds *b, bool compiled)
{
	char text[128], line[160];
	b->plans++;
	b->compiled += compiled;
	describe(b, text);
	snprintf(line, sizeof line, "building %s so far", text);
	tell(b, line);
}

void otp_cuda_compiling(otp_builds *b, int done, int of)
{
	char line[128];
	snprintf(line, sizeof line, "compiling cuDNN plans, once on this machine: %d of %d", done, of);
	tell(b, line);
}

void otp_cuda_compiled(otp_builds *b, int plans)
{
	b->plans += plans;
	b->compiled += plans;
}

void otp_cuda_built(otp_builds *b)
{
	char text[128];
	if (!b->begun)
		return;
	double taken = otp_seconds() - b->begun;
	describe(b, text);
	if (voice && voice->is_live())
		voice->status(NULL);
	if (taken >= LONG)
		otp_cuda_say("built %s, in %.0f s", text, taken);
	*b = (otp_builds){0};
}
