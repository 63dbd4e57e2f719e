/* pool: a fixed team of threads. The caller is worker 0. */
#ifndef OTP_POOL_H
#define OTP_POOL_H

#include <stdbool.h>

typedef struct otp_pool otp_pool;

/* The cores that this process may use, which in a container are fewer than the machine's; at least 1. */
int otp_cores(void);

/* Threads start with the first task: who only counts the team pays for no stacks. */
otp_pool *otp_pool_new(int workers);
/* Starts them now; false where so many cannot be started. */
bool otp_pool_start(otp_pool *pool);
void otp_pool_free(otp_pool *pool);
int otp_pool_workers(const otp_pool *pool);
/* Call task(argument, worker) on every worker; returns when all have returned. */
void otp_pool_run(otp_pool *pool, void (*task)(void *argument, int worker), void *argument);

#endif
