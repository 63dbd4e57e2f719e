/* pool: a fixed team of threads. The caller is worker 0. */
#ifndef OTP_POOL_H
#define OTP_POOL_H

typedef struct otp_pool otp_pool;

otp_pool *otp_pool_new(int workers);
void otp_pool_free(otp_pool *pool);
int otp_pool_workers(const otp_pool *pool);
/* Call task(argument, worker) on every worker; returns when all have returned. */
void otp_pool_run(otp_pool *pool, void (*task)(void *argument, int worker), void *argument);

#endif
