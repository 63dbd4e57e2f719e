#include "core/size.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

bool otp_size_parse(const char *text, int most, otp_size *out)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	long w = strtol(text, &end, 10), h = w;
	if (*end == 'x' && isdigit((unsigned char)end[1]))
		h = strtol(end + 1, &end, 10);
	bool none = w == 0 && h == 0;
	if (*end || w > most || h > most || (!none && (w < 1 || h < 1)))
		return false;
	*out = (otp_size){(int)h, (int)w};
	return true;
}

const char *otp_size_text(otp_size e, char text[OTP_SIZE_TEXT])
{
	snprintf(text, OTP_SIZE_TEXT, e.w == e.h ? "%d" : "%dx%d", e.w, e.h);
	return text;
}
