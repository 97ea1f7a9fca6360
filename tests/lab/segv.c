// SPDX-License-Identifier: GPL-2.0
/* A program, without a C library, that dies of a bad access, or of a trap when it is built with -DTRAP. */
void _start(void);
void _start(void)
{
#ifdef TRAP
	__builtin_trap();
#else
	*(volatile int *)8 = 1;
#endif
	for (;;)
		;
}
