/* roles: who plays in the game: which of the two networks, and which of the two
 * laws. Arrays with a place for each are indexed by these.
 */
#ifndef OTP_ROLES_H
#define OTP_ROLES_H

typedef enum otp_network { OTP_TRANSPORT, OTP_POTENTIAL, OTP_NETWORKS } otp_network;

typedef enum otp_side { OTP_SOURCE, OTP_TARGET, OTP_SIDES } otp_side;

#endif
