/* choice: a closed set of words, as an enumeration and as its names, from one
 * list that stands where the meaning does:
 *
 *   #define OTP_CHOICES_otp_smoothing(X)                 \
 *           X(OTP_SMOOTHING_ADDITIVE, "additive")        \
 *           X(OTP_SMOOTHING_VP, "vp")
 *   OTP_CHOICE(otp_smoothing);
 *
 *   OTP_CHOICE_NAME(otp_smoothing, OTP_SMOOTHING_VP)     is "vp"
 *
 * An option of config.def names the type alone.
 */
#ifndef OTP_CHOICE_H
#define OTP_CHOICE_H

#define OTP_CHOICE_ENUMERATOR(id, name) id,
#define OTP_CHOICE_WORD(id, name) name,

#define OTP_CHOICE(type) typedef enum type { OTP_CHOICES_##type(OTP_CHOICE_ENUMERATOR) } type

/* The names in the enumeration's order, NULL after the last: an array's initialiser. */
#define OTP_CHOICE_NAMES(type)                                                                               \
	{                                                                                                    \
		OTP_CHOICES_##type(OTP_CHOICE_WORD) NULL                                                     \
	}

#define OTP_CHOICE_NAME(type, value) (((const char *const[])OTP_CHOICE_NAMES(type))[value])

#endif
