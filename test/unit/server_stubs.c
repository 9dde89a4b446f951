/*-------------------------------------------------------------------------
 *
 * server_stubs.c
 *		What files of the server's side need of the server, for programs that
 *		run without it: memory, sorting, and errors that end the
 *		program.
 *
 * The server's headers are not included: they declare some of these as
 * functions in one version and as inline functions in another.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <stdio.h>
#include <stdlib.h>

#undef fprintf
#undef qsort

/* Before each allocation: room for its context, which the server keeps there. */
#define HEADER_SIZE 16

void	   *CurrentMemoryContext;

void	   *palloc(Size size);
void	   *palloc0(Size size);
void		pfree(void *pointer);
void	   *MemoryContextAlloc(void *context, Size size);
void	   *GetMemoryChunkContext(void *pointer);
void	   *pg_detoast_datum(void *datum);
void		pg_qsort(void *base, size_t n, size_t size, int (*compare) (const void *, const void *));
bool		errstart(int elevel, const char *domain);
bool		errstart_cold(int elevel, const char *domain);
int			errcode(int code);
int			errmsg(const char *format,...);
int			errmsg_internal(const char *format,...);
void		errfinish(const char *filename, int lineno, const char *funcname);

void *
palloc(Size size)
{
	char	   *header = malloc(HEADER_SIZE + size);

	if (header == NULL)
		abort();
	/* Nobody may rely on zeros that were not asked for. */
	memset(header, 0, HEADER_SIZE);
	memset(header + HEADER_SIZE, 0xA5, Min(size, 65536));
	return header + HEADER_SIZE;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void
pfree(void *pointer)
{
	free((char *) pointer - HEADER_SIZE);
}

void *
MemoryContextAlloc(void *context, Size size)
{
	return palloc(size);
}

void *
GetMemoryChunkContext(void *pointer)
{
	return NULL;
}

void *
pg_detoast_datum(void *datum)
{
	return datum;
}

void
pg_qsort(void *base, size_t n, size_t size, int (*compare) (const void *, const void *))
{
	qsort(base, n, size, compare);
}

bool
errstart(int elevel, const char *domain)
{
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return true;
}

int
errcode(int code)
{
	return 0;
}

int
errmsg(const char *format,...)
{
	return 0;
}

int
errmsg_internal(const char *format,...)
{
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	fprintf(stderr, "%s:%d: an error of the server\n", filename, lineno);
	abort();
}
